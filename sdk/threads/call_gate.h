#ifndef IVMQ_SDK_THREADS_CALL_GATE_H_
#define IVMQ_SDK_THREADS_CALL_GATE_H_

#include <atomic>
#include <cstdint>

namespace ivmq::internal {

// Who may touch the links of a publisher or subscriber now: the thread that is inside one of its
// calls, or, while none is, the session's thread. Without it an application that does not publish
// for an hour would hold the memory of its dead subscribers for that hour.
//
//   calling thread                        session's thread, holding the endpoint's mutex
//     inside = itself                       pending = true
//     (nothing: see below)                  membarrier(2) on all CPUs that run this process
//     pending? take the mutex, apply it     inside == 0 ? apply it, pending = false
//     ... the call ...                                  : leave it to that thread, wake it
//     inside = 0
//     pending? take the mutex, apply it
//
// Either the caller sees `pending`, or the session's thread sees `inside`: the usual pair of
// store-load fences, except that the rare side pays for both with membarrier, so that a call costs
// two plain stores and two loads. Where the kernel has no membarrier, the stores to `inside` are
// full exchanges instead.
class CallGate {
 public:
  // To be called once before any gate is used; picks membarrier or exchanges.
  static void Prepare();

  // Calling thread. False: somebody is inside already: the same thread (a handler called back) or,
  // which only debug builds are sure to notice, another one.
  bool Enter() {
#ifndef NDEBUG
    if (!TakeForThread()) return false;
#endif
    const uintptr_t inside = inside_.load(std::memory_order_relaxed);
    if (inside != 0) [[unlikely]]
      return Refuse(inside == OwnThread());
    StoreInside(OwnThread());
    return true;
  }
  void Leave() {
    StoreInside(0);
#ifndef NDEBUG
    thread_.store(0, std::memory_order_release);  // Pairs with TakeForThread().
#endif
  }

  // After an Enter() that said false, on the same thread: whether another one was inside, and in
  // debug builds which were at it, as gettid() says; else 0.
  struct Clash {
    bool of_threads = false;
    int inside = 0;
    int refused = 0;
  };
  static Clash LastClash();

  // Calling thread, inside or just after Leave(): there is something to apply under the mutex.
  // Pairs with the release in Done().
  bool pending() const { return pending_.load(std::memory_order_acquire); }

  // Whoever holds the endpoint's mutex, after changing what is to be applied.
  void Request() { pending_.store(true, std::memory_order_seq_cst); }
  // After Request(): true if no thread is inside, and none gets in without seeing `pending`.
  bool NobodyInside() const;
  // All has been applied.
  void Done() { pending_.store(false, std::memory_order_release); }

 private:
  // Of the threads that live now, no other has the same; in a register without a call.
  static uintptr_t OwnThread() { return reinterpret_cast<uintptr_t>(__builtin_thread_pointer()); }
  // Always false.
  static bool Refuse(bool own);
  void StoreInside(uintptr_t value) {
    if (exchanges_.load(std::memory_order_relaxed)) [[unlikely]] {
      inside_.exchange(value, std::memory_order_seq_cst);
    } else {
      inside_.store(value, std::memory_order_release);  // Pairs with NobodyInside().
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
  }
  bool TakeForThread();

  static std::atomic<bool> exchanges_;

  std::atomic<uintptr_t> inside_{0};  // who; 0: nobody
  std::atomic<bool> pending_{false};
  std::atomic<int> thread_{0};  // who is inside, as gettid() says; debug builds only
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_THREADS_CALL_GATE_H_
