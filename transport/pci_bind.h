#ifndef IVMQ_TRANSPORT_PCI_BIND_H_
#define IVMQ_TRANSPORT_PCI_BIND_H_

#include "transport/pci_scan.h"
#include "transport/status.h"

namespace ivmq::transport {

inline constexpr char kVfioDriver[] = "vfio-pci";

// Gives that device, and only that one, to vfio-pci: driver_override, then a new probe. Done
// already: OK. FAILED_PRECONDITION, naming the mend, if there is no IOMMU group, the driver is not
// loaded or another one holds the device; PERMISSION_DENIED if this process may not.
Status BindToVfio(const PciPaths& paths, const PciFunction& function);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_PCI_BIND_H_
