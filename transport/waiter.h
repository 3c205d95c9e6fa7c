#ifndef IVMQ_TRANSPORT_WAITER_H_
#define IVMQ_TRANSPORT_WAITER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "transport/status.h"
#include "transport/unique_fd.h"
#include "transport/wake.h"

namespace ivmq::transport {

// How hard a waiter asks "is there work?".
enum class Look {
  // Between two PAUSEs of a spin: cheap; nothing need be armed.
  kSpin,
  // Last look before sleeping: arm everything (LinkReader::Arm, LinkWriter::ArmSpace), then look.
  // If the answer is "no", whatever comes later must set a ready byte that is looked at, or come
  // with Notify().
  kSleep,
  // As kSleep, but once a second: look at the rings themselves, not only at ready bytes. Bounds
  // what a lost interrupt or a scribbled ready byte can do.
  kThorough,
};

// Refers to any callable bool(Look): true if there is something to do. Owns nothing; as a
// parameter it may be given a temporary lambda.
class WorkCheck {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, WorkCheck>)
      // NOLINTNEXTLINE(google-explicit-constructor): a lambda is meant to convert
      WorkCheck(F&& check)
      : object_(const_cast<void*>(static_cast<const void*>(&check))),
        call_([](void* object, Look look) -> bool {
          return (*static_cast<std::remove_reference_t<F>*>(object))(look);
        }) {}
  bool operator()(Look look) const { return call_(object_, look); }

 private:
  void* object_;
  bool (*call_)(void*, Look);
};

enum class WaitStrategy {
  kAdaptive,  // spin up to spin_max if spinning has paid lately, yielding to others that could
              // use the CPU, then block; one CPU: block
  kBlock,     // never spin
  kSpin,      // never block; yields if there is one CPU. Takes a whole core
};

struct WaiterOptions {
  WaitStrategy strategy = WaitStrategy::kAdaptive;
  std::chrono::nanoseconds spin_max = std::chrono::microseconds(50);  // one wake-up's cost
};

enum class WaitResult {
  kWork,      // the check said so
  kNotified,  // Notify() was called since the last wait
  kDoorbell,  // someone rang, but the check found nothing: perhaps another waiter's business
  kDeadline,
};

// One waiting thread of a node: blocks until a doorbell, a Notify() or a deadline, and loses
// none. Owns its epoll fd; shares the node's sleep word and vector with the node's other waiters.
//
// Threads: Notify() from any thread and from signal handlers; all else from one thread at a time.
//
// With interrupts an idle waiter wakes once a second. Without (NodeWake::interrupts() is false) it
// sleeps in steps of 50 us that grow to 1 ms.
//
// Two ways to use it, not both at once:
//
//   waiter->Wait(deadline, check)              blocks this thread
//
//   waiter->ArmFd(check)                       then wait for fd() to be readable in an own epoll,
//   waiter->DisarmFd(), do the work            and arm again
class Waiter {
 public:
  static Result<std::unique_ptr<Waiter>> Open(std::shared_ptr<NodeWake> node,
                                              WaiterOptions options = {});
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Blocks. Checks at least once, even if the deadline has passed; never misses work that is
  // there. The check runs on this thread. Disarms the fd if it was armed.
  WaitResult Wait(std::chrono::steady_clock::time_point deadline, WorkCheck has_work);

  // Whether Wait() looks more than once before it blocks.
  bool spins() const {
    return options_.strategy == WaitStrategy::kSpin ||
           (options_.strategy == WaitStrategy::kAdaptive && !one_cpu_);
  }

  // Makes Wait() return kNotified, or fd() readable. Remembered until then; several are one.
  void Notify();

  // For an own poll or epoll, level-triggered. Readable, while armed: a doorbell, a Notify(),
  // work that the check found, or time for another look. Never read it. Owned by the waiter.
  int fd() const { return epoll_.get(); }
  // Arms, so that doorbells come and fd() becomes readable. True: nothing is there now. False:
  // there is work, and fd() is readable already. A doorbell that was rung before the check ran is
  // not shown any more: where it comes without a ready byte, the check must look for its cause.
  bool ArmFd(WorkCheck has_work);
  // Makes fd() unreadable. True if a Notify() came since the last wait. Harmless if not armed.
  bool DisarmFd();

  const std::shared_ptr<NodeWake>& node() const { return node_; }
  // How often Wait() really blocked: the wake-ups it cost the system.
  uint64_t blocks() const { return blocks_.load(std::memory_order_relaxed); }
  // How often it left its CPU to others while it span.
  uint64_t yields() const { return yields_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Events {
    bool notified = false;
    bool doorbell = false;
  };

  Waiter(std::shared_ptr<NodeWake> node, WaiterOptions options);
  Status OpenFds();
  // Takes all events off the epoll fd, waiting for the first of them for as long as `timeout`.
  Events TakeEvents(std::chrono::nanoseconds timeout = std::chrono::nanoseconds(0));
  Look NextLook(Clock::time_point now);
  bool Spin(Clock::time_point deadline, WorkCheck has_work, WaitResult* result);
  void Yield(Clock::time_point now);
  WaitResult Block(Clock::time_point deadline, WorkCheck has_work);
  Clock::duration BlockTime(Clock::time_point now, Clock::time_point deadline) const;
  void SetTimer(Clock::duration after);
  void LearnFrom(Clock::duration blocked);

  // Constant after construction.
  const std::shared_ptr<NodeWake> node_;
  const WaiterOptions options_;
  const bool one_cpu_;
  UniqueFd epoll_;
  UniqueFd notify_;  // eventfd
  UniqueFd timer_;   // timerfd, set only while the fd is armed

  // Of the waiting thread.
  std::chrono::nanoseconds spin_;
  std::chrono::nanoseconds nap_;  // next step without interrupts
  Clock::time_point thorough_at_;
  Clock::time_point yield_at_;  // not before
  bool shared_cpu_ = false;     // at the last yield
  bool fd_armed_ = false;

  // Written by the waiting thread, read by any.
  std::atomic<uint64_t> blocks_{0};
  std::atomic<uint64_t> yields_{0};

  // Any thread.
  std::atomic<bool> notified_{false};
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_WAITER_H_
