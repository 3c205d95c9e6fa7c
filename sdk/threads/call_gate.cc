#include "sdk/threads/call_gate.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ivmq::internal {
namespace {

long Membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0); }

thread_local CallGate::Clash last_clash;

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

bool CallGate::TakeForThread() {
  thread_local const int own_thread = ::gettid();
  int inside = 0;
  // Pairs with the release in Leave().
  if (thread_.compare_exchange_strong(inside, own_thread, std::memory_order_acquire)) return true;
  last_clash = inside == own_thread ? Clash{} : Clash{true, inside, own_thread};
  return false;
}

bool CallGate::Refuse(bool own) {
  last_clash = {.of_threads = !own};
  return false;
}

CallGate::Clash CallGate::LastClash() { return last_clash; }

}  // namespace ivmq::internal
