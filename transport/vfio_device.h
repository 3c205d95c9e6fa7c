#ifndef IVMQ_TRANSPORT_VFIO_DEVICE_H_
#define IVMQ_TRANSPORT_VFIO_DEVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "transport/device.h"
#include "transport/mapping.h"
#include "transport/pci_scan.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

// A guest's ivshmem device through vfio-pci: the region, doorbells, and an eventfd for each MSI-X
// vector. One opener a machine at a time. REQUIRES: bound to vfio-pci (BindToVfio()).
class VfioDevice : public Device {
 public:
  // ALREADY_EXISTS if another process has it open.
  static Result<std::shared_ptr<VfioDevice>> Open(const PciPaths& paths,
                                                  const PciFunction& function);

  std::span<std::byte> region() const override;
  uint32_t peer_id() const override;
  uint32_t vector_count() const override;
  int vector_fd(uint32_t vector) const override;
  Result<Doorbell> OpenDoorbell(uint32_t peer, uint32_t vector) const override;
  Status Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const override;
  std::string description() const override;

 private:
  VfioDevice() = default;
  Status OpenGroup(const PciPaths& paths, const PciFunction& function);
  Status MapBars();
  Status EnableInterrupts();

  // Constant after Open(). The device is closed before its group and container.
  std::string bdf_;
  UniqueFd container_;
  UniqueFd group_;
  std::shared_ptr<const UniqueFd> device_;
  std::vector<UniqueFd> vectors_;
  uint64_t registers_offset_ = 0;       // of BAR 0 in the device's fd
  uint64_t region_offset_ = 0;          // of BAR 2
  std::shared_ptr<Mapping> registers_;  // null if BAR 0 cannot be mapped
  std::shared_ptr<Mapping> region_;
  uint32_t peer_id_ = 0;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_VFIO_DEVICE_H_
