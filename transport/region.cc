#include "transport/region.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

namespace ivmq::transport {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kBytesPerPeerSlot = 256 << 10;
constexpr uint32_t kMinPeerSlots = 64;
constexpr uint32_t kMaxPeerSlots = 1024;
static_assert(sizeof(RegionHeader) + kMinPeerSlots * sizeof(PeerEntry) < kMinRegionBytes / 2);

// Nobody but control stores to the header, yet any member can: the copy is what counts.
template <class T>
T LoadOnce(T& word) {
  return std::atomic_ref<T>(word).load(std::memory_order_relaxed);
}

std::string Hex(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[value >> shift & 15];
  return text;
}

std::string Contradiction(const std::string& what, uint64_t expected, uint64_t found) {
  return "the region's header is damaged: " + what + " expected " + std::to_string(expected) +
         ", found " + std::to_string(found);
}

Status CheckSize(std::span<std::byte> region) {
  if (region.size() < kMinRegionBytes || !std::has_single_bit(region.size())) {
    return Status(Code::kInvalidArgument, "a region has a power of two of at least " +
                                              std::to_string(kMinRegionBytes) + " bytes, not " +
                                              std::to_string(region.size()));
  }
  if (reinterpret_cast<uintptr_t>(region.data()) % kPageBytes != 0) {
    return Status(Code::kInvalidArgument, "a region must be mapped at a page boundary");
  }
  return Status();
}

// REQUIRES: info.region_bytes is the mapping's size.
Status CheckPlaces(const RegionInfo& info) {
  if (info.vectors == 0 || info.vectors > kMaxVectors) {
    return Status(Code::kDataLoss, "the region's header is damaged: vectors expected 1 to " +
                                       std::to_string(kMaxVectors) + ", found " +
                                       std::to_string(info.vectors));
  }
  if (info.peer_slots == 0 || info.peer_slots > kMaxPeerSlots) {
    return Status(Code::kDataLoss, "the region's header is damaged: peer slots expected 1 to " +
                                       std::to_string(kMaxPeerSlots) + ", found " +
                                       std::to_string(info.peer_slots));
  }
  const uint64_t table_bytes = info.peer_slots * sizeof(PeerEntry);
  if (info.peer_table_offset < sizeof(RegionHeader) ||
      info.peer_table_offset % alignof(PeerEntry) != 0 ||
      info.peer_table_offset > info.region_bytes - table_bytes) {
    return Status(Code::kDataLoss,
                  Contradiction("peer table offset", sizeof(RegionHeader), info.peer_table_offset));
  }
  const uint64_t table_end = info.peer_table_offset + table_bytes;
  if (info.arena_offset < table_end || info.arena_offset >= info.region_bytes ||
      info.arena_offset % kPageBytes != 0) {
    return Status(Code::kDataLoss,
                  "the region's header is damaged: arena offset expected a page "
                  "between " +
                      std::to_string(table_end) + " and " + std::to_string(info.region_bytes) +
                      ", found " + std::to_string(info.arena_offset));
  }
  if (info.arena_bytes == 0 || info.arena_bytes > info.region_bytes - info.arena_offset) {
    return Status(
        Code::kDataLoss,
        Contradiction("arena bytes", info.region_bytes - info.arena_offset, info.arena_bytes));
  }
  return Status();
}

}  // namespace

uint32_t PeerSlotsFor(uint64_t region_bytes) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(region_bytes / kBytesPerPeerSlot, kMinPeerSlots, kMaxPeerSlots));
}

Status FormatRegion(std::span<std::byte> region, const RegionParameters& parameters) {
  if (Status status = CheckSize(region); !status.ok()) return status;
  const std::string& name = parameters.realm_name;
  if (name.empty() || name.size() >= kRealmNameBytes || name.find('\0') != std::string::npos) {
    return Status(Code::kInvalidArgument, "realm name '" + name + "' has " +
                                              std::to_string(name.size()) +
                                              " bytes; it takes 1 to " +
                                              std::to_string(kRealmNameBytes - 1) + " and no NUL");
  }
  if (parameters.vectors == 0 || parameters.vectors > kMaxVectors) {
    return Status(Code::kInvalidArgument, "vectors is " + std::to_string(parameters.vectors) +
                                              "; a peer has 1 to " + std::to_string(kMaxVectors));
  }
  const uint32_t slots = PeerSlotsFor(region.size());
  const uint64_t table_end = sizeof(RegionHeader) + slots * sizeof(PeerEntry);
  const uint64_t arena_offset = (table_end + kPageBytes - 1) / kPageBytes * kPageBytes;

  std::memset(region.data(), 0, arena_offset);
  auto* header = std::construct_at(reinterpret_cast<RegionHeader*>(region.data()));
  header->layout_version = kLayoutVersion;
  header->header_bytes = sizeof(RegionHeader);
  header->region_bytes = region.size();
  header->generation = parameters.generation;
  std::copy(parameters.uuid.begin(), parameters.uuid.end(), header->realm_uuid);
  std::memset(header->realm_name, 0, kRealmNameBytes);
  std::copy(name.begin(), name.end(), header->realm_name);
  header->vectors = parameters.vectors;
  header->peer_slots = slots;
  header->peer_table_offset = sizeof(RegionHeader);
  header->arena_offset = arena_offset;
  header->arena_bytes = region.size() - arena_offset;
  header->heartbeat.store(0, std::memory_order_relaxed);
  // Pairs with the acquire in OpenRegion().
  header->magic.store(kRegionMagic, std::memory_order_release);
  return Status();
}

Result<RegionInfo> OpenRegion(std::span<std::byte> region) {
  if (Status status = CheckSize(region); !status.ok()) return status;
  RegionHeader* header = HeaderOf(region);
  // Pairs with the release in FormatRegion().
  const uint64_t magic = header->magic.load(std::memory_order_acquire);
  if (magic != kRegionMagic) {
    return Status(Code::kFailedPrecondition,
                  "not an ivmq region: expected magic " + Hex(kRegionMagic) + ", found " +
                      Hex(magic) + (magic == 0 ? " (not formatted by a broker yet?)" : ""));
  }
  const uint32_t version = LoadOnce(header->layout_version);
  if (version != kLayoutVersion) {
    return Status(Code::kFailedPrecondition,
                  "region layout version: expected " + std::to_string(kLayoutVersion) + ", found " +
                      std::to_string(version) +
                      "; broker and guests need the same version of ivmq");
  }
  const uint32_t header_bytes = LoadOnce(header->header_bytes);
  if (header_bytes != sizeof(RegionHeader)) {
    return Status(Code::kDataLoss,
                  Contradiction("header bytes", sizeof(RegionHeader), header_bytes));
  }
  RegionInfo info;
  info.region_bytes = LoadOnce(header->region_bytes);
  if (info.region_bytes != region.size()) {
    return Status(Code::kDataLoss, Contradiction("region bytes (what is mapped here)",
                                                 region.size(), info.region_bytes));
  }
  info.generation = LoadOnce(header->generation);
  for (size_t i = 0; i < kUuidBytes; ++i) info.uuid[i] = LoadOnce(header->realm_uuid[i]);
  std::array<char, kRealmNameBytes> name{};
  for (size_t i = 0; i < kRealmNameBytes; ++i) name[i] = LoadOnce(header->realm_name[i]);
  const auto name_end = std::find(name.begin(), name.end(), '\0');
  if (name_end == name.end() || name_end == name.begin()) {
    return Status(Code::kDataLoss, "the region's header is damaged: no NUL-padded realm name");
  }
  info.realm_name.assign(name.begin(), name_end);
  info.vectors = LoadOnce(header->vectors);
  info.peer_slots = LoadOnce(header->peer_slots);
  info.peer_table_offset = LoadOnce(header->peer_table_offset);
  info.arena_offset = LoadOnce(header->arena_offset);
  info.arena_bytes = LoadOnce(header->arena_bytes);
  if (Status status = CheckPlaces(info); !status.ok()) return status;
  return info;
}

std::byte* CheckedRange(std::span<std::byte> region, uint64_t offset, uint64_t bytes,
                        uint64_t alignment) {
  if (bytes > region.size() || offset > region.size() - bytes || offset % alignment != 0) {
    return nullptr;
  }
  return region.data() + offset;
}

RegionHeader* HeaderOf(std::span<std::byte> region) {
  return reinterpret_cast<RegionHeader*>(region.data());
}

PeerEntry* PeerEntryAt(std::span<std::byte> region, const RegionInfo& info, uint32_t slot) {
  if (slot >= info.peer_slots) return nullptr;
  return CheckedObject<PeerEntry>(region, info.peer_table_offset + slot * sizeof(PeerEntry));
}

std::optional<uint32_t> FindPeerSlot(std::span<std::byte> region, const RegionInfo& info,
                                     uint32_t peer_id) {
  for (uint32_t slot = 0; slot < info.peer_slots; ++slot) {
    PeerEntry* entry = PeerEntryAt(region, info, slot);
    // Pairs with control's release of state, which it stores after the ID.
    const uint32_t state = entry->state.load(std::memory_order_acquire);
    if (state == static_cast<uint32_t>(PeerState::kFree)) continue;
    if (entry->peer_id.load(std::memory_order_relaxed) == peer_id) return slot;
  }
  return std::nullopt;
}

}  // namespace ivmq::transport
