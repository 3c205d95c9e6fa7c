#include "transport/link_check.h"

#include <string>

#include "transport/region.h"

namespace ivmq::transport {
namespace {

Result<std::byte*> PlaceAt(std::span<std::byte> region, uint64_t offset, uint64_t bytes,
                           uint64_t alignment, std::string_view what) {
  if (offset % alignment != 0) {
    return Status(Code::kInvalidArgument, std::string(what) + " at offset " +
                                              std::to_string(offset) + " is not a multiple of " +
                                              std::to_string(alignment));
  }
  std::byte* const place = CheckedRange(region, offset, bytes, alignment);
  if (place == nullptr || offset < sizeof(RegionHeader)) {
    return Status(Code::kOutOfRange,
                  std::string(what) + " of " + std::to_string(bytes) + " bytes at offset " +
                      std::to_string(offset) + " does not lie between the header's end at " +
                      std::to_string(sizeof(RegionHeader)) + " and the region's end at " +
                      std::to_string(region.size()));
  }
  return place;
}

std::string_view Describe(ringbuf::RingError error) {
  switch (error) {
    case ringbuf::RingError::kNone:
      return "is fine";
    case ringbuf::RingError::kMisaligned:
      return "does not start on a cache line";
    case ringbuf::RingError::kBadMagic:
      return "has not the magic number of a ring";
    case ringbuf::RingError::kBadVersion:
      return "has another layout version";
    case ringbuf::RingError::kBadCapacity:
      return "has another capacity";
  }
  return "is broken";
}

std::string_view Describe(ringbuf::KeepLastError error) {
  switch (error) {
    case ringbuf::KeepLastError::kNone:
      return "is fine";
    case ringbuf::KeepLastError::kMisaligned:
      return "does not start on a cache line";
    case ringbuf::KeepLastError::kBadMagic:
      return "has not the magic number of a slot ring";
    case ringbuf::KeepLastError::kBadVersion:
      return "has another layout version";
    case ringbuf::KeepLastError::kBadDepth:
      return "has another depth";
    case ringbuf::KeepLastError::kBadSize:
      return "has another message size";
  }
  return "is broken";
}

// DATA_LOSS from what ValidateRing() or ValidateKeepLast() found.
template <class Check>
Status WrongStructure(std::string_view what, uint64_t offset, const Check& check) {
  return Status(Code::kDataLoss, std::string(what) + " at offset " + std::to_string(offset) + " " +
                                     std::string(Describe(check.error)) + ": expected " +
                                     std::to_string(check.expected) + ", found " +
                                     std::to_string(check.found));
}

}  // namespace

Result<WakeBlock*> WakeBlockAt(std::span<std::byte> region, uint64_t offset,
                               std::string_view what) {
  const auto place = PlaceAt(region, offset, sizeof(WakeBlock), kCacheLineBytes, what);
  if (!place.ok()) return place.status();
  return reinterpret_cast<WakeBlock*>(place.value());
}

Result<ReadyByte*> ReadyByteAt(std::span<std::byte> region, uint64_t offset,
                               std::string_view what) {
  const auto place = PlaceAt(region, offset, sizeof(ReadyByte), 1, what);
  if (!place.ok()) return place.status();
  return reinterpret_cast<ReadyByte*>(place.value());
}

Result<ringbuf::RingView> RingInRegion(std::span<std::byte> region, uint64_t offset,
                                       uint64_t capacity) {
  if (!ringbuf::IsValidCapacity(capacity)) {
    return Status(Code::kInvalidArgument, "a ring's capacity of " + std::to_string(capacity) +
                                              " bytes is not a power of two from " +
                                              std::to_string(ringbuf::kMinCapacity) + " to " +
                                              std::to_string(ringbuf::kMaxCapacity));
  }
  const auto place =
      PlaceAt(region, offset, ringbuf::RingBytes(capacity), ringbuf::kCacheLineBytes, "ring");
  if (!place.ok()) return place.status();
  const ringbuf::RingView view = ringbuf::RingAt(place.value(), capacity);
  const ringbuf::RingCheck check = ringbuf::ValidateRing(view);
  if (!check.ok()) return WrongStructure("the ring", offset, check);
  return view;
}

Result<ringbuf::KeepLastView> KeepLastInRegion(std::span<std::byte> region, uint64_t offset,
                                               uint64_t depth, uint64_t max_message_bytes) {
  if (!ringbuf::IsValidKeepLast(depth, max_message_bytes)) {
    return Status(Code::kInvalidArgument,
                  "a slot ring that keeps " + std::to_string(depth) + " messages of " +
                      std::to_string(max_message_bytes) + " bytes: allowed are 1 to " +
                      std::to_string(ringbuf::kMaxDepth) + " messages of 1 to " +
                      std::to_string(ringbuf::kMaxSlotMessageBytes) + " bytes");
  }
  const auto place = PlaceAt(region, offset, ringbuf::KeepLastBytes(depth, max_message_bytes),
                             ringbuf::kCacheLineBytes, "slot ring");
  if (!place.ok()) return place.status();
  const ringbuf::KeepLastView view = ringbuf::KeepLastAt(place.value(), depth, max_message_bytes);
  const ringbuf::KeepLastCheck check = ringbuf::ValidateKeepLast(view);
  if (!check.ok()) return WrongStructure("the slot ring", offset, check);
  return view;
}

Result<LinkMemory> LinkMemoryAt(std::span<std::byte> region, const LinkAddress& address) {
  LinkMemory memory;
  if (address.depth == 0) {
    const auto ring = RingInRegion(region, address.ring_offset, address.ring_capacity);
    if (!ring.ok()) return ring.status();
    memory.ring = ring.value();
  } else {
    const auto slots =
        KeepLastInRegion(region, address.ring_offset, address.depth, address.max_message_bytes);
    if (!slots.ok()) return slots.status();
    memory.slots = slots.value();
  }
  return memory;
}

}  // namespace ivmq::transport
