#ifndef IVMQ_SDK_COMMAND_DOCTOR_GUEST_H_
#define IVMQ_SDK_COMMAND_DOCTOR_GUEST_H_

#include <vector>

#include "sdk/command/findings.h"
#include "transport/pci_scan.h"
#include "transport/region.h"

namespace ivmq::command {

// A guest's ivshmem devices, as sysfs shows them: revision, region, driver, IOMMU, MSI-X and bus
// mastering.
void ExamineDevices(const std::vector<transport::PciFunction>& devices, Findings* findings);

// Whether the one device has as many vectors as the realm. With several nobody knows which is
// meant.
void ExamineVectors(const std::vector<transport::PciFunction>& devices,
                    const transport::RegionInfo& region, Findings* findings);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DOCTOR_GUEST_H_
