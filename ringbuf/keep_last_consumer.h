// The reading end of a slot ring (keep_last_layout.h).
#ifndef IVMQ_RINGBUF_KEEP_LAST_CONSUMER_H_
#define IVMQ_RINGBUF_KEEP_LAST_CONSUMER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ringbuf/atomics.h"
#include "ringbuf/keep_last_layout.h"
#include "ringbuf/spsc_consumer.h"

namespace ivmq::ringbuf {

// What TryRead() has copied.
struct KeptMessage {
  size_t size = 0;  // bytes; may be 0
  uint8_t flags = 0;
  uint64_t sequence = 0;  // of the message in this slot ring, from 0
  uint64_t lost = 0;      // messages overwritten unread right before this one
};

// Reads the messages of a slot ring in order, as far as they have not been overwritten, and counts
// those that were.
//
//   TryRead -> use the copy -> Release    until kEmpty, or enough for now
//   Arm -> false: go on reading; true: sleep
//
// Who comes late gets the last `depth` messages and the count of those before them. A reader that
// is outrun in the middle of a copy tries again at the oldest message; after every second time
// without success it skips half of what is left, because a writer that is always faster would
// starve it.
//
// Everything the producer writes is checked when it is loaded: reads stay inside the slots, what is
// handed out is one whole message, and the work of a call is bounded, whatever is there and however
// fast the producer writes. One thread at a time. Owns nothing: the memory must outlive it. Starts
// at message 0. Never blocks, allocates or calls the system.
template <class Atomics = StdAtomics>
class KeepLastConsumer {
 public:
  // REQUIRES: memory fresh from InitializeKeepLast() or one that a producer has written to since,
  // never read by another consumer, checked by ValidateKeepLast().
  explicit KeepLastConsumer(const BasicKeepLastView<Atomics>& view)
      : descriptor_(view.descriptor),
        slots_(view.slots),
        depth_(view.depth),
        max_message_bytes_(view.max_message_bytes),
        slot_bytes_(SlotBytes(view.max_message_bytes)),
        last_slot_(view.depth * slot_bytes_),
        before_(last_slot_) {}

  KeepLastConsumer(const KeepLastConsumer&) = delete;
  KeepLastConsumer& operator=(const KeepLastConsumer&) = delete;
  KeepLastConsumer(KeepLastConsumer&&) = default;
  KeepLastConsumer& operator=(KeepLastConsumer&&) = default;

  // Copies the next message to `copy`, which has room for CopyWords() words. kEmpty also where the
  // producer overwrote message after message under our eyes; Arm() then returns false.
  [[nodiscard]] ReadResult TryRead(uint64_t* copy, KeptMessage* message) {
    for (int attempt = 0; attempt < kAttempts && !corrupt_; ++attempt) {
      // Message `position_ + depth_` puts ours out of the last `depth_`. It lies in the slot
      // before.
      if (LoadSequence(before_) >= WholeSequence(position_ + depth_)) [[unlikely]] {
        if (!SkipTo(depth_)) return Fail();
      }
      const uint64_t sequence = LoadSequence(slot_);
      if (sequence < WholeSequence(position_)) return OnEmpty(sequence);
      if (sequence == WholeSequence(position_)) [[likely]] {
        const Copied copied = Copy(copy, message);
        if (copied == Copied::kNonsense) return Fail();
        if (copied == Copied::kWhole) {
          Advance();
          return ReadResult::kOk;
        }
      }
      // Overwritten. By what, only the producer's count tells; it is a lap ahead, so we move on.
      const uint64_t overwritten = position_;
      if (!SkipTo(std::max<uint64_t>(depth_ >> std::min(outrun_++ / 2, 31U), 1)) ||
          position_ == overwritten) {
        return Fail();
      }
    }
    if (corrupt_) return ReadResult::kCorrupt;
    Mirror();
    return ReadResult::kEmpty;
  }

  // Reports all messages read so far as released.
  void Release() {
    released_ = read_;
    Mirror();
  }

  // Announces that we are about to sleep, then looks again. True: there is no message, and the
  // producer will report NeedsWake() for the next one. False: TryRead() has an answer.
  [[nodiscard]] bool Arm() {
    Mirror();
    Atomics::StoreRelease(descriptor_->want, position_);
    // Either the producer sees this, or we see its message. Pairs with NeedsWake().
    Atomics::Fence();
    return !HasNext();
  }

  // A private look at whether TryRead() would find a message or nonsense.
  [[nodiscard]] bool HasNext() const {
    return corrupt_ || LoadSequence(slot_) >= WholeSequence(position_);
  }

  // Words of memory that TryRead() may write to.
  size_t CopyWords() const { return (max_message_bytes_ + 7) / 8; }

  // The message that is read next: all that were read or lost.
  uint64_t position() const { return position_; }
  uint64_t read() const { return read_; }
  uint64_t released() const { return released_; }
  // Messages overwritten unread, those included that the next message will tell of.
  uint64_t lost() const { return lost_; }
  uint64_t depth() const { return depth_; }
  uint64_t max_message_bytes() const { return max_message_bytes_; }
  // True once the producer wrote nonsense.
  bool corrupt() const { return corrupt_; }

 private:
  enum class Copied : uint8_t { kWhole, kOverwritten, kNonsense };

  static constexpr int kAttempts = 4;

  uint64_t LoadSequence(uint64_t slot) const {
    // Pairs with the release in KeepLastProducer::TryWrite().
    return Atomics::LoadHeader(slots_, slot);
  }

  // Copies the slot of message position_, which was whole a moment ago.
  Copied Copy(uint64_t* copy, KeptMessage* message) {
    // Each load is an acquire: had it met a word of a later message, then the sequence that was
    // stored before that word would be seen below. Pairs with KeepLastProducer::TryWrite().
    const uint64_t header = Atomics::LoadWord(slots_, slot_ + 8);
    const uint64_t length = static_cast<uint32_t>(header);
    const uint64_t flags = header >> internal::kFlagsShift;
    const bool plausible = length <= max_message_bytes_ && flags < kFlagPadding;
    if (plausible) [[likely]] {
      uint64_t offset = slot_ + kSlotHeaderBytes;
      for (uint64_t i = 0; i < (length + 7) / 8; ++i, offset += 8) {
        copy[i] = Atomics::LoadWord(slots_, offset);
      }
    }
    if (LoadSequence(slot_) != WholeSequence(position_)) return Copied::kOverwritten;
    if (!plausible) return Copied::kNonsense;
    message->size = length;
    message->flags = static_cast<uint8_t>(flags);
    message->sequence = position_;
    message->lost = lost_ - told_;
    return Copied::kWhole;
  }

  void Advance() {
    if (told_ != lost_) {
      told_ = lost_;
      Atomics::StoreRelaxed(descriptor_->lost, lost_);
    }
    outrun_ = 0;
    ++position_;
    // For who counts after we were killed.
    Atomics::StoreRelaxed(descriptor_->read, ++read_);
    before_ = slot_;
    slot_ = slot_ == last_slot_ ? 0 : slot_ + slot_bytes_;
  }

  // `sequence` says that our message is not there yet. That is what a producer leaves there which
  // is at most one lap behind us.
  ReadResult OnEmpty(uint64_t sequence) {
    const uint64_t slots = depth_ + 1;
    const uint64_t lap_before = position_ < slots ? 0 : WholeSequence(position_ - slots);
    if (sequence != lap_before && sequence != WritingSequence(position_)) return Fail();
    // The count was loaded before the sequence, so a message below it was visible.
    if (position_ < published_) return Fail();
    Mirror();
    return ReadResult::kEmpty;
  }

  // Goes on at the oldest of the last `keep` messages, unless that lies behind us. False if the
  // producer's words contradict each other.
  bool SkipTo(uint64_t keep) {
    // Pairs with the release in KeepLastProducer::TryWrite().
    const uint64_t published = Atomics::LoadAcquire(descriptor_->published);
    if (published < published_ || published < position_ || published > kMaxMessages) {
      return false;
    }
    published_ = published;
    if (published - position_ <= keep) return true;
    const uint64_t target = published - keep;
    const uint64_t index = target % (depth_ + 1);
    const uint64_t slot = index * slot_bytes_;
    // It is below the count, so it is there or has been overwritten already.
    if (LoadSequence(slot) < WholeSequence(target)) return false;
    lost_ += target - position_;
    position_ = target;
    slot_ = slot;
    before_ = index == 0 ? last_slot_ : slot - slot_bytes_;
    return true;
  }

  void Mirror() {
    Atomics::StoreRelaxed(descriptor_->released, released_);
    Atomics::StoreRelaxed(descriptor_->lost, lost_);
  }

  ReadResult Fail() {
    corrupt_ = true;
    return ReadResult::kCorrupt;
  }

  // Constant after construction.
  BasicKeepLastDescriptor<Atomics>* descriptor_;
  typename Atomics::Data slots_;
  uint64_t depth_;
  uint64_t max_message_bytes_;
  uint64_t slot_bytes_;
  uint64_t last_slot_;  // its offset

  // Our own cursors; what of them is in the region is a copy that we never read.
  uint64_t position_ = 0;  // read_ + lost_
  uint64_t slot_ = 0;      // offset of the slot of message position_
  uint64_t before_;        // and of the slot before it
  uint64_t read_ = 0;
  uint64_t released_ = 0;
  uint64_t lost_ = 0;
  uint64_t told_ = 0;    // lost_ when a message was last handed out
  uint32_t outrun_ = 0;  // times in a row that a message was overwritten under our eyes
  bool corrupt_ = false;

  // The producer's count when last loaded and found plausible.
  uint64_t published_ = 0;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_KEEP_LAST_CONSUMER_H_
