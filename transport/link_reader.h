#ifndef IVMQ_TRANSPORT_LINK_READER_H_
#define IVMQ_TRANSPORT_LINK_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/ring_layout.h"
#include "ringbuf/spsc_consumer.h"
#include "transport/device.h"
#include "transport/doorbell.h"
#include "transport/link_address.h"
#include "transport/link_counters.h"
#include "transport/status.h"
#include "transport/wake.h"

namespace ivmq::transport {

using ringbuf::ReadResult;
using ringbuf::RecordView;

// The subscribing side of a link: the consumer of a ring or of a slot ring (LinkAddress::depth),
// and the wake-ups in both directions.
//
//   TryRead -> use the record -> Release      until kEmpty, or enough for now
//   Arm                                       before sleeping
//
// Wakes a producer that waits for room when that room is there. Records are borrowed: from a ring,
// whose producer may change their bytes at any time, so copy first, then check; from a slot ring it
// is a private copy, which the next TryRead() overwrites, and lost() says how many were missed.
//
// One thread at a time, counters() from any. Keeps the device alive. After Open() nothing here
// allocates or makes a system call, but for the doorbell. kCorrupt is for good: the other side
// wrote nonsense; report the link and drop it.
class LinkReader {
 public:
  // As LinkWriter::Open(), with the producer's doorbell.
  // Ends of a slot ring also own a buffer of its message size. `options` are for rings.
  // REQUIRES: this is the only consumer that the ring ever has.
  static Result<LinkReader> Open(std::shared_ptr<Device> device, const LinkAddress& address,
                                 Doorbell producer_doorbell, ringbuf::ConsumerOptions options = {});

  [[nodiscard, gnu::always_inline]] inline ReadResult TryRead(RecordView* record) {
    if (slots_ != nullptr) [[unlikely]]
      return ReadSlot(record);
    const ReadResult result = ring_.TryRead(record);
    if (result == ReadResult::kOk) [[likely]] {
      records_.Add(1);
      bytes_.Add(record->size);
    } else if (ring_.NeedsSpaceWake()) {
      WakeProducer();
    }
    return result;
  }
  // Gives back all records that were read.
  void Release() {
    if (slots_ != nullptr) [[unlikely]] {
      slots_->consumer.Release();
    } else {
      ring_.Release();
    }
    released_.Add(records_.value() - released_.value());
    if (ring_.NeedsSpaceWake()) WakeProducer();
  }
  // After Release(), when the caller may not come back soon: lets the producer know of all releases
  // where no more records are known to be there.
  void ReportIfCaughtUp() {
    if (slots_ == nullptr && ring_.ReportIfCaughtUp() && ring_.NeedsSpaceWake()) [[unlikely]]
      WakeProducer();
  }
  // How many messages were overwritten unread right before the record that was read last.
  uint64_t lost() const { return slots_ == nullptr ? 0 : slots_->message.lost; }
  // Clears the ready byte, announces that we are about to sleep, looks again. True: the ring is
  // empty, and our ready byte will be set with the next record. False: TryRead() has an answer.
  [[nodiscard]] bool Arm();

  // Whether the producer has set our ready byte since the last Arm().
  bool signalled() const {
    // seq_cst, as a look after BeginSleep(). Pairs with the store in WakeTarget::Wake().
    return ready_->load(std::memory_order_seq_cst) != 0;
  }
  // A private look, without arming anything, at whether TryRead() would find a record or nonsense.
  [[nodiscard]] bool Peek();

  // Whether the producer's node has said that it left, see WakeTarget::left().
  bool producer_left() const { return producer_.left(); }

  uint64_t link_id() const { return link_id_; }
  // Bytes of the ring, or of the slots that are kept.
  uint64_t capacity() const;
  bool corrupt() const { return slots_ == nullptr ? ring_.corrupt() : slots_->consumer.corrupt(); }
  // Of the ready byte, from the region's first byte.
  uint64_t ready_offset() const { return ready_offset_; }
  LinkCounters counters() const;

  // For the owner's use; the reader does not look at it.
  void set_context(void* context) { context_ = context; }
  void* context() const { return context_; }

  const std::shared_ptr<Device>& device() const { return device_; }

 private:
  // What a slot ring needs instead of ring_.
  struct Slots {
    explicit Slots(const ringbuf::KeepLastView& view)
        : consumer(view), copy(consumer.CopyWords()) {}

    ringbuf::KeepLastConsumer<> consumer;
    std::vector<uint64_t> copy;  // of the record that was read last
    ringbuf::KeptMessage message;
  };

  LinkReader(std::shared_ptr<Device> device, uint64_t link_id, const ringbuf::RingView& view,
             ringbuf::ConsumerOptions options, WakeTarget producer, uint64_t ready_offset);
  ReadResult ReadSlot(RecordView* record);
  void CountOverwritten(uint64_t first, uint64_t count);
  void WakeProducer();

  // First, because it takes whole cache lines. Its memory is kept mapped by device_. Of no ring,
  // and never used, where there are slots_.
  ringbuf::SpscConsumer<> ring_;

  std::unique_ptr<Slots> slots_;  // null: a ring

  // Constant after construction.
  std::shared_ptr<Device> device_;
  uint64_t link_id_;
  ringbuf::RingView view_;
  WakeTarget producer_;
  uint64_t ready_offset_;
  ReadyByte* ready_;

  void* context_ = nullptr;
  Counter records_;
  Counter bytes_;
  Counter released_;
  Counter overwritten_;
  Counter first_overwritten_;
  Counter last_overwritten_;
  Counter wakes_;
  Counter doorbells_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LINK_READER_H_
