#include "transport/attached_device.h"

#include <bit>
#include <utility>

#include "transport/region.h"

namespace ivmq::transport {
namespace {

constexpr uint64_t kPageBytes = 4096;

Status Wrong(const std::string& field, const std::string& expected, uint64_t found) {
  return Status(Code::kInvalidArgument, "the daemon's welcome is wrong: " + field + " expected " +
                                            expected + ", found " + std::to_string(found));
}

size_t DeviceFds(RegionAccess access) { return access == RegionAccess::kSysfs ? 2 : 1; }

Status CheckWelcome(const AttachMessage& welcome, size_t fd_count) {
  if (welcome.region_access < RegionAccess::kMemfd ||
      welcome.region_access > RegionAccess::kSysfs) {
    return Wrong("region_access", "1 to 3", static_cast<uint64_t>(welcome.region_access));
  }
  const bool host = welcome.region_access == RegionAccess::kMemfd;
  const bool eventfd = welcome.doorbell_access == DoorbellAccess::kEventfd;
  if (welcome.doorbell_access < DoorbellAccess::kEventfd ||
      welcome.doorbell_access > DoorbellAccess::kPwrite || host != eventfd) {
    return Wrong("doorbell_access", host ? "1" : "2 or 3",
                 static_cast<uint64_t>(welcome.doorbell_access));
  }
  if (welcome.region_bytes < kMinRegionBytes || !std::has_single_bit(welcome.region_bytes)) {
    return Wrong("region_bytes", "a power of two from 1 MiB", welcome.region_bytes);
  }
  if (welcome.region_map_offset % kPageBytes != 0) {
    return Wrong("region_map_offset", "a multiple of the page", welcome.region_map_offset);
  }
  if (welcome.doorbell_map_offset % kPageBytes != 0) {
    return Wrong("doorbell_map_offset", "a multiple of the page", welcome.doorbell_map_offset);
  }
  if (welcome.doorbell_page_offset % sizeof(uint32_t) != 0 ||
      welcome.doorbell_page_offset > kPageBytes - sizeof(uint32_t)) {
    return Wrong("doorbell_page_offset", "a 32-bit word of a page", welcome.doorbell_page_offset);
  }
  if (welcome.vectors == 0 || welcome.vectors > kMaxVectors) {
    return Wrong("vectors", "1 to 256", welcome.vectors);
  }
  if (welcome.vector >= welcome.vectors) return Wrong("vector", "below vectors", welcome.vector);
  if (welcome.peer_id > 0xffff || (!host && welcome.peer_id == 0)) {
    return Wrong("peer_id", host ? "0 to 65535" : "1 to 65535", welcome.peer_id);
  }
  const size_t expected = DeviceFds(welcome.region_access) + (welcome.has_wake_fd != 0 ? 1 : 0);
  if (fd_count != expected) return Wrong("fds", std::to_string(expected), fd_count);
  return Status();
}

}  // namespace

Result<std::shared_ptr<AttachedDevice>> AttachedDevice::Open(const AttachMessage& welcome,
                                                             std::vector<UniqueFd> fds) {
  if (Status status = CheckWelcome(welcome, fds.size()); !status.ok()) return status;
  std::shared_ptr<AttachedDevice> device(new AttachedDevice());
  device->welcome_ = welcome;
  if (welcome.has_wake_fd != 0) {
    device->wake_ = std::move(fds.back());
    fds.pop_back();
  }
  // A VFIO device's fd tells no size; the agent that lends it has asked for it.
  const bool is_vfio = welcome.region_access == RegionAccess::kVfio;
  const auto map = is_vfio ? &Mapping::OfDevice : &Mapping::OfFile;
  Result<std::shared_ptr<Mapping>> region =
      map(fds.front().get(), welcome.region_map_offset, welcome.region_bytes);
  if (!region.ok()) return region.status();
  device->region_ = std::move(region).value();
  if (welcome.doorbell_access == DoorbellAccess::kMmap) {
    // Less than a page may be behind it, as far as the file's size goes: BAR 0 has 256 bytes.
    Result<std::shared_ptr<Mapping>> page =
        Mapping::OfDevice(fds.back().get(), welcome.doorbell_map_offset, kPageBytes);
    if (!page.ok()) return page.status();
    device->doorbell_page_ = std::move(page).value();
  } else if (welcome.doorbell_access == DoorbellAccess::kPwrite) {
    device->doorbell_file_ = std::make_shared<const UniqueFd>(std::move(fds.back()));
  }
  return device;
}

std::span<std::byte> AttachedDevice::region() const { return region_->bytes(); }
uint32_t AttachedDevice::peer_id() const { return welcome_.peer_id; }
uint32_t AttachedDevice::vector_count() const { return wake_ ? welcome_.vectors : 0; }

int AttachedDevice::vector_fd(uint32_t vector) const {
  return vector == welcome_.vector ? wake_.get() : -1;
}

Result<Doorbell> AttachedDevice::OpenDoorbell(uint32_t peer, uint32_t vector) const {
  if (peer > 0xffff || vector >= welcome_.vectors) {
    return Status(Code::kNotFound, "no doorbell to vector " + std::to_string(vector) + " of peer " +
                                       std::to_string(peer));
  }
  if (doorbell_page_ != nullptr) {
    auto* reg = reinterpret_cast<volatile uint32_t*>(doorbell_page_->bytes().data() +
                                                     welcome_.doorbell_page_offset);
    return Doorbell::Register(doorbell_page_, reg, peer, vector);
  }
  if (doorbell_file_ != nullptr) {
    return Doorbell::File(doorbell_file_, welcome_.doorbell_file_offset, peer, vector);
  }
  return Status(Code::kNotFound, "on the host the doorbell of a link comes with the link");
}

Status AttachedDevice::Lend(uint32_t, AttachMessage*, std::vector<int>*) const {
  return Status(Code::kFailedPrecondition, "a borrowed device is not lent on; ask the daemon");
}

std::string AttachedDevice::description() const {
  switch (welcome_.region_access) {
    case RegionAccess::kMemfd:
      return "attached:memfd";
    case RegionAccess::kVfio:
      return "attached:vfio";
    case RegionAccess::kSysfs:
      return "attached:pci";
  }
  return "attached";
}

}  // namespace ivmq::transport
