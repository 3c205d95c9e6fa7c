#include "ivmq/wait_set.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "sdk/node/convert.h"
#include "transport/unique_fd.h"
#include "transport/wait_for_events.h"

namespace ivmq {
namespace internal {
namespace {

constexpr size_t kReadyMax = 64;

}  // namespace

// Behind WaitSet: an epoll over the subscribers' fds. What is closed leaves it by itself.
class WaitSetImpl {
 public:
  bool Open() {
    epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
    interrupt_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return epoll_ && interrupt_ && Watch(interrupt_.get());
  }

  Status Add(int fd, uint64_t key) {
    if (Watch(fd)) {
      keys_[fd] = key;
      return {};
    }
    if (errno == EEXIST) return {Code::kAlreadyExists, "this subscriber is in the set already"};
    return {Code::kResourceExhausted,
            "cannot wait for a subscriber: " + std::generic_category().message(errno)};
  }

  Status Remove(int fd) {
    keys_.erase(fd);
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0) return {};
    return {Code::kNotFound, "this subscriber is not in the set"};
  }

  Result<std::span<const uint64_t>> Wait(std::chrono::nanoseconds timeout) {
    const auto deadline = DeadlineAfter(timeout);
    std::chrono::nanoseconds left{0};
    for (;;) {
      const bool interrupted = Collect(left);
      if (ready_count_ > 0) return std::span<const uint64_t>(ready_).first(ready_count_);
      left = deadline - std::chrono::steady_clock::now();
      if (interrupted || left.count() <= 0) return Status(Code::kTimeout, "nothing came");
    }
  }

  void Interrupt() {
    const uint64_t one = 1;
    static_cast<void>(!::write(interrupt_.get(), &one, sizeof(one)));
  }

 private:
  bool Watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  // Waits so long for the first. True: Interrupt() was called. The kernel goes on where it stopped,
  // so those that do not fit have their turn at the next call.
  bool Collect(std::chrono::nanoseconds timeout) {
    std::array<epoll_event, kReadyMax> events;
    const int count = transport::WaitForEvents(epoll_.get(), events, timeout);
    bool interrupted = false;
    ready_count_ = 0;
    for (int i = 0; i < count; ++i) {
      const int fd = events.at(static_cast<size_t>(i)).data.fd;
      if (fd != interrupt_.get()) {
        ready_.at(ready_count_++) = keys_[fd];
        continue;
      }
      uint64_t times = 0;
      static_cast<void>(!::read(fd, &times, sizeof(times)));
      interrupted = true;
    }
    return interrupted;
  }

  transport::UniqueFd epoll_;
  transport::UniqueFd interrupt_;
  std::map<int, uint64_t> keys_;
  std::array<uint64_t, kReadyMax> ready_{};
  size_t ready_count_ = 0;
};

}  // namespace internal

WaitSet::WaitSet(std::unique_ptr<internal::WaitSetImpl> impl) : impl_(std::move(impl)) {}
WaitSet::WaitSet(WaitSet&&) noexcept = default;
WaitSet& WaitSet::operator=(WaitSet&&) noexcept = default;
WaitSet::~WaitSet() = default;

Result<WaitSet> WaitSet::Create() {
  auto impl = std::make_unique<internal::WaitSetImpl>();
  if (!impl->Open()) {
    return Status(Code::kResourceExhausted,
                  "no wait set: " + std::generic_category().message(errno));
  }
  return WaitSet(std::move(impl));
}

Status WaitSet::Add(BytesSubscriber* subscriber, uint64_t key) {
  if (impl_ == nullptr || subscriber->impl_ == nullptr) {
    return {Code::kClosed, "this subscriber or set was moved from"};
  }
  const int fd = subscriber->fd();
  if (fd < 0) {
    return {Code::kFailedPrecondition,
            "this subscriber has no fd: inside a handler of it, while a message of it is borrowed, "
            "or after fork"};
  }
  return impl_->Add(fd, key);
}
Status WaitSet::Remove(BytesSubscriber* subscriber) {
  const int fd = subscriber->fd();
  if (impl_ == nullptr || fd < 0) return {Code::kNotFound, "this subscriber is not in the set"};
  return impl_->Remove(fd);
}
Result<std::span<const uint64_t>> WaitSet::Wait(std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return Status(Code::kClosed, "this set was moved from");
  return impl_->Wait(timeout);
}
void WaitSet::Interrupt() {
  if (impl_ != nullptr) impl_->Interrupt();
}

}  // namespace ivmq
