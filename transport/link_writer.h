#ifndef IVMQ_TRANSPORT_LINK_WRITER_H_
#define IVMQ_TRANSPORT_LINK_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ringbuf/keep_last_producer.h"
#include "ringbuf/ring_layout.h"
#include "ringbuf/spsc_producer.h"
#include "transport/device.h"
#include "transport/doorbell.h"
#include "transport/link_address.h"
#include "transport/link_counters.h"
#include "transport/status.h"
#include "transport/wake.h"

namespace ivmq::transport {

using ringbuf::WriteResult;

// The publishing side of a link: the producer of a ring or of a slot ring (LinkAddress::depth), and
// the wake-ups in both directions.
//
//   TryWrite (or TryClaim, fill, Commit)     as often as wanted
//   Flush                                    publishes, and wakes the consumer if it waits
//
// To wait for room: ArmSpace(bytes) in the check of a Waiter (Look::kSleep), space_signalled() or
// HasRoom(bytes) for its cheap looks. A slot ring always has room: nothing that its reader does or
// leaves undone holds a writer up. What is committed to it is visible at once.
//
// One thread at a time, counters() from any. Keeps the device alive. After Open() nothing here
// allocates or makes a system call, but for the doorbell. kCorrupt is for good: the other side
// wrote nonsense; report the link and drop it.
class LinkWriter {
 public:
  // Checks every place of `address` against the device's region, and the ring's own description.
  // OUT_OF_RANGE, INVALID_ARGUMENT (alignment, capacity) or DATA_LOSS (no such ring there), each
  // saying what was expected and found. `consumer_doorbell` rings the consumer.
  // REQUIRES: this is the only producer that the ring ever has.
  static Result<LinkWriter> Open(std::shared_ptr<Device> device, const LinkAddress& address,
                                 Doorbell consumer_doorbell);

  // See SpscProducer for each of these. On a slot ring, a claim is private memory until Commit().
  [[nodiscard]] WriteResult TryClaim(size_t bytes, uint8_t flags, std::byte** payload) {
    claimed_bytes_ = bytes;
    if (slots_ != nullptr) [[unlikely]]
      return ClaimSlot(bytes, flags, payload);
    return ring_.TryClaim(bytes, flags, payload);
  }
  void Commit() {
    if (slots_ != nullptr) [[unlikely]] {
      CommitSlot();
    } else {
      ring_.Commit();
    }
    Count(claimed_bytes_);
  }
  void Abort() {
    if (slots_ == nullptr) ring_.Abort();
  }
  [[nodiscard, gnu::always_inline]] inline WriteResult TryWrite(std::span<const std::byte> payload,
                                                                uint8_t flags = 0) {
    if (slots_ != nullptr) [[unlikely]]
      return WriteSlot(payload, flags);
    const WriteResult result = ring_.TryWrite(payload, flags);
    if (result == WriteResult::kOk) [[likely]]
      Count(payload.size());
    return result;
  }
  [[nodiscard]] bool HasRoom(size_t bytes) {
    return slots_ == nullptr ? ring_.HasRoom(bytes) : bytes <= max_record_bytes();
  }

  // Makes all that was committed visible and wakes the consumer if it waits for it.
  void Flush() {
    if (slots_ != nullptr) [[unlikely]] {
      if (slots_->producer.NeedsWake()) Wake();
      return;
    }
    ring_.Publish();
    if (ring_.NeedsWake()) Wake();
  }

  // Announces that we wait for room for `bytes`, flushes, then looks again. True: do not sleep,
  // TryClaim() has an answer. False: our space byte will be set once there is room.
  [[nodiscard]] bool ArmSpace(size_t bytes);
  // The same for the release of all that was committed. True: there is nothing to wait for.
  [[nodiscard]] bool ArmDrained();
  // Whether the consumer has set our space byte since the last ArmSpace().
  bool space_signalled() const {
    // seq_cst, as a look after BeginSleep(). Pairs with the store in WakeTarget::Wake().
    return space_ready_->load(std::memory_order_seq_cst) != 0;
  }

  // Whether the consumer's node has said that it left, see WakeTarget::left().
  bool consumer_left() const { return consumer_.left(); }

  uint64_t link_id() const { return link_id_; }
  // Whether it overwrites instead of waiting: a slot ring.
  bool overwrites() const { return slots_ != nullptr; }
  uint64_t max_record_bytes() const {
    return slots_ == nullptr ? ring_.max_payload_bytes() : slots_->producer.max_message_bytes();
  }
  // Bytes of the ring, or of the slots that are kept.
  uint64_t capacity() const;
  // On a slot ring true only after AllConsumed() or BytesInFlight(): a writer that never waits
  // never looks at the consumer's words otherwise.
  bool corrupt() const { return slots_ == nullptr ? ring_.corrupt() : slots_->producer.corrupt(); }
  // True when the consumer has released all that was published, but for what was overwritten.
  [[nodiscard]] bool AllConsumed() {
    return slots_ == nullptr ? ring_.AllConsumed() : slots_->producer.AllConsumed();
  }
  // Messages that the consumer may not have read, of all that were committed and not overwritten,
  // by what it said when it was last looked at and in good order: for one that is corrupt(), whose
  // own figures in counters() mean nothing.
  [[nodiscard]] uint64_t UnreadAtMost() const;
  // Bytes in the ring, headers and gaps included: how full it is against capacity().
  [[nodiscard]] uint64_t BytesInFlight();
  // Brings up to date what operators read from the ring: for when a publisher turns idle.
  void MirrorCounters() {
    if (slots_ == nullptr) ring_.MirrorCounters();
  }
  // Tells whoever reads the ring how many messages were given up for want of room: all so far, each
  // time. Known even after this process was killed.
  void MirrorDropped(uint64_t messages) {
    // relaxed: a figure.
    if (slots_ == nullptr) {
      descriptor_->records_dropped.store(messages, std::memory_order_relaxed);
    }
  }
  LinkCounters counters() const;

 private:
  // What a slot ring needs instead of ring_.
  struct Slots {
    explicit Slots(const ringbuf::KeepLastView& view)
        : producer(view), descriptor(view.descriptor), claim(view.max_message_bytes) {}

    ringbuf::KeepLastProducer<> producer;
    const ringbuf::KeepLastDescriptor* descriptor;
    std::vector<std::byte> claim;  // where a claimed record is built
    uint8_t claimed_flags = 0;
  };

  LinkWriter(std::shared_ptr<Device> device, uint64_t link_id, const ringbuf::RingView& view,
             WakeTarget consumer, ReadyByte* space_ready);

  void Count(size_t record_bytes) {
    records_.Add(1);
    bytes_.Add(record_bytes);
  }
  WriteResult WriteSlot(std::span<const std::byte> payload, uint8_t flags);
  WriteResult ClaimSlot(size_t bytes, uint8_t flags, std::byte** payload);
  void CommitSlot();
  void Wake();

  // First, because it takes whole cache lines. Its memory is kept mapped by device_. Of no ring,
  // and never used, where there are slots_.
  ringbuf::SpscProducer<> ring_;

  std::unique_ptr<Slots> slots_;  // null: a ring

  // Constant after construction.
  std::shared_ptr<Device> device_;
  uint64_t link_id_;
  ringbuf::RingDescriptor* descriptor_;
  WakeTarget consumer_;
  ReadyByte* space_ready_;

  size_t claimed_bytes_ = 0;
  Counter records_;
  Counter bytes_;
  Counter wakes_;
  Counter doorbells_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LINK_WRITER_H_
