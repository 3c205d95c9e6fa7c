#ifndef IVMQ_TRANSPORT_REGION_H_
#define IVMQ_TRANSPORT_REGION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "transport/region_layout.h"
#include "transport/status.h"

// Formatting a region, opening one, and pointers into it that cannot leave it.
// All functions may be called from any thread; FormatRegion by one at a time for a region.

namespace ivmq::transport {

using Uuid = std::array<uint8_t, kUuidBytes>;

struct RegionParameters {
  std::string realm_name;  // 1 to 63 bytes
  Uuid uuid{};
  uint32_t vectors = 0;  // per peer, 1 to 256
  uint64_t generation = 1;
};

// A checked copy of the header; what every offset is computed from.
struct RegionInfo {
  uint64_t region_bytes = 0;
  uint64_t generation = 0;
  Uuid uuid{};
  std::string realm_name;
  uint32_t vectors = 0;
  uint32_t peer_slots = 0;
  uint64_t peer_table_offset = 0;
  uint64_t arena_offset = 0;
  uint64_t arena_bytes = 0;
};

inline constexpr uint32_t kMaxVectors = 256;    // of a peer; beyond, QEMU's doorbells alias
inline constexpr uint32_t kMaxPeerId = 0xffff;  // the doorbell register has 16 bits for it

// How many VMs a region of that size can have connected at once: one for 256 KiB, 64 to 1024.
uint32_t PeerSlotsFor(uint64_t region_bytes);

// Writes header and peer table; the arena is neither read nor written. INVALID_ARGUMENT if the
// size is not a power of two of at least 1 MiB, or a parameter is out of its range.
Status FormatRegion(std::span<std::byte> region, const RegionParameters& parameters);

// Reads each word of the header once and checks it against this mapping. FAILED_PRECONDITION for
// memory that is no region of ours or of another layout version; DATA_LOSS for a header that
// contradicts itself. Every message says what was expected and what was found.
Result<RegionInfo> OpenRegion(std::span<std::byte> region);

// Null if [offset, offset + bytes) is not inside the region or offset is not a multiple of
// `alignment` (a power of two). The memory stays hostile, only the place is checked.
std::byte* CheckedRange(std::span<std::byte> region, uint64_t offset, uint64_t bytes,
                        uint64_t alignment);

// The same for an object of a layout type.
template <class T>
T* CheckedObject(std::span<std::byte> region, uint64_t offset) {
  return reinterpret_cast<T*>(CheckedRange(region, offset, sizeof(T), alignof(T)));
}

RegionHeader* HeaderOf(std::span<std::byte> region);
// Null if slot >= info.peer_slots.
PeerEntry* PeerEntryAt(std::span<std::byte> region, const RegionInfo& info, uint32_t slot);
// The slot whose entry names that peer; none if there is none. Looks at every slot once.
std::optional<uint32_t> FindPeerSlot(std::span<std::byte> region, const RegionInfo& info,
                                     uint32_t peer_id);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_REGION_H_
