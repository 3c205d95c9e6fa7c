#ifndef IVMQ_TRANSPORT_SYSFS_DEVICE_H_
#define IVMQ_TRANSPORT_SYSFS_DEVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "transport/device.h"
#include "transport/mapping.h"
#include "transport/pci_scan.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

// A guest's ivshmem device through sysfs: it rings doorbells and receives by polling
// (vector_count() is 0). Needs root, and neither a driver nor an IOMMU. Once somebody opens the
// device by VFIO these mappings are gone (SIGBUS): BindToVfio() first or never.
class SysfsDevice : public Device {
 public:
  static Result<std::shared_ptr<SysfsDevice>> Open(const PciFunction& function);

  std::span<std::byte> region() const override;
  uint32_t peer_id() const override;
  uint32_t vector_count() const override;
  int vector_fd(uint32_t vector) const override;
  Result<Doorbell> OpenDoorbell(uint32_t peer, uint32_t vector) const override;
  Status Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const override;
  std::string description() const override;

 private:
  SysfsDevice() = default;

  // Constant after Open().
  std::string bdf_;
  UniqueFd registers_fd_;  // resource0
  UniqueFd region_fd_;     // resource2
  std::shared_ptr<Mapping> registers_;
  std::shared_ptr<Mapping> region_;
  uint64_t page_offset_ = 0;  // of BAR 0 within its page
  uint32_t peer_id_ = 0;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_SYSFS_DEVICE_H_
