// The writing end of a ring (ring_layout.h).
#ifndef IVMQ_RINGBUF_SPSC_PRODUCER_H_
#define IVMQ_RINGBUF_SPSC_PRODUCER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ringbuf/atomics.h"
#include "ringbuf/ring_layout.h"

namespace ivmq::ringbuf {

enum class WriteResult : uint8_t {
  kOk,
  kFull,      // not enough room now; what was staged has been published
  kTooLarge,  // longer than MaxInlineRecord(capacity): will never fit
  kCorrupt    // the consumer wrote nonsense; so for good
};

// Writes records of any length into a ring and says when its consumer has to be woken.
//
//   claim -> fill the payload -> Commit  (or Abort)     as often as wanted
//   Publish                                             all of it becomes visible at once
//   if (NeedsWake()) <wake the consumer>                once a flush; contains the fence
//
// A record that is committed but not published is *staged*: it is lost if this process dies.
// Batches are bounded: after 32 staged records or 8 KiB (an eighth of a small ring) Commit()
// publishes by itself. NeedsWake() is still due at the end.
//
// To wait for room: ArmSpace(bytes) -> false -> NeedsWake() -> sleep until the consumer's end
// reports NeedsSpaceWake(), or a timeout -> try again.
//
// Everything the consumer writes is checked when it is loaded; the worst that a hostile consumer
// can do is to have its own records overwritten or never to make room. One thread at a time. Owns
// nothing: the ring's memory must outlive it. Starts at position 0, so it is the only producer that
// a ring ever has. Never blocks, allocates or calls the system.
template <class Atomics = StdAtomics>
class alignas(kCacheLineBytes) SpscProducer {
 public:
  using Payload = typename Atomics::Payload;

  // REQUIRES: a ring fresh from InitializeRing(), checked by ValidateRing().
  explicit SpscProducer(const BasicRingView<Atomics>& ring)
      : descriptor_(ring.descriptor),
        data_(ring.data),
        capacity_(ring.capacity),
        mask_(ring.capacity - 1),
        batch_bytes_(BatchBytes(ring.capacity)),
        limit_(ring.capacity - kHeaderBytes) {}

  SpscProducer(const SpscProducer&) = delete;
  SpscProducer& operator=(const SpscProducer&) = delete;
  SpscProducer(SpscProducer&&) = default;
  SpscProducer& operator=(SpscProducer&&) = default;

  // Room for one record of `payload_bytes`, which may be 0. On kOk, `*payload` is where they go (on
  // a cache line for 4 KiB and more, else on a multiple of 8), and one Commit() or Abort() must
  // follow before the next claim. Nothing is visible to the consumer as yet.
  // REQUIRES: no claim is open; `flags` is without kFlagPadding, which is masked off.
  [[nodiscard]] WriteResult TryClaim(size_t payload_bytes, uint8_t flags, Payload* payload) {
    if (payload_bytes > max_payload_bytes()) return WriteResult::kTooLarge;
    Place place = PlaceFor(payload_bytes);
    if (place.end > limit_ && !Refresh(place.end)) [[unlikely]]
      return NoRoom();
    claim_header_ = HeaderFor(payload_bytes, flags, &place);
    claim_record_ = place.record;
    claim_end_ = place.end;
    if (!TravelsAlone()) OwnThrough(place.end);
    // The reader will stop behind this record. Done now, so that the line is ours by Commit().
    Atomics::StoreHeader(data_, place.end & mask_, 0);
    *payload = Atomics::At(data_, place.payload_offset);
    return WriteResult::kOk;
  }

  // Stages the claimed record.
  // REQUIRES: a claim is open and its payload is written.
  void Commit() { Stage(claim_record_, claim_end_, claim_header_); }

  // Gives the claim up as if it had never been made.
  void Abort() {}

  // Makes all staged records visible to the consumer, with one release store. May find it
  // corrupt().
  void Publish() {
    if (position_ == published_) return;
    // Pairs with the acquire in SpscConsumer::TryRead() and Arm().
    Atomics::PublishHeader(data_, published_ & mask_, withheld_header_);
    const uint64_t before = published_;
    const uint64_t bytes = position_ - before;
    const uint64_t records = records_ - published_records_;
    published_ = position_;
    published_records_ = records_;
    if (published_records_ - hinted_records_ >= kBatchRecords ||
        published_ - hinted_ >=
            (bytes < kRarelyHintedBytes * records ? batch_bytes_ : capacity_ / 2)) {
      MirrorCounters();
      // A look at the consumer's line: now and then, as it costs a transfer, but long before the
      // ring seems full, as lines are owned ahead only where there is room.
      (void)Refresh(limit_);
      kept_up_ = head_ == before;
    }
    OwnAhead();
  }

  // Claim, copy and Commit() in one. Staged until Publish(). Inline wherever it is called, as
  // TryRead() is.
  [[nodiscard, gnu::always_inline]] inline WriteResult TryWrite(std::span<const std::byte> payload,
                                                                uint8_t flags = 0) {
    if (payload.size() > max_payload_bytes()) return WriteResult::kTooLarge;
    Place place = PlaceFor(payload.size());
    if (place.end > limit_ && !Refresh(place.end)) [[unlikely]]
      return NoRoom();
    const uint64_t header = HeaderFor(payload.size(), flags, &place);
    if (!TravelsAlone()) OwnThrough(place.end);
    Atomics::StoreHeader(data_, place.end & mask_, 0);
    CopyIn(payload, place.payload_offset);
    Stage(place.record, place.end, header);
    return WriteResult::kOk;
  }

  // Whether the consumer went to sleep, or was about to, on a record that has been published since
  // the last call. Then it has to be woken now; a wake-up too many does no harm. Costs a fence if
  // anything was published since the last call, else nothing.
  [[nodiscard]] bool NeedsWake() {
    if (published_ == looked_) return false;
    // Either we see the consumer's want, or its second look in Arm() sees what we published.
    Atomics::Fence();
    const uint64_t want = Atomics::LoadAcquire(descriptor_->want);
    const bool crossed = want - looked_ < published_ - looked_;
    looked_ = published_;
    if (crossed) MirrorCounters();
    return crossed;
  }

  // Whether TryClaim(payload_bytes) would return kOk. If so it does, until any other call: each may
  // find the consumer corrupt(). False also if too large or corrupt.
  [[nodiscard]] bool HasRoom(size_t payload_bytes) {
    if (payload_bytes > max_payload_bytes()) return false;
    const Place place = PlaceFor(payload_bytes);
    return place.end <= limit_ || Refresh(place.end);
  }

  // Announces that we wait for room for a record of `payload_bytes`, then looks again. True: do not
  // sleep, TryClaim() has an answer (kOk, kTooLarge or kCorrupt). False: the consumer will report
  // NeedsSpaceWake() once there is room. Publishes what is staged, else it might wait for itself;
  // call NeedsWake() before sleeping.
  [[nodiscard]] bool ArmSpace(size_t payload_bytes) {
    Publish();
    if (payload_bytes > max_payload_bytes()) return true;
    const Place place = PlaceFor(payload_bytes);
    if (place.end <= limit_) return true;
    Atomics::StoreRelease(descriptor_->space_want, place.end + kHeaderBytes - capacity_);
    // Either the consumer sees this, or we see its head. Pairs with NeedsSpaceWake().
    Atomics::Fence();
    return Refresh(place.end) || corrupt_;
  }

  // As ArmSpace(), for the release of all that was committed. True: there is nothing to wait for
  // (or kCorrupt to be had). False: the consumer will report NeedsSpaceWake() when it is released.
  [[nodiscard]] bool ArmDrained() {
    Publish();
    if (AllConsumed()) return true;
    Atomics::StoreRelease(descriptor_->space_want, published_);
    // Either the consumer sees this, or we see its head. Pairs with NeedsSpaceWake().
    Atomics::Fence();
    return AllConsumed();
  }

  // Brings the words that operators read (tail, records_published) up to date; they are otherwise
  // up to 32 records or 8 KiB late, in half the ring where records are large. Cheap, but not free:
  // for when a publisher turns idle.
  void MirrorCounters() {
    Atomics::StoreRelaxed(descriptor_->records_published, published_records_);
    // Pairs with the acquire in SpscConsumer: who sees this tail sees the headers below it.
    Atomics::StoreRelease(descriptor_->tail, published_);
    hinted_ = published_;
    hinted_records_ = published_records_;
  }

  // Looks at the consumer's head. For figures and for closing a link in good order.
  [[nodiscard]] bool AllConsumed() { return BytesInFlight() == 0; }

  // Bytes, headers and gaps included, that were published and whose release is not yet known. The
  // consumer reports in steps of an eighth of the ring, and when it finds the ring empty.
  [[nodiscard]] uint64_t BytesInFlight() {
    (void)Refresh(limit_);
    return corrupt_ ? 0 : published_ - head_;
  }

  // Records committed that the consumer may not have released, by what it said when it was last
  // looked at and in good order: never less than there are, and so of a corrupt() one as well.
  [[nodiscard]] uint64_t UnreleasedAtMost() const { return records_ - released_records_; }

  // Where the next record goes: all bytes ever committed, headers and gaps included.
  uint64_t position() const { return position_; }
  uint64_t published_position() const { return published_; }
  // Records ever committed, and those of them that were published.
  uint64_t records() const { return records_; }
  uint64_t published_records() const { return published_records_; }
  uint64_t capacity() const { return capacity_; }
  uint64_t max_payload_bytes() const { return MaxInlineRecord(capacity_); }
  // True once the consumer wrote nonsense.
  bool corrupt() const { return corrupt_; }

 private:
  // How far beyond a record OwnThrough() reaches: over a batch of small ones, which else wait for
  // their lines where the cores share no cache. And which part is taken again at each publication.
  static constexpr uint64_t kOwnBytes = 2560;
  static constexpr uint64_t kOwnAgainBytes = 2 * kCacheLineBytes;
  // Within a batch not before so many are missing. No more if it can be: lines that a processor
  // cannot ask for at once hold up the stores behind them.
  static constexpr uint64_t kOwnRefillBytes = 5 * kCacheLineBytes;
  // From this mean size of what is published at once, the copying of a record takes so long that to
  // store the hint for each only disturbs it.
  static constexpr uint64_t kRarelyHintedBytes = 4096;

  // Where a record would lie. `record` is not position_ if padding comes first.
  struct Place {
    uint64_t record = 0;          // position of its header
    uint64_t end = 0;             // position of the header behind it
    uint64_t payload_offset = 0;  // offset, not position
  };

  Place PlaceFor(uint64_t length) const {
    const uint64_t offset = position_ & mask_;
    const uint64_t payload_offset = internal::PayloadOffset(offset, length);
    const uint64_t end_offset = internal::EndOffset(payload_offset, length);
    if (end_offset <= capacity_) [[likely]] {
      return {position_, position_ - offset + end_offset, payload_offset};
    }
    const uint64_t next_lap = position_ - offset + capacity_;
    const uint64_t payload_at_start = internal::PayloadOffset(0, length);
    return {next_lap, next_lap + internal::EndOffset(payload_at_start, length), payload_at_start};
  }

  // Whether the next record is the first of a batch, for a consumer that has read all before it: it
  // is waited for.
  bool TravelsAlone() const { return kept_up_ && position_ == published_; }

  void CopyIn(std::span<const std::byte> payload, uint64_t offset) {
    if (payload.empty()) return;
    const uint64_t in_first_line = kCacheLineBytes - offset % kCacheLineBytes;
    if (!TravelsAlone() || payload.size() <= in_first_line || in_first_line == kCacheLineBytes) {
      Atomics::CopyIn(data_, offset, payload.data(), payload.size());
      return;
    }
    // The line with the header last and at once. Whoever polls it takes it away as soon as it
    // changes, and the header would have to wait for it a second time: a quarter of a round trip.
    Atomics::CopyIn(data_, offset + in_first_line, payload.data() + in_first_line,
                    payload.size() - in_first_line);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // x86-64 stores in the order of the code
    Atomics::CopyIn(data_, offset, payload.data(), in_first_line);
  }

  // The header of a record that goes to `place`. Moves its end to where the next record will start
  // on a cache line, if that helps and there is room. Only for the first of a batch: a record that
  // travels alone is waited for, and more in a batch cost less if they lie close. So do those that
  // fill two lines either way: what follows in the second one comes along.
  uint64_t HeaderFor(size_t payload_bytes, uint8_t flags, Place* place) {
    const uint64_t header =
        internal::MakeHeader(payload_bytes, flags & static_cast<uint8_t>(~kFlagPadding));
    const uint64_t bytes = kHeaderBytes + payload_bytes;
    if (!TravelsAlone() || (bytes > kCacheLineBytes && bytes <= kLinePairBytes)) return header;
    const uint64_t end = AlignUp(place->end, PairBytes(capacity_));
    if (end > limit_ && !Refresh(end)) return header;
    place->end = end;
    return header | internal::kEndsOnPair;
  }

  WriteResult NoRoom() {
    Publish();
    return corrupt_ ? WriteResult::kCorrupt : WriteResult::kFull;
  }

  void Stage(uint64_t record, uint64_t end, uint64_t header) {
    uint64_t first_header = header;
    if (record != position_) [[unlikely]] {
      Atomics::StoreHeader(data_, record & mask_, header);
      first_header = kPaddingHeader;
    }
    // The first header of a batch is withheld. The reader stops there, so those behind it may be
    // written in any order.
    if (position_ == published_) {
      withheld_header_ = first_header;
    } else {
      Atomics::StoreHeader(data_, position_ & mask_, first_header);
    }
    position_ = end;
    ++records_;
    if (records_ - published_records_ >= kBatchRecords || position_ - published_ >= batch_bytes_) {
      Publish();
    }
  }

  // Takes the cache lines of a record that will end at `end`, and of what comes behind it, from the
  // consumer, which has read them a lap ago. Stores leave the processor in order: without this each
  // record would wait for its own lines in turn, and every fence for the last of them. Only room
  // beyond the next header that is free is taken, but for the line in which that ends.
  void OwnThrough(uint64_t end) {
    if (owned_ >= end + kOwnBytes - kOwnRefillBytes) return;
    const uint64_t first = AlignUp(position_ + kHeaderBytes, kCacheLineBytes);
    if (owned_ < first) owned_ = first;
    const uint64_t to = Limited(end + kOwnBytes);
    for (; owned_ < to; owned_ += kCacheLineBytes) Own(owned_);
  }
  // At a publication: the nearest lines are asked for again, as a consumer that polls close by
  // fetches them back.
  void OwnAhead() {
    const uint64_t first = AlignUp(position_ + kHeaderBytes, kCacheLineBytes);
    const uint64_t near = Limited(first + kOwnAgainBytes);
    for (uint64_t line = first; line < near; line += kCacheLineBytes) Own(line);
    OwnThrough(position_);
  }
  uint64_t Limited(uint64_t position) const { return position < limit_ ? position : limit_; }
  void Own(uint64_t position) { Atomics::PrefetchForWrite(data_, position & mask_); }

  // Loads the consumer's head and says whether a record that ends at `end` fits now.
  [[gnu::noinline]] bool Refresh(uint64_t end) {
    if (corrupt_) return false;
    // Pairs with the release in SpscConsumer::PublishHead(): it has finished reading below head.
    const uint64_t head = Atomics::LoadAcquire(descriptor_->head);
    if (head < head_ || head > published_ || head % kHeaderBytes != 0) {
      corrupt_ = true;
      limit_ = 0;  // No record ends here, so every claim comes back to this function.
      return false;
    }
    head_ = head;
    limit_ = head + capacity_ - kHeaderBytes;
    // Only a figure: nonsense here costs its writer nothing but the benefit of it.
    const uint64_t released = Atomics::LoadRelaxed(descriptor_->records_released);
    if (released > released_records_ && released <= published_records_) {
      released_records_ = released;
    }
    return end <= limit_;
  }

  // Constant after construction.
  BasicRingDescriptor<Atomics>* descriptor_;
  typename Atomics::Data data_;
  uint64_t capacity_;
  uint64_t mask_;
  uint64_t batch_bytes_;

  // Our own cursors; what of them is in the region is a copy that we never read.
  uint64_t position_ = 0;           // end of what is committed
  uint64_t published_ = 0;          // end of what the consumer can see
  uint64_t looked_ = 0;             // published_ at the last look at want
  uint64_t hinted_ = 0;             // published_ at the last store of tail
  uint64_t records_ = 0;            // records below position_
  uint64_t published_records_ = 0;  // records below published_
  uint64_t hinted_records_ = 0;     // records below hinted_
  uint64_t owned_ = 0;              // end of what OwnThrough() has taken

  // The consumer's head when last loaded, and what it allows: no record may end beyond limit_.
  uint64_t head_ = 0;
  uint64_t released_records_ = 0;  // below head_, as the consumer counts
  uint64_t limit_;
  bool corrupt_ = false;
  bool kept_up_ = false;  // all but the last batch was released when we last looked

  // The open claim: positions of its header and of the one behind it.
  uint64_t claim_record_ = 0;
  uint64_t claim_end_ = 0;
  uint64_t claim_header_ = 0;
  uint64_t withheld_header_ = 0;  // of the record at published_, while position_ is beyond
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_SPSC_PRODUCER_H_
