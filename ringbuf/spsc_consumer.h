// The reading end of a ring (ring_layout.h).
#ifndef IVMQ_RINGBUF_SPSC_CONSUMER_H_
#define IVMQ_RINGBUF_SPSC_CONSUMER_H_

#include <cstddef>
#include <cstdint>

#include "ringbuf/atomics.h"
#include "ringbuf/ring_layout.h"

namespace ivmq::ringbuf {

enum class ReadResult : uint8_t {
  kOk,
  kEmpty,
  kCorrupt  // the producer wrote nonsense; so for good
};

// One record, borrowed from the ring until it is released. The producer can still write there, out
// of error or malice, so the bytes may change between two looks at them: copy first, then check.
template <class Atomics = StdAtomics>
struct BasicRecordView {
  typename Atomics::ConstPayload data = nullptr;
  size_t size = 0;  // bytes; may be 0
  uint8_t flags = 0;
  uint64_t sequence = 0;  // of the record in this ring, from 0
};

using RecordView = BasicRecordView<StdAtomics>;

struct ConsumerOptions {
  // Report every release at once instead of in steps of an eighth of the ring. For links on which
  // the released position means something to others (durable subscribers, groups).
  bool publish_every_release = false;
};

// Reads the records of a ring in order and says when its producer has to be woken.
//
//   TryRead -> use the record -> Release                until kEmpty, or enough for now
//   if (NeedsSpaceWake()) <wake the producer>           once a drain; contains a fence if due
//   Arm -> false: go on reading; true: NeedsSpaceWake(), then sleep
//
// Several records may be read before they are released together. What the producer published before
// it died can be read as ever.
//
// Everything the producer writes is checked when it is loaded: reads stay inside the data area, and
// the work of a call is bounded, whatever is there. One thread at a time. Owns nothing: the ring's
// memory must outlive it. Starts at position 0. Never blocks, allocates or calls the system, except
// that TryRead() may wait up to three microseconds when it has caught up with a busy
// producer.
template <class Atomics = StdAtomics>
class alignas(kCacheLineBytes) SpscConsumer {
 public:
  // REQUIRES: a ring fresh from InitializeRing() or one that a producer has written to since, never
  // read by another consumer, checked by ValidateRing().
  explicit SpscConsumer(const BasicRingView<Atomics>& ring, ConsumerOptions options = {})
      : descriptor_(ring.descriptor),
        data_(ring.data),
        capacity_(ring.capacity),
        mask_(ring.capacity - 1),
        report_bytes_(options.publish_every_release ? 1 : ring.capacity / 8),
        distance_bytes_(BatchBytes(ring.capacity)) {}

  SpscConsumer(const SpscConsumer&) = delete;
  SpscConsumer& operator=(const SpscConsumer&) = delete;
  SpscConsumer(SpscConsumer&&) = default;
  SpscConsumer& operator=(SpscConsumer&&) = default;

  // The next record, in order. Its bytes stay in the ring until Release(). Inline wherever it is
  // called: that is worth a tenth of what a subscriber takes for a small message.
  [[nodiscard, gnu::always_inline]] inline ReadResult TryRead(BasicRecordView<Atomics>* out) {
    if (position_ >= safe_) {
      // Who polls asks for the second line of the next record as well, so that both come at once.
      Atomics::Prefetch(data_, (position_ + kCacheLineBytes) & mask_);
      if (!CatchUp()) [[unlikely]]
        return ReadResult::kCorrupt;
    }
    // Pairs with the release in SpscProducer::Publish().
    uint64_t offset = position_ & mask_;
    uint64_t header = Atomics::LoadHeader(data_, offset);
    if (header == 0) return OnEmpty();
    if (header == kPaddingHeader && offset != 0) [[unlikely]] {
      // A record comes with its padding, so there must be one; and it cannot be padding again.
      position_ += capacity_ - offset;
      offset = 0;
      header = Atomics::LoadHeader(data_, 0);
    }
    ParsedHeader record;
    if (!ParseHeader(header, offset, capacity_, &record)) [[unlikely]]
      return Fail();
    out->data = Atomics::At(data_, record.payload_offset);
    out->size = record.length;
    out->flags = record.flags;
    out->sequence = records_++;
    // For who counts after we were killed. No order: we never read it, and the producer does not
    // wait.
    Atomics::StoreRelaxed(descriptor_->records_read, records_);
    position_ += record.end_offset - offset;
    if (record.length <= kPrefetchedPayloadBytes) PrefetchAhead();
    return ReadResult::kOk;
  }

  // Gives all records read so far back to the producer, which may then overwrite them. The producer
  // learns of it when an eighth of the ring is due or the ring is found empty, or at once if
  // `publish_every_release` is set.
  void Release() {
    released_ = position_;
    released_records_ = records_;
    if (released_ - head_ >= report_bytes_) PublishHead();
  }

  // Tells the producer at once of all releases.
  void PublishHead() {
    if (released_ == head_) return;
    head_ = released_;
    Atomics::StoreRelaxed(descriptor_->records_released, released_records_);
    // Pairs with the acquire in SpscProducer::Refresh(): our reads below head are over.
    Atomics::StoreRelease(descriptor_->head, head_);
  }

  // After Release(), when nothing more may be read for a while: tells the producer of all releases
  // if no record is known to be left. Costs two stores and no fence, so it leaves out what
  // NeedsSpaceWake() is for, but says whether a producer has announced that it waits: then that
  // has to be called.
  [[nodiscard]] bool ReportIfCaughtUp() {
    if (position_ < tail_) return false;
    PublishHead();
    const uint64_t space_want = Atomics::LoadAcquire(descriptor_->space_want);
    return space_want - looked_ - 1 < head_ - looked_;
  }

  // Announces that we are about to sleep, then looks again. True: the ring is empty and the
  // producer will report NeedsWake() for the next record. False: there is something to read (or
  // kCorrupt to be had) from TryRead(). Also reports releases, so call NeedsSpaceWake() before
  // sleeping.
  [[nodiscard]] bool Arm() {
    PublishHead();
    Atomics::StoreRelease(descriptor_->want, position_);
    // Either the producer sees this, or we see its record. Pairs with NeedsWake().
    Atomics::Fence();
    return !corrupt_ && Atomics::LoadHeader(data_, position_ & mask_) == 0 &&
           Atomics::LoadAcquire(descriptor_->tail) <= position_;
  }

  // Whether the producer waits for room that was reported since the last call. Then it has to be
  // woken now; a wake-up too many does no harm. Costs a fence if anything was reported since.
  [[nodiscard]] bool NeedsSpaceWake() {
    if (head_ == looked_) return false;
    // Either we see the producer's space_want, or its second look in ArmSpace() sees our head.
    Atomics::Fence();
    const uint64_t space_want = Atomics::LoadAcquire(descriptor_->space_want);
    const bool crossed = space_want - looked_ - 1 < head_ - looked_;
    looked_ = head_;
    return crossed;
  }

  // Where the next record will be read: all bytes ever read, headers and gaps included.
  uint64_t position() const { return position_; }
  // Records ever read, and those of them that were released.
  uint64_t records() const { return records_; }
  uint64_t released_records() const { return released_records_; }
  uint64_t capacity() const { return capacity_; }
  // True once the producer wrote nonsense.
  bool corrupt() const { return corrupt_; }

 private:
  // Records longer than this are left to the processor's own prefetching, which ours would disturb.
  static constexpr uint64_t kPrefetchedPayloadBytes = 2048;
  static constexpr uint64_t kPrefetchBytes = 1024;
  // What CatchUp() waits at most (3 us); after what time between two of its tails, in ticks of the
  // processor's clock, it no longer waits (2 to 5 us); and up to which mean size of a record.
  static constexpr int kPauses = 64;
  static constexpr uint64_t kFastTicks = 10'000;
  static constexpr uint64_t kPatientRecordBytes = 1024;

  ReadResult Fail() {
    corrupt_ = true;
    safe_ = 0;  // Every TryRead() goes to CatchUp(), which refuses.
    tail_ = 0;
    return ReadResult::kCorrupt;
  }

  ReadResult OnEmpty() {
    // The tail was loaded before the header, so the header of a record below it was visible.
    if (position_ < tail_) return Fail();
    PublishHead();
    return ReadResult::kEmpty;
  }

  // We have read all that was far enough behind the tail: looks how far it is now. False if it is
  // nonsense.
  //
  // A processor that reads a stream fetches ahead of it. Close to a busy producer it takes away the
  // very lines that are being written, which costs two thirds of the throughput at 64 bytes. So as
  // long as the tail moves fast we keep a distance, and give it a moment to move on; if it does
  // not, the rest is read. Otherwise headers are polled as they come, which is fastest for a single
  // record. Large records are worth no waiting.
  bool CatchUp() {
    if (!LoadTail()) return false;
    const bool small =
        position_ - caught_up_ <= kPatientRecordBytes * (records_ - caught_up_records_);
    for (int i = 0; patient_ && small && position_ + distance_bytes_ >= tail_ && i < kPauses; ++i) {
      Atomics::Pause();
      if (!LoadTail()) return false;
    }
    patient_ = false;
    safe_ = tail_;
    if (position_ >= tail_) return true;
    const uint64_t now = Atomics::Ticks();
    patient_ = now - caught_up_ticks_ < kFastTicks;
    if (position_ + distance_bytes_ < tail_) safe_ = tail_ - distance_bytes_;
    caught_up_ = position_;
    caught_up_records_ = records_;
    caught_up_ticks_ = now;
    return true;
  }

  bool LoadTail() {
    if (corrupt_) return false;
    // Pairs with the release in SpscProducer::MirrorCounters().
    const uint64_t tail = Atomics::LoadAcquire(descriptor_->tail);
    if (tail < tail_ || tail > head_ + capacity_ || tail % kHeaderBytes != 0) {
      (void)Fail();
      return false;
    }
    tail_ = tail;
    return true;
  }

  // Fetches a bounded stretch of what is known to be published; beyond the tail the producer still
  // writes, and would have to take its lines back.
  void PrefetchAhead() {
    const uint64_t end = position_ + kPrefetchBytes < tail_ ? position_ + kPrefetchBytes : tail_;
    if (prefetched_ < position_) prefetched_ = position_;
    for (; prefetched_ < end; prefetched_ += kCacheLineBytes) {
      Atomics::Prefetch(data_, prefetched_ & mask_);
    }
  }

  // Constant after construction.
  BasicRingDescriptor<Atomics>* descriptor_;
  typename Atomics::Data data_;
  uint64_t capacity_;
  uint64_t mask_;
  uint64_t report_bytes_;    // releases are reported in steps of this
  uint64_t distance_bytes_;  // kept from a busy producer

  // Our own cursors; what of them is in the region is a copy that we never read.
  uint64_t position_ = 0;          // end of what was read
  uint64_t released_ = 0;          // end of what was released
  uint64_t head_ = 0;              // released_ when last reported
  uint64_t looked_ = 0;            // head_ at the last look at space_want
  uint64_t records_ = 0;           // records below position_
  uint64_t released_records_ = 0;  // records below released_
  uint64_t prefetched_ = 0;

  // The producer's tail when last loaded and found plausible.
  uint64_t tail_ = 0;
  uint64_t safe_ = 0;               // up to here we read without another look at it
  bool patient_ = false;            // the tail moves fast
  uint64_t caught_up_ = 0;          // position_ when CatchUp() last found a new tail
  uint64_t caught_up_records_ = 0;  // and records_
  uint64_t caught_up_ticks_ = 0;    // and the time
  bool corrupt_ = false;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_SPSC_CONSUMER_H_
