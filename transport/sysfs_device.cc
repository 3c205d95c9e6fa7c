#include "transport/sysfs_device.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "transport/region.h"

namespace ivmq::transport {
namespace {

Result<UniqueFd> OpenFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return ErrnoStatus(errno, "cannot open " + path);
  return fd;
}

volatile uint32_t* RegisterAt(const Mapping& page, uint64_t offset) {
  return reinterpret_cast<volatile uint32_t*>(page.bytes().data() + offset);
}

}  // namespace

Result<std::shared_ptr<SysfsDevice>> SysfsDevice::Open(const PciFunction& function) {
  if (Status status = CheckIvshmem(function); !status.ok()) return status;
  Result<UniqueFd> config = OpenFile(function.directory + "/config");
  if (!config.ok()) return config.status();
  if (Status status = EnableMemoryAndBusMaster(config.value().get(), 0); !status.ok()) {
    return status;
  }
  std::shared_ptr<SysfsDevice> device(new SysfsDevice());
  device->bdf_ = function.bdf;
  Result<UniqueFd> registers = OpenFile(function.directory + "/resource0");
  if (!registers.ok()) return registers.status();
  device->registers_fd_ = std::move(registers).value();
  // Not resource2_wc: write-combining does not keep the order of stores that links rest on.
  Result<UniqueFd> region = OpenFile(function.directory + "/resource2");
  if (!region.ok()) return region.status();
  device->region_fd_ = std::move(region).value();

  // The kernel maps the whole page that BAR 0 begins in; BAR 0 has 256 bytes and may begin
  // anywhere in it.
  device->page_offset_ = function.registers.start % kRegisterPageBytes;
  Result<std::shared_ptr<Mapping>> registers_page =
      Mapping::OfDevice(device->registers_fd_.get(), 0, kRegisterPageBytes);
  if (!registers_page.ok()) {
    // Once a driver has claimed the BAR, the kernel lets nobody else map it.
    const std::string holder =
        function.driver.empty() ? "" : "; the driver " + function.driver + " holds the device";
    return Status(registers_page.status().code(), registers_page.status().message() + holder);
  }
  device->registers_ = std::move(registers_page).value();
  Result<std::shared_ptr<Mapping>> mapping =
      Mapping::OfFile(device->region_fd_.get(), 0, function.region.bytes);
  if (!mapping.ok()) return mapping.status();
  device->region_ = std::move(mapping).value();

  const auto position = static_cast<int32_t>(
      *RegisterAt(*device->registers_, device->page_offset_ + kIvPositionRegister));
  if (Status status = CheckIvPosition(function.bdf, position); !status.ok()) return status;
  device->peer_id_ = static_cast<uint32_t>(position);
  return device;
}

std::span<std::byte> SysfsDevice::region() const { return region_->bytes(); }
uint32_t SysfsDevice::peer_id() const { return peer_id_; }
uint32_t SysfsDevice::vector_count() const { return 0; }
int SysfsDevice::vector_fd(uint32_t) const { return -1; }

Result<Doorbell> SysfsDevice::OpenDoorbell(uint32_t peer, uint32_t vector) const {
  if (peer > kMaxPeerId || vector >= kMaxVectors) {
    return Status(Code::kNotFound, "no doorbell to vector " + std::to_string(vector) + " of peer " +
                                       std::to_string(peer));
  }
  return Doorbell::Register(registers_, RegisterAt(*registers_, page_offset_ + kDoorbellRegister),
                            peer, vector);
}

Status SysfsDevice::Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const {
  welcome->region_access = RegionAccess::kSysfs;
  welcome->doorbell_access = DoorbellAccess::kMmap;
  welcome->region_bytes = region_->bytes().size();
  welcome->region_map_offset = 0;
  welcome->doorbell_map_offset = 0;
  welcome->doorbell_page_offset = page_offset_ + kDoorbellRegister;
  welcome->peer_id = peer_id_;
  welcome->vector = vector;
  welcome->has_wake_fd = 0;
  fds->push_back(region_fd_.get());
  fds->push_back(registers_fd_.get());
  return Status();
}

std::string SysfsDevice::description() const { return "pci:" + bdf_; }

}  // namespace ivmq::transport
