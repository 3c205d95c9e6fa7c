#ifndef IVMQ_SDK_THREADS_FORK_GUARD_H_
#define IVMQ_SDK_THREADS_FORK_GUARD_H_

#include <atomic>
#include <cstdint>

namespace ivmq::internal {

// Tells a forked child from the process that opened the node. The child has neither the region
// (MADV_DONTFORK) nor the session's thread, so it must touch nothing.
//
// Costs the data path one relaxed load: pthread_atfork counts the forks instead of asking the
// kernel for the PID. A process made by a bare clone(2) is not noticed.
//
// Also closes the node's sockets in the child: while a copy of the attach connection is open
// somewhere, the end of this process cannot be seen. Any thread.
class ForkGuard {
 public:
  static constexpr int kMaxFds = 2;

  ForkGuard();
  ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  // True in a child forked since construction.
  bool forked() const { return generation_ != forks_.load(std::memory_order_relaxed); }

  // Closes these in a forked child; -1 for none. They stay the caller's in this process and must
  // stay open until this object is destroyed or the call is repeated without them.
  void CloseInChild(int first, int second);

 private:
  static void Install();
  static void InChild();

  static std::atomic<uint32_t> forks_;  // of this process's ancestry; written in a child only

  const uint32_t generation_;
  int fds_[kMaxFds] = {-1, -1};  // guarded by the registry's mutex
  ForkGuard* next_ = nullptr;
  ForkGuard* previous_ = nullptr;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_THREADS_FORK_GUARD_H_
