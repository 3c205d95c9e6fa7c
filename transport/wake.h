#ifndef IVMQ_TRANSPORT_WAKE_H_
#define IVMQ_TRANSPORT_WAKE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "transport/device.h"
#include "transport/doorbell.h"
#include "transport/link_address.h"
#include "transport/region_layout.h"
#include "transport/status.h"

namespace ivmq::transport {

// How nobody sleeps through a wake-up. Both sides store their own word, then load the other's;
// all four accesses are seq_cst, so at least one of the two sees what the other stored:
//
//   sleeper                                  waker
//     sleep = 1                                ready = 1
//     all ready bytes 0? block : go on         sleep? ring : go on
//
// A doorbell is a hint that comes on top: who is rung looks at its ready bytes.

// The other side of a link, to be woken. Owns the doorbell; the region must outlive it.
// Copyable. Wake() may be called from any thread; it makes no system call but the doorbell.
class WakeTarget {
 public:
  // Wakes nobody.
  WakeTarget() = default;
  // Checks both offsets against `region`: OUT_OF_RANGE or INVALID_ARGUMENT, naming the offset.
  // Where `address.polls`, the doorbell is never rung.
  static Result<WakeTarget> Open(std::span<std::byte> region, const WakeAddress& address,
                                 Doorbell doorbell);

  // Sets the ready byte and rings if the other side sleeps. True if it rang.
  bool Wake() const;
  // Whether the other side has said NodeWake::SayLeft(), or somebody in its name: a hint, on which
  // no memory is given back. For those who have lost the daemon; it tells the others.
  bool left() const;

 private:
  ReadyByte* ready_ = nullptr;
  const std::atomic<uint32_t>* sleep_ = nullptr;  // null with ready_
  bool polls_ = true;                             // is never rung
  Doorbell doorbell_;
};

// The sleeping side: one for each node, agent or control; shared by all its waiters. Owns the
// word in the region that tells the others to ring, and the private count of threads behind it.
// Touches the word only in BeginSleep(), EndSleep() and SayLeft(): its end may come after the block
// was given back and is somebody else's memory. Keeps the device alive. Any thread.
class NodeWake {
 public:
  // `wake_offset`: of our own WakeBlock in device->region(). `vector`: the one that we listen on;
  // where this process was not given its eventfd we poll, and the word is never set.
  // OUT_OF_RANGE or INVALID_ARGUMENT if there can be no WakeBlock at `wake_offset`.
  static Result<std::shared_ptr<NodeWake>> Open(std::shared_ptr<Device> device,
                                                uint64_t wake_offset, uint32_t vector);
  NodeWake(const NodeWake&) = delete;
  NodeWake& operator=(const NodeWake&) = delete;

  // False: no doorbell ever reaches us; look at the ready bytes often.
  bool interrupts() const { return vector_fd_ >= 0; }
  // Shared with other processes: register EPOLLIN|EPOLLET, never read. -1 without interrupts.
  int vector_fd() const { return vector_fd_; }
  const std::shared_ptr<Device>& device() const { return device_; }

  // A thread of ours is about to block. Whatever is looked at after this call either shows what a
  // waker did before, or that waker rings. Does nothing without interrupts. Also mends the word if
  // someone else wrote to it.
  void BeginSleep();
  // That thread is awake. REQUIRES: a BeginSleep() of it.
  void EndSleep();
  // Tells partners whom no daemon can tell. Nobody touches the word after it. REQUIRES: all of ours
  // is published, and control has not heard our goodbye: the block is ours until then, and nobody
  // else's before all who know of it have let it go, too.
  void SayLeft();

  // How often the word went from 0 to 1.
  uint64_t sleeps() const { return sleeps_.load(std::memory_order_relaxed); }

 private:
  NodeWake(std::shared_ptr<Device> device, WakeBlock* block, int vector_fd);

  const std::shared_ptr<Device> device_;
  WakeBlock* const block_;
  const int vector_fd_;

  std::mutex mutex_;       // orders the stores to the word as the changes of the count
  uint32_t sleepers_ = 0;  // guarded by mutex_
  bool left_ = false;      // guarded by mutex_
  std::atomic<uint64_t> sleeps_{0};
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_WAKE_H_
