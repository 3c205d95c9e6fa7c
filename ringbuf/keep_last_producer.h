// The writing end of a slot ring (keep_last_layout.h).
#ifndef IVMQ_RINGBUF_KEEP_LAST_PRODUCER_H_
#define IVMQ_RINGBUF_KEEP_LAST_PRODUCER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ringbuf/atomics.h"
#include "ringbuf/keep_last_layout.h"
#include "ringbuf/spsc_producer.h"

namespace ivmq::ringbuf {

// Writes messages over the oldest ones and says when the consumer has to be woken.
//
//   TryWrite                               as often as wanted; each is visible at once
//   if (NeedsWake()) <wake the consumer>   once a flush; contains the fence
//
// Never waits: nothing that the consumer does or leaves undone holds it up. The consumer's words
// are looked at only for figures and wake-ups, and checked when they are loaded. One thread at a
// time. Owns nothing: the memory must outlive it. Starts at message 0, so it is the only producer
// that a slot ring ever has. Never blocks, allocates or calls the system.
template <class Atomics = StdAtomics>
class KeepLastProducer {
 public:
  // REQUIRES: memory fresh from InitializeKeepLast(), checked by ValidateKeepLast().
  explicit KeepLastProducer(const BasicKeepLastView<Atomics>& view)
      : descriptor_(view.descriptor),
        slots_(view.slots),
        depth_(view.depth),
        max_message_bytes_(view.max_message_bytes),
        slot_bytes_(SlotBytes(view.max_message_bytes)),
        slots_end_((view.depth + 1) * slot_bytes_) {}

  KeepLastProducer(const KeepLastProducer&) = delete;
  KeepLastProducer& operator=(const KeepLastProducer&) = delete;
  KeepLastProducer(KeepLastProducer&&) = default;
  KeepLastProducer& operator=(KeepLastProducer&&) = default;

  // Publishes one message: kOk, or kTooLarge. Flags of 0x80 and above are masked off.
  [[nodiscard]] WriteResult TryWrite(std::span<const std::byte> payload, uint8_t flags = 0) {
    if (payload.size() > max_message_bytes_) return WriteResult::kTooLarge;
    const uint64_t slot = slot_;
    // Pairs with the acquire in KeepLastConsumer::LoadSequence(): who sees it sees the count, too.
    Atomics::PublishHeader(slots_, slot, WritingSequence(published_));
    // Each of these is a release, so that who sees one also sees the sequence above. Pairs with the
    // acquires in KeepLastConsumer::Copy().
    Atomics::StoreWord(
        slots_, slot + 8,
        internal::MakeSlotHeader(payload.size(), flags & static_cast<uint8_t>(~kFlagPadding)));
    StorePayload(slot + kSlotHeaderBytes, payload);
    // Pairs with the acquire in KeepLastConsumer::LoadSequence().
    Atomics::PublishHeader(slots_, slot, WholeSequence(published_));
    ++published_;
    // Pairs with the acquire in KeepLastConsumer::SkipTo().
    Atomics::StoreRelease(descriptor_->published, published_);
    slot_ = slot + slot_bytes_ == slots_end_ ? 0 : slot + slot_bytes_;
    return WriteResult::kOk;
  }

  // Whether the consumer went to sleep, or was about to, on a message that has been published since
  // the last call. Then it has to be woken now; a wake-up too many does no harm. Costs a fence if
  // anything was published since the last call, else nothing.
  [[nodiscard]] bool NeedsWake() {
    if (published_ == looked_) return false;
    // Either we see the consumer's want, or its second look in Arm() sees what we published.
    Atomics::Fence();
    const uint64_t want = Atomics::LoadAcquire(descriptor_->want);
    const bool crossed = want - looked_ < published_ - looked_;
    looked_ = published_;
    return crossed;
  }

  // Messages published and neither reported as released nor as lost; the consumer's word for it.
  // 0 if that is nonsense, which also makes the producer corrupt().
  [[nodiscard]] uint64_t InFlight() {
    if (corrupt_) return 0;
    // relaxed: nothing hangs on them. Both only grow and never exceed, together, what we published.
    const uint64_t released = Atomics::LoadRelaxed(descriptor_->released);
    const uint64_t lost = Atomics::LoadRelaxed(descriptor_->lost);
    if (released < released_ || lost < lost_ || released > published_ ||
        lost > published_ - released) {
      corrupt_ = true;
      return 0;
    }
    released_ = released;
    lost_ = lost;
    return published_ - released - lost;
  }

  // Whether the consumer has released or lost all that was published; true if it wrote nonsense.
  [[nodiscard]] bool AllConsumed() { return InFlight() == 0; }

  uint64_t published() const { return published_; }
  uint64_t depth() const { return depth_; }
  uint64_t max_message_bytes() const { return max_message_bytes_; }
  // True once InFlight() found nonsense. Writing goes on all the same.
  bool corrupt() const { return corrupt_; }

 private:
  void StorePayload(uint64_t offset, std::span<const std::byte> payload) {
    const std::byte* from = payload.data();
    uint64_t left = payload.size();
    for (; left >= 8; left -= 8, from += 8, offset += 8) {
      uint64_t word;
      std::memcpy(&word, from, 8);
      Atomics::StoreWord(slots_, offset, word);
    }
    if (left == 0) return;
    uint64_t word = 0;
    std::memcpy(&word, from, left);
    Atomics::StoreWord(slots_, offset, word);
  }

  // Constant after construction.
  BasicKeepLastDescriptor<Atomics>* descriptor_;
  typename Atomics::Data slots_;
  uint64_t depth_;
  uint64_t max_message_bytes_;
  uint64_t slot_bytes_;
  uint64_t slots_end_;

  // Our own cursors; what of them is in the region is a copy that we never read.
  uint64_t published_ = 0;
  uint64_t slot_ = 0;    // offset of the slot of message published_
  uint64_t looked_ = 0;  // published_ at the last look at want

  // The consumer's counts when last loaded and found plausible.
  uint64_t released_ = 0;
  uint64_t lost_ = 0;
  bool corrupt_ = false;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_KEEP_LAST_PRODUCER_H_
