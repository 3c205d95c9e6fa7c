#include "sdk/threads/fork_guard.h"

#include <pthread.h>
#include <unistd.h>

#include <mutex>

namespace ivmq::internal {
namespace {

// Never destroyed: a fork may come while static objects are being torn down.
std::mutex& RegistryMutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}
ForkGuard* first_guard = nullptr;  // guarded by RegistryMutex()

}  // namespace

std::atomic<uint32_t> ForkGuard::forks_{0};

void ForkGuard::Install() {
  static const int installed =
      pthread_atfork([] { RegistryMutex().lock(); }, [] { RegistryMutex().unlock(); }, &InChild);
  static_cast<void>(installed);
}

void ForkGuard::InChild() {
  // Only this thread exists here, and it holds the mutex since before the fork.
  forks_.fetch_add(1, std::memory_order_relaxed);
  for (ForkGuard* guard = first_guard; guard != nullptr; guard = guard->next_) {
    for (int& fd : guard->fds_) {
      if (fd >= 0) ::close(fd);
      fd = -1;
    }
  }
  RegistryMutex().unlock();
}

ForkGuard::ForkGuard() : generation_(forks_.load(std::memory_order_relaxed)) {
  Install();
  const std::lock_guard lock(RegistryMutex());
  next_ = first_guard;
  if (next_ != nullptr) next_->previous_ = this;
  first_guard = this;
}

ForkGuard::~ForkGuard() {
  const std::lock_guard lock(RegistryMutex());
  (previous_ != nullptr ? previous_->next_ : first_guard) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

void ForkGuard::CloseInChild(int first, int second) {
  const std::lock_guard lock(RegistryMutex());
  fds_[0] = first;
  fds_[1] = second;
}

}  // namespace ivmq::internal
