#ifndef IVMQ_WAIT_SET_H_
#define IVMQ_WAIT_SET_H_

#include <ivmq/export.h>
#include <ivmq/status.h>
#include <ivmq/subscriber.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

namespace ivmq {

namespace internal {
class WaitSetImpl;
}  // namespace internal

// Waits for several subscribers, of one node or of several, at once.
//
//   auto set = WaitSet::Create().value();
//   set.Add(&left, 1);  set.Add(&right, 2);
//   for (uint64_t ready : *set.Wait(1s)) …     // Poll or Receive from those until nothing is left
//
// One thread at a time, and the thread that waits is the one that receives: a subscriber that is
// received from elsewhere meanwhile is shown in vain. Interrupt from any thread. Move-only. A
// subscriber that is destroyed leaves the set by itself; one that is closed is ready, to say
// CLOSED, until it is removed.
class IVMQ_API WaitSet {
 public:
  // RESOURCE_EXHAUSTED: no file descriptor is left.
  static Result<WaitSet> Create();
  WaitSet(WaitSet&&) noexcept;
  WaitSet& operator=(WaitSet&&) noexcept;
  ~WaitSet();

  // `key`: what Wait calls it; several may have the same.
  //   ALREADY_EXISTS       it is in the set
  //   CLOSED               it or this set was moved from
  //   FAILED_PRECONDITION  it has no fd(): inside a handler of it, while a message of it is
  //   borrowed,
  //                        or after fork
  //   RESOURCE_EXHAUSTED   the system lets this user watch no more
  Status Add(BytesSubscriber* subscriber, uint64_t key);
  template <class T>
  Status Add(Subscriber<T>* subscriber, uint64_t key) {
    return Add(&subscriber->bytes(), key);
  }
  // NOT_FOUND.
  Status Remove(BytesSubscriber* subscriber);

  // The keys of those that may have messages, valid until the next call; TIMEOUT: none has, also
  // after Interrupt. Zero looks once. Those that have a lot do not hide the others.
  Result<std::span<const uint64_t>> Wait(std::chrono::nanoseconds timeout);
  // Makes a Wait that waits, or the next one, return TIMEOUT at once.
  void Interrupt();

 private:
  explicit WaitSet(std::unique_ptr<internal::WaitSetImpl> impl);
  std::unique_ptr<internal::WaitSetImpl> impl_;
};

}  // namespace ivmq

#endif  // IVMQ_WAIT_SET_H_
