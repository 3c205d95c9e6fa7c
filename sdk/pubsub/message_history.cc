#include "sdk/pubsub/message_history.h"

#include <algorithm>

#include "ringbuf/ring_layout.h"

namespace ivmq::internal {
namespace {

// What a record takes of a ring that has not wrapped yet, at most, if it is in the midst of a
// batch.
uint64_t RoomFor(uint64_t bytes) {
  const uint64_t alignment =
      bytes >= ringbuf::kAlignedPayloadBytes ? ringbuf::kCacheLineBytes : ringbuf::kHeaderBytes;
  return ringbuf::AlignUp(bytes, ringbuf::kHeaderBytes) + alignment;
}

// What the gaps behind the first records of batches take besides, at most: the ring publishes by
// itself, and a gap may follow where a batch begins thereafter.
uint64_t RoomForGaps(uint64_t records, uint64_t bytes, uint64_t capacity) {
  const uint64_t gap = ringbuf::PairBytes(capacity) - ringbuf::kHeaderBytes;
  const uint64_t batch_bytes_min = ringbuf::BatchBytes(capacity) - gap;
  return (records / ringbuf::kBatchRecords + bytes / batch_bytes_min) * gap;
}

}  // namespace

void MessageHistory::Push(std::span<const std::byte> record, uint8_t flags) {
  Kept& place = kept_[next_];
  place.record.assign(record.begin(), record.end());
  place.flags = flags;
  next_ = (next_ + 1) % kept_.size();
  size_ = std::min(size_ + 1, kept_.size());
}

void MessageHistory::Replay(uint64_t messages, uint64_t room_bytes,
                            transport::LinkWriter* writer) const {
  const size_t wanted = std::min<uint64_t>(messages, size_);
  uint64_t used = ringbuf::kHeaderBytes;  // always free behind the last one
  size_t fit = 0;
  for (; fit < wanted; ++fit) {
    used += RoomFor(Recent(fit).record.size());
    if (used + RoomForGaps(fit + 1, used, room_bytes) > room_bytes) break;
  }
  for (size_t age = fit; age-- > 0;) {
    const Kept& kept = Recent(age);
    // It fits; nonsense from the other side shows at the next message.
    if (writer->TryWrite(kept.record, kept.flags) != transport::WriteResult::kOk) break;
  }
  writer->Flush();
}

}  // namespace ivmq::internal
