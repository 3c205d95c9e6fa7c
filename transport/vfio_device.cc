#include "transport/vfio_device.h"

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::transport {
namespace {

Result<vfio_region_info> RegionOf(int device, uint32_t index, const std::string& what) {
  vfio_region_info info{};
  info.argsz = sizeof(info);
  info.index = index;
  if (::ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) != 0) {
    return ErrnoStatus(errno, "VFIO does not describe " + what);
  }
  return info;
}

// The newest kind of IOMMU that this kernel has for the group.
Status SetIommu(int container) {
  int error = 0;
  for (const unsigned long type : {VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU}) {
    if (::ioctl(container, VFIO_CHECK_EXTENSION, type) <= 0) continue;
    if (::ioctl(container, VFIO_SET_IOMMU, type) == 0) return Status();
    error = errno;
  }
  if (error == EPERM) {
    return ErrnoStatus(error,
                       "VFIO refuses a group without interrupt remapping: give the VM "
                       "-device intel-iommu,intremap=on, or load vfio_iommu_type1 with "
                       "allow_unsafe_interrupts=1");
  }
  return ErrnoStatus(error == 0 ? ENODEV : error,
                     "VFIO has no IOMMU for the device; is vfio_iommu_type1 loaded?");
}

}  // namespace

Result<std::shared_ptr<VfioDevice>> VfioDevice::Open(const PciPaths& paths,
                                                     const PciFunction& function) {
  if (Status status = CheckIvshmem(function); !status.ok()) return status;
  std::shared_ptr<VfioDevice> device(new VfioDevice());
  device->bdf_ = function.bdf;
  if (Status status = device->OpenGroup(paths, function); !status.ok()) return status;
  const int fd = device->device_->get();
  const Result<vfio_region_info> config =
      RegionOf(fd, VFIO_PCI_CONFIG_REGION_INDEX, "the configuration space");
  if (!config.ok()) return config.status();
  if (Status status = EnableMemoryAndBusMaster(fd, config.value().offset); !status.ok()) {
    return status;
  }
  if (Status status = device->MapBars(); !status.ok()) return status;
  if (Status status = device->EnableInterrupts(); !status.ok()) return status;

  int32_t position = 0;
  if (::pread(fd, &position, sizeof(position),
              static_cast<off_t>(device->registers_offset_ + kIvPositionRegister)) !=
      sizeof(position)) {
    return ErrnoStatus(errno, "cannot read IVPosition of " + function.bdf);
  }
  if (Status status = CheckIvPosition(function.bdf, position); !status.ok()) return status;
  device->peer_id_ = static_cast<uint32_t>(position);
  return device;
}

Status VfioDevice::OpenGroup(const PciPaths& paths, const PciFunction& function) {
  if (!function.iommu_group.has_value()) {
    return Status(Code::kFailedPrecondition, function.bdf + " has no IOMMU group");
  }
  const std::string container_path = paths.dev + "/vfio/vfio";
  container_ = UniqueFd(::open(container_path.c_str(), O_RDWR | O_CLOEXEC));
  if (!container_) return ErrnoStatus(errno, "cannot open " + container_path);
  const int version = ::ioctl(container_.get(), VFIO_GET_API_VERSION);
  if (version != VFIO_API_VERSION) {
    return Status(Code::kFailedPrecondition, "VFIO API version: expected " +
                                                 std::to_string(VFIO_API_VERSION) + ", found " +
                                                 std::to_string(version));
  }
  const std::string group_path = paths.dev + "/vfio/" + std::to_string(*function.iommu_group);
  group_ = UniqueFd(::open(group_path.c_str(), O_RDWR | O_CLOEXEC));
  if (!group_) {
    if (errno == EBUSY) {
      return Status(Code::kAlreadyExists, "another process has " + group_path +
                                              " open, and it takes only one; is an ivmq-agent "
                                              "running already?");
    }
    return ErrnoStatus(
        errno, "cannot open " + group_path + " (is " + function.bdf + " bound to vfio-pci?)");
  }
  vfio_group_status status{};
  status.argsz = sizeof(status);
  if (::ioctl(group_.get(), VFIO_GROUP_GET_STATUS, &status) != 0) {
    return ErrnoStatus(errno, "cannot ask for the state of " + group_path);
  }
  if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
    return Status(Code::kFailedPrecondition,
                  group_path +
                      " is not viable: other devices of its IOMMU group have drivers "
                      "that are not vfio-pci");
  }
  const int container = container_.get();
  if (::ioctl(group_.get(), VFIO_GROUP_SET_CONTAINER, &container) != 0) {
    return ErrnoStatus(errno, "cannot put " + group_path + " into a VFIO container");
  }
  if (Status set = SetIommu(container); !set.ok()) return set;
  UniqueFd device(::ioctl(group_.get(), VFIO_GROUP_GET_DEVICE_FD, function.bdf.c_str()));
  if (!device) return ErrnoStatus(errno, "VFIO does not open " + function.bdf);
  ::fcntl(device.get(), F_SETFD, FD_CLOEXEC);
  device_ = std::make_shared<const UniqueFd>(std::move(device));
  return Status();
}

Status VfioDevice::MapBars() {
  const Result<vfio_region_info> registers =
      RegionOf(device_->get(), VFIO_PCI_BAR0_REGION_INDEX, "BAR 0");
  if (!registers.ok()) return registers.status();
  registers_offset_ = registers.value().offset;
  if ((registers.value().flags & VFIO_REGION_INFO_FLAG_MMAP) != 0) {
    // VFIO allows it only where BAR 0 has its page to itself. Failing that, Ring() writes.
    Result<std::shared_ptr<Mapping>> page =
        Mapping::OfDevice(device_->get(), registers_offset_, kRegisterPageBytes);
    if (page.ok()) registers_ = std::move(page).value();
  }
  const Result<vfio_region_info> region =
      RegionOf(device_->get(), VFIO_PCI_BAR2_REGION_INDEX, "BAR 2");
  if (!region.ok()) return region.status();
  if ((region.value().flags & VFIO_REGION_INFO_FLAG_MMAP) == 0) {
    return Status(Code::kFailedPrecondition, "VFIO does not let BAR 2 of " + bdf_ + " be mapped");
  }
  region_offset_ = region.value().offset;
  Result<std::shared_ptr<Mapping>> mapping =
      Mapping::OfDevice(device_->get(), region_offset_, region.value().size);
  if (!mapping.ok()) return mapping.status();
  region_ = std::move(mapping).value();
  return Status();
}

Status VfioDevice::EnableInterrupts() {
  vfio_irq_info info{};
  info.argsz = sizeof(info);
  info.index = VFIO_PCI_MSIX_IRQ_INDEX;
  if (::ioctl(device_->get(), VFIO_DEVICE_GET_IRQ_INFO, &info) != 0) {
    return ErrnoStatus(errno, "VFIO does not describe MSI-X of " + bdf_);
  }
  if (info.count == 0 || (info.flags & VFIO_IRQ_INFO_EVENTFD) == 0) {
    return Status(Code::kFailedPrecondition, bdf_ +
                                                 " has no MSI-X vectors: it must be an "
                                                 "ivshmem-doorbell, not an ivshmem-plain");
  }
  const uint32_t count = std::min(info.count, kMaxVectors);
  Result<std::vector<UniqueFd>> eventfds = CreateEventfds(count);
  if (!eventfds.ok()) return eventfds.status();
  vectors_ = std::move(eventfds).value();

  std::vector<std::byte> request(sizeof(vfio_irq_set) + count * sizeof(int32_t));
  auto* set = reinterpret_cast<vfio_irq_set*>(request.data());
  set->argsz = static_cast<uint32_t>(request.size());
  set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  set->index = VFIO_PCI_MSIX_IRQ_INDEX;
  set->start = 0;
  set->count = count;
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t fd = vectors_[i].get();
    std::memcpy(set->data + i * sizeof(fd), &fd, sizeof(fd));
  }
  if (::ioctl(device_->get(), VFIO_DEVICE_SET_IRQS, set) != 0) {
    return ErrnoStatus(errno,
                       "cannot turn on " + std::to_string(count) + " MSI-X vectors of " + bdf_);
  }
  return Status();
}

std::span<std::byte> VfioDevice::region() const { return region_->bytes(); }
uint32_t VfioDevice::peer_id() const { return peer_id_; }
uint32_t VfioDevice::vector_count() const { return static_cast<uint32_t>(vectors_.size()); }

int VfioDevice::vector_fd(uint32_t vector) const {
  return vector < vectors_.size() ? vectors_[vector].get() : -1;
}

Result<Doorbell> VfioDevice::OpenDoorbell(uint32_t peer, uint32_t vector) const {
  if (peer > kMaxPeerId || vector >= kMaxVectors) {
    return Status(Code::kNotFound, "no doorbell to vector " + std::to_string(vector) + " of peer " +
                                       std::to_string(peer));
  }
  if (registers_ == nullptr) {
    return Doorbell::File(device_, registers_offset_ + kDoorbellRegister, peer, vector);
  }
  auto* reg = reinterpret_cast<volatile uint32_t*>(registers_->bytes().data() + kDoorbellRegister);
  return Doorbell::Register(registers_, reg, peer, vector);
}

Status VfioDevice::Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const {
  if (vector >= vectors_.size()) {
    return Status(Code::kInvalidArgument, "vector " + std::to_string(vector) +
                                              " cannot be lent: the device has " +
                                              std::to_string(vectors_.size()));
  }
  welcome->region_access = RegionAccess::kVfio;
  welcome->doorbell_access =
      registers_ != nullptr ? DoorbellAccess::kMmap : DoorbellAccess::kPwrite;
  welcome->region_bytes = region_->bytes().size();
  welcome->region_map_offset = region_offset_;
  welcome->doorbell_map_offset = registers_offset_;
  welcome->doorbell_page_offset = kDoorbellRegister;
  welcome->doorbell_file_offset = registers_offset_ + kDoorbellRegister;
  welcome->peer_id = peer_id_;
  welcome->vector = vector;
  welcome->has_wake_fd = 1;
  fds->push_back(device_->get());
  fds->push_back(vectors_[vector].get());
  return Status();
}

std::string VfioDevice::description() const { return "vfio:" + bdf_; }

}  // namespace ivmq::transport
