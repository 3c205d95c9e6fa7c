// The layout of a slot ring in shared memory, which keeps the last `depth` messages and overwrites
// older ones: a descriptor of six cache lines, then depth + 1 slots of equal size. Single producer,
// single consumer; both ends are in keep_last_producer.h and keep_last_consumer.h.
//
// Messages are counted from 0 and never wrap. Message k lies in slot k % (depth + 1): while one is
// being written, or its writer died over it, the last `depth` are still whole. Little-endian,
// 8-byte words.
//
//   Offset  Size  Field               Written by
//        0     8  magic               creator, before anyone else knows the ring; then constant
//        8     8  layout_version      creator
//       16     8  depth               creator: messages kept
//       24     8  max_message_bytes   creator: the longest payload of a slot
//       32    32  (zero)
//       64     8  want                consumer, before it sleeps: wake me when this is there
//       72    56  (zero)
//      128     8  published           producer: messages published, each time
//      136   120  (zero)
//      256     8  released            consumer: messages read and released
//      264     8  lost                consumer, with released and read: messages overwritten unread
//      272     8  read                consumer, with each one that it reads
//      280   104  (zero)
//      384     -  depth + 1 slots, SlotBytes(max_message_bytes) each
//
// A slot:
//
//   Offset  Size  Field               Written by
//        0     8  sequence            producer: 0 fresh,
//                                     2k + 1 message k is being written,
//                                     2k + 2 it is whole
//        8     8  header              producer: length (bits 0 to 31), flags (32 to 38), else zero
//       16     -  payload             producer; then a gap up to the next multiple of 64
//
// The reader copies a slot, then looks whether its sequence is still the same. Header and payload
// are stored with release and loaded with acquire, word by word: who sees a word of message k also
// sees the 2k + 1 that came before it, so no mixture of two messages passes for one.
#ifndef IVMQ_RINGBUF_KEEP_LAST_LAYOUT_H_
#define IVMQ_RINGBUF_KEEP_LAST_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "ringbuf/atomics.h"
#include "ringbuf/ring_layout.h"

namespace ivmq::ringbuf {

inline constexpr uint64_t kKeepLastMagic = 0x5453414C514D5649;  // "IVMQLAST"
inline constexpr uint64_t kKeepLastLayoutVersion = 2;           // 2: read

inline constexpr uint64_t kMaxDepth = 65536;
// As in the largest ring.
inline constexpr uint64_t kMaxSlotMessageBytes = MaxInlineRecord(kMaxCapacity);
inline constexpr uint64_t kSlotHeaderBytes = 16;

// Shared by both ends; only the StdAtomics instance has the layout drawn above.
template <class Atomics>
struct BasicKeepLastDescriptor {
  using Word = typename Atomics::Word;

  alignas(kCacheLineBytes) Word magic;
  Word layout_version;
  Word depth;
  Word max_message_bytes;

  alignas(kCacheLineBytes) Word want;

  alignas(kCacheLineBytes) Word published;

  // Processors fetch lines in pairs: between two that different sides write often lies an idle one.
  struct alignas(kCacheLineBytes) {
  } unused_line;

  alignas(kCacheLineBytes) Word released;
  Word lost;
  Word read;

  struct alignas(kCacheLineBytes) {
  } another_unused_line;
};

using KeepLastDescriptor = BasicKeepLastDescriptor<StdAtomics>;

static_assert(sizeof(KeepLastDescriptor) == 384);
static_assert(alignof(KeepLastDescriptor) == kCacheLineBytes);
static_assert(offsetof(KeepLastDescriptor, magic) == 0);
static_assert(offsetof(KeepLastDescriptor, layout_version) == 8);
static_assert(offsetof(KeepLastDescriptor, depth) == 16);
static_assert(offsetof(KeepLastDescriptor, max_message_bytes) == 24);
static_assert(offsetof(KeepLastDescriptor, want) == 64);
static_assert(offsetof(KeepLastDescriptor, published) == 128);
static_assert(offsetof(KeepLastDescriptor, released) == 256);
static_assert(offsetof(KeepLastDescriptor, lost) == 264);
static_assert(offsetof(KeepLastDescriptor, read) == 272);

// One end's private knowledge of where a slot ring lies. Depth and size come from the control plane
// over a private channel, never from the memory itself, which must stay mapped while it is used.
template <class Atomics>
struct BasicKeepLastView {
  BasicKeepLastDescriptor<Atomics>* descriptor = nullptr;
  typename Atomics::Data slots = nullptr;
  uint64_t depth = 0;
  uint64_t max_message_bytes = 0;
};

using KeepLastView = BasicKeepLastView<StdAtomics>;

// Depth from 1 to kMaxDepth, messages from 1 byte to kMaxSlotMessageBytes, all included.
constexpr bool IsValidKeepLast(uint64_t depth, uint64_t max_message_bytes) {
  return depth >= 1 && depth <= kMaxDepth && max_message_bytes >= 1 &&
         max_message_bytes <= kMaxSlotMessageBytes;
}

constexpr uint64_t SlotBytes(uint64_t max_message_bytes) {
  return AlignUp(kSlotHeaderBytes + max_message_bytes, kCacheLineBytes);
}

// Bytes of memory, descriptor included, that a slot ring takes.
// REQUIRES: IsValidKeepLast(depth, max_message_bytes).
constexpr uint64_t KeepLastBytes(uint64_t depth, uint64_t max_message_bytes) {
  return sizeof(KeepLastDescriptor) + (depth + 1) * SlotBytes(max_message_bytes);
}

// The slot ring at `memory`, which is KeepLastBytes() long and starts on a cache line. Reads and
// writes nothing: ValidateKeepLast() looks at what is there.
inline KeepLastView KeepLastAt(void* memory, uint64_t depth, uint64_t max_message_bytes) {
  return {static_cast<KeepLastDescriptor*>(memory),
          static_cast<std::byte*>(memory) + sizeof(KeepLastDescriptor), depth, max_message_bytes};
}

// Makes an empty slot ring in `memory`, whatever is there: KeepLastBytes() of it, of which the
// payloads are left alone. Aborts unless IsValidKeepLast() and `memory` starts on a cache line.
// Before anyone else knows of it.
inline void InitializeKeepLast(void* memory, uint64_t depth, uint64_t max_message_bytes) {
  if (!IsValidKeepLast(depth, max_message_bytes) ||
      reinterpret_cast<uintptr_t>(memory) % kCacheLineBytes != 0) {
    std::abort();
  }
  const KeepLastView view = KeepLastAt(memory, depth, max_message_bytes);
  const uint64_t slot_bytes = SlotBytes(max_message_bytes);
  for (uint64_t slot = 0; slot <= depth; ++slot) {
    StdAtomics::StoreHeader(view.slots, slot * slot_bytes, 0);
  }
  auto* descriptor = new (memory) KeepLastDescriptor{};
  StdAtomics::StoreRelaxed(descriptor->layout_version, kKeepLastLayoutVersion);
  StdAtomics::StoreRelaxed(descriptor->depth, depth);
  StdAtomics::StoreRelaxed(descriptor->max_message_bytes, max_message_bytes);
  StdAtomics::StoreRelease(descriptor->magic, kKeepLastMagic);  // Pairs with ValidateKeepLast().
}

enum class KeepLastError : uint8_t {
  kNone,
  kMisaligned,  // it does not start on a cache line; `found` is the remainder
  kBadMagic,    // not a slot ring
  kBadVersion,  // one of another layout
  kBadDepth,    // not the depth that was agreed on, or one that may not be
  kBadSize      // the same of max_message_bytes
};

// What ValidateKeepLast() expected and found; both 0 if there is no error.
struct KeepLastCheck {
  KeepLastError error = KeepLastError::kNone;
  uint64_t expected = 0;
  uint64_t found = 0;

  bool ok() const { return error == KeepLastError::kNone; }
};

// Whether the descriptor is that of such a slot ring in the layout of this build. Looks only at the
// constant line, at each word once; the words that move are checked by both ends each time they
// load them. Any thread.
[[nodiscard]] inline KeepLastCheck ValidateKeepLast(const KeepLastView& view) {
  const uintptr_t remainder = reinterpret_cast<uintptr_t>(view.descriptor) % kCacheLineBytes;
  if (remainder != 0) return {KeepLastError::kMisaligned, 0, remainder};
  // Pairs with the release in InitializeKeepLast().
  const uint64_t magic = StdAtomics::LoadAcquire(view.descriptor->magic);
  if (magic != kKeepLastMagic) return {KeepLastError::kBadMagic, kKeepLastMagic, magic};
  const uint64_t version = StdAtomics::LoadRelaxed(view.descriptor->layout_version);
  if (version != kKeepLastLayoutVersion) {
    return {KeepLastError::kBadVersion, kKeepLastLayoutVersion, version};
  }
  const uint64_t depth = StdAtomics::LoadRelaxed(view.descriptor->depth);
  if (depth != view.depth || !IsValidKeepLast(depth, 1)) {
    return {KeepLastError::kBadDepth, view.depth, depth};
  }
  const uint64_t size = StdAtomics::LoadRelaxed(view.descriptor->max_message_bytes);
  if (size != view.max_message_bytes || !IsValidKeepLast(1, size)) {
    return {KeepLastError::kBadSize, view.max_message_bytes, size};
  }
  return {};
}

// What the sequence of a slot says: for the two ends and for readers from outside.
constexpr uint64_t WritingSequence(uint64_t message) { return 2 * message + 1; }
constexpr uint64_t WholeSequence(uint64_t message) { return 2 * message + 2; }

// Counts that no producer reaches; what is beyond is nonsense, and sequences do not wrap.
inline constexpr uint64_t kMaxMessages = uint64_t{1} << 62;

// Of use to nobody else.
namespace internal {

constexpr uint64_t MakeSlotHeader(uint64_t length, uint8_t flags) {
  return (uint64_t{flags} << kFlagsShift) | length;
}

}  // namespace internal
}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_KEEP_LAST_LAYOUT_H_
