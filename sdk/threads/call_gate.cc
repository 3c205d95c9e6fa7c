#include "sdk/threads/call_gate.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace ivmq::internal {
namespace {

long Membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

std::atomic<bool> CallGate::exchanges_{false};

void CallGate::Prepare() {
  static const bool available = Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
                                Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
  if (!available) exchanges_.store(true, std::memory_order_relaxed);
}

bool CallGate::NobodyInside() const {
  if (!exchanges_.load(std::memory_order_relaxed)) Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  // Pairs with the store in Leave(): what that call did to the links is visible.
  return inside_.load(std::memory_order_seq_cst) == 0;
}

bool CallGate::OnOccupied() const {
#ifndef NDEBUG
  if (thread_.load(std::memory_order_relaxed) != ::gettid()) {
    std::fprintf(stderr,
                 "ivmq: a publisher or subscriber is used by two threads at once "
                 "(threads %d and %d): one thread at a time\n",
                 thread_.load(std::memory_order_relaxed), ::gettid());
    std::abort();
  }
#endif
  return false;
}

void CallGate::RememberThread() {
  thread_local const int own_thread = ::gettid();
  thread_.store(own_thread, std::memory_order_relaxed);
}

}  // namespace ivmq::internal
