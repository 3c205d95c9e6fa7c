#ifndef IVMQ_TRANSPORT_PCI_OPEN_H_
#define IVMQ_TRANSPORT_PCI_OPEN_H_

#include <memory>
#include <string>

#include "transport/device.h"
#include "transport/pci_scan.h"
#include "transport/status.h"

namespace ivmq::transport {

struct OpenedDevice {
  std::shared_ptr<Device> device;
  // Why "auto" took polling and not interrupts; empty if there is nothing to say.
  std::string note;
};

// Opens a guest's ivshmem device as `spec` says:
//
//   auto              the only device: by VFIO if it is bound to vfio-pci (or `bind`) and has an
//                     IOMMU group, else by sysfs
//   vfio, vfio:BDF    by VFIO, with interrupts; `bind` gives it to vfio-pci first
//   pci, pci:BDF      by sysfs: sends doorbells, receives by polling
//
// Without a BDF there must be exactly one. Errors say what to do.
Result<OpenedDevice> OpenDevice(const std::string& spec, bool bind, const PciPaths& paths = {});

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_PCI_OPEN_H_
