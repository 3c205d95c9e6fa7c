// The layout of one ring in shared memory: a descriptor of eight cache lines, then the data area.
// Single producer, single consumer; both ends are in spsc_producer.h and spsc_consumer.h.
//
// Positions are 64-bit counts of bytes since the ring was made; they only grow. The offset of a
// position is its remainder by the capacity. Little-endian, 8-byte words.
//
//   Offset  Size  Field               Written by
//        0     8  magic               creator, before anyone else knows the ring; then constant
//        8     8  layout_version      creator
//       16     8  capacity            creator: bytes of the data area, a power of two
//       24    40  (zero)
//       64     8  space_want          producer, when it waits for room: the head that would do
//       72    56  (zero)
//      128     8  tail                producer, lazily: all below is published (a hint)
//      136     8  records_published   producer, together with tail: records below it
//      144     8  records_dropped     producer's side: messages for which there was no room
//      152   104  (zero)
//      256     8  head                consumer, lazily: all below may be overwritten
//      264     8  records_released    consumer, together with head: records below it
//      272    48  (zero)
//      320     8  want                consumer, before it sleeps: wake me when this is published
//      328    56  (zero)
//      384     8  records_read        consumer, with each one that it reads; nobody waits for it
//      392   120  (zero)
//      512     -  data, `capacity` bytes
//
// A record in the data area, at a position that is a multiple of 8:
//
//   63     41 40  39    32 31             0
//   +--------+---+--------+----------------+
//   | zero   | a | flags  | length + 1     |   header; 0: nothing has been published here yet
//   +--------+---+--------+----------------+
//   | (gap up to the next multiple of 64, if length >= 4096)                  |
//   | payload, `length` bytes                                                 |
//   | (gap up to the next multiple of 8, or of 128 if `a` is set)             |
//   +-------------------------------------------------------------------------+
//
// The header is itself the publication. Whoever publishes a record has cleared the header behind it
// first, so a reader always stops at a zero; 8 bytes therefore stay free beyond every record. A
// record never wraps: what would not fit before the end is put at offset 0, and a padding header
// (kPaddingHeader) says so. The producer sets `a` while its consumer keeps up with it, so that the
// next record starts on a line: a message of up to 56 bytes then travels in one. It does not where
// header and payload fill two lines wherever they lie (65 to 128 bytes).
#ifndef IVMQ_RINGBUF_RING_LAYOUT_H_
#define IVMQ_RINGBUF_RING_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "ringbuf/atomics.h"

namespace ivmq::ringbuf {

inline constexpr uint64_t kRingMagic = 0x474E4952514D5649;  // "IVMQRING"
inline constexpr uint64_t kRingLayoutVersion = 5;           // 5: records_read

inline constexpr size_t kCacheLineBytes = 64;
inline constexpr uint64_t kMinCapacity = 4096;
inline constexpr uint64_t kMaxCapacity = uint64_t{16} << 20;
inline constexpr uint64_t kDefaultCapacity = 64 << 10;  // of a link where neither side has a wish

// Payloads of at least this many bytes start on a cache line.
inline constexpr uint64_t kAlignedPayloadBytes = 4096;

inline constexpr uint64_t kHeaderBytes = 8;

// Record flags. Bits 1 to 6 belong to whoever uses the ring and are handed through unchanged.
inline constexpr uint8_t kFlagExtension = 0x01;  // the payload starts with an extension block
inline constexpr uint8_t kFlagPadding = 0x80;    // of the ring itself; never seen by its users

// Shared by both ends; only the StdAtomics instance has the layout drawn above.
template <class Atomics>
struct BasicRingDescriptor {
  using Word = typename Atomics::Word;

  alignas(kCacheLineBytes) Word magic;
  Word layout_version;
  Word capacity;

  alignas(kCacheLineBytes) Word space_want;

  alignas(kCacheLineBytes) Word tail;
  Word records_published;
  Word records_dropped;

  // A line between the two: processors fetch lines in pairs, and the consumer's must not come
  // along. Not by a stricter alignment, which rings on any cache line would break.
  struct alignas(kCacheLineBytes) {
  } unused_line;

  alignas(kCacheLineBytes) Word head;
  Word records_released;

  alignas(kCacheLineBytes) Word want;

  // Not beside `head` or `want`, which the producer looks at: the consumer stores here all the
  // time.
  alignas(kCacheLineBytes) Word records_read;

  struct alignas(kCacheLineBytes) {
  } another_unused_line;
};

using RingDescriptor = BasicRingDescriptor<StdAtomics>;

static_assert(sizeof(RingDescriptor) == 512);
static_assert(alignof(RingDescriptor) == kCacheLineBytes);
static_assert(offsetof(RingDescriptor, magic) == 0);
static_assert(offsetof(RingDescriptor, layout_version) == 8);
static_assert(offsetof(RingDescriptor, capacity) == 16);
static_assert(offsetof(RingDescriptor, space_want) == 64);
static_assert(offsetof(RingDescriptor, tail) == 128);
static_assert(offsetof(RingDescriptor, records_published) == 136);
static_assert(offsetof(RingDescriptor, records_dropped) == 144);
static_assert(offsetof(RingDescriptor, head) == 256);
static_assert(offsetof(RingDescriptor, records_released) == 264);
static_assert(offsetof(RingDescriptor, want) == 320);
static_assert(offsetof(RingDescriptor, records_read) == 384);

// One end's private knowledge of where a ring lies. `capacity` comes from the control plane over a
// private channel, never from the ring itself. The memory must stay mapped as long as it is used.
template <class Atomics>
struct BasicRingView {
  BasicRingDescriptor<Atomics>* descriptor = nullptr;
  typename Atomics::Data data = nullptr;
  uint64_t capacity = 0;
};

using RingView = BasicRingView<StdAtomics>;

// A power of two from kMinCapacity to kMaxCapacity, both included.
constexpr bool IsValidCapacity(uint64_t capacity) {
  return capacity >= kMinCapacity && capacity <= kMaxCapacity && (capacity & (capacity - 1)) == 0;
}

// Bytes of memory, descriptor included, that a ring of this capacity takes.
constexpr uint64_t RingBytes(uint64_t capacity) { return sizeof(RingDescriptor) + capacity; }

// The largest message of a ring, in bytes.
constexpr uint64_t MaxMessage(uint64_t capacity) { return capacity / 8; }

// What a record may carry beyond the largest message: the least that has to be said about one.
inline constexpr uint64_t kMaxInlineExtraBytes = 32;

// The longest payload in bytes that fits into one record: the largest message, and what is said
// about it.
constexpr uint64_t MaxInlineRecord(uint64_t capacity) {
  return MaxMessage(capacity) + kMaxInlineExtraBytes;
}

// The ring at `memory`, which is RingBytes(capacity) long and starts on a cache line. Reads and
// writes nothing: ValidateRing() looks at what is there.
inline RingView RingAt(void* memory, uint64_t capacity) {
  return RingView{static_cast<RingDescriptor*>(memory),
                  static_cast<std::byte*>(memory) + sizeof(RingDescriptor), capacity};
}

// Makes an empty ring in `memory`, whatever was there before. Its want is position 0, which means
// that the consumer is taken to be asleep: the first publication wakes it. A producer may start
// before the consumer has attached.
// REQUIRES: IsValidCapacity(capacity), `memory` starts on a cache line and is RingBytes(capacity)
// long, and nobody uses it as yet. Aborts if the first two do not hold.
inline void InitializeRing(void* memory, uint64_t capacity) {
  if (!IsValidCapacity(capacity) || reinterpret_cast<uintptr_t>(memory) % kCacheLineBytes != 0) {
    std::abort();
  }
  const RingView ring = RingAt(memory, capacity);
  StdAtomics::StoreHeader(ring.data, 0, 0);
  auto* descriptor = new (memory) RingDescriptor{};
  StdAtomics::StoreRelaxed(descriptor->layout_version, kRingLayoutVersion);
  StdAtomics::StoreRelaxed(descriptor->capacity, capacity);
  StdAtomics::StoreRelease(descriptor->magic, kRingMagic);  // Pairs with ValidateRing().
}

enum class RingError : uint8_t {
  kNone,
  kMisaligned,  // the ring does not start on a cache line; `found` is the remainder
  kBadMagic,    // not a ring
  kBadVersion,  // a ring of another layout
  kBadCapacity  // not the capacity that was agreed on, or one that no ring may have
};

// What ValidateRing() expected and found; both 0 if there is no error.
struct RingCheck {
  RingError error = RingError::kNone;
  uint64_t expected = 0;
  uint64_t found = 0;

  bool ok() const { return error == RingError::kNone; }
};

// Whether the descriptor is that of a ring of `ring.capacity` bytes in the layout of this build.
// Looks only at the constant line, at each word once; the words that move are checked by both ends
// each time they load them. Any thread.
[[nodiscard]] inline RingCheck ValidateRing(const RingView& ring) {
  const uintptr_t remainder = reinterpret_cast<uintptr_t>(ring.descriptor) % kCacheLineBytes;
  if (remainder != 0) return {RingError::kMisaligned, 0, remainder};
  // Pairs with the release in InitializeRing().
  const uint64_t magic = StdAtomics::LoadAcquire(ring.descriptor->magic);
  if (magic != kRingMagic) return {RingError::kBadMagic, kRingMagic, magic};
  const uint64_t version = StdAtomics::LoadRelaxed(ring.descriptor->layout_version);
  if (version != kRingLayoutVersion) return {RingError::kBadVersion, kRingLayoutVersion, version};
  const uint64_t capacity = StdAtomics::LoadRelaxed(ring.descriptor->capacity);
  if (capacity != ring.capacity || !IsValidCapacity(capacity)) {
    return {RingError::kBadCapacity, ring.capacity, capacity};
  }
  return {};
}

// The rest says how records lie in the data area: for the two ends, for whoever foresees what room
// they take, and for readers from outside.

constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// Processors fetch lines in pairs. (Less only in rings that are too small to be valid, as a model
// checker likes them.)
inline constexpr uint64_t kLinePairBytes = 2 * kCacheLineBytes;
constexpr uint64_t PairBytes(uint64_t capacity) {
  return capacity / 2 < kLinePairBytes ? capacity / 2 : kLinePairBytes;
}

// The staleness of the tail hint, and the size of a batch, whichever comes first. The bytes are
// less in small rings, where a batch must not take more than an eighth of the room.
inline constexpr uint64_t kBatchRecords = 32;
inline constexpr uint64_t kBatchBytes = 8192;

constexpr uint64_t BatchBytes(uint64_t capacity) {
  return capacity / 8 < kBatchBytes ? capacity / 8 : kBatchBytes;
}

// Of use to nobody else.
namespace internal {

inline constexpr uint64_t kFlagsShift = 32;
inline constexpr uint64_t kEndsOnPair = uint64_t{1} << 40;

constexpr uint64_t MakeHeader(uint64_t length, uint8_t flags) {
  return (uint64_t{flags} << kFlagsShift) | (length + 1);
}

// Where the payload of a record lies whose header is at `offset`.
constexpr uint64_t PayloadOffset(uint64_t offset, uint64_t length) {
  const uint64_t behind_header = offset + kHeaderBytes;
  return length >= kAlignedPayloadBytes ? AlignUp(behind_header, kCacheLineBytes) : behind_header;
}

// Where the record behind that one starts; may be the capacity, which is offset 0 again.
constexpr uint64_t EndOffset(uint64_t payload_offset, uint64_t length) {
  return AlignUp(payload_offset + length, kHeaderBytes);
}

}  // namespace internal

// "The next header is at offset 0."
inline constexpr uint64_t kPaddingHeader = internal::MakeHeader(0, kFlagPadding);

// A header as a reader takes it apart, believing nothing.
struct ParsedHeader {
  uint64_t length = 0;          // of the payload
  uint64_t payload_offset = 0;  // from where the data area starts
  uint64_t end_offset = 0;      // where the next header is
  uint8_t flags = 0;            // without those of the ring itself
};

// Takes apart a header that is neither 0 nor padding. False if no record of such a ring could have
// it at this offset.
constexpr bool ParseHeader(uint64_t header, uint64_t offset, uint64_t capacity, ParsedHeader* out) {
  // Also catches a length + 1 of 0, which wraps around.
  out->length = static_cast<uint32_t>(header) - uint64_t{1};
  const uint64_t flags = (header & ~internal::kEndsOnPair) >> internal::kFlagsShift;
  if (out->length > MaxInlineRecord(capacity) || flags >= kFlagPadding) return false;
  out->flags = static_cast<uint8_t>(flags);
  out->payload_offset = internal::PayloadOffset(offset, out->length);
  out->end_offset = internal::EndOffset(out->payload_offset, out->length);
  if ((header & internal::kEndsOnPair) != 0) {
    out->end_offset = AlignUp(out->end_offset, PairBytes(capacity));
  }
  return out->end_offset <= capacity;
}
}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_RING_LAYOUT_H_
