#include "sdk/command/doctor_guest.h"

#include <fmt/core.h>
#include <unistd.h>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

// Below 4 GiB lie PCI's uncached address ranges.
constexpr uint64_t kFourGib = uint64_t{4} << 30;

void ExamineInterrupts(const transport::PciFunction& device, Findings* findings) {
  if (device.msix_vectors) {
    findings->Expect(*device.msix_vectors > 0, "MSI-X",
                     fmt::format("{}: {} vectors", device.bdf, *device.msix_vectors),
                     "start QEMU with vectors= of ivshmem-doorbell as the realm has it");
  } else if (::geteuid() != 0) {
    findings->Warn("MSI-X", device.bdf + ": only root may see it", "run ivmq doctor as root");
  } else {
    findings->Fail("MSI-X", device.bdf + " has none",
                   "start QEMU with -device ivshmem-doorbell, not ivshmem-plain");
  }
  findings->Expect(device.is_bus_master, "bus mastering",
                   fmt::format("{}: {}", device.bdf, device.is_bus_master ? "on" : "off"),
                   "without it no interrupt arrives: ivmq-agent turns it on, so start it");
}

void ExamineDevice(const transport::PciFunction& device, Findings* findings) {
  if (const transport::Status status = transport::CheckIvshmem(device); !status.ok()) {
    findings->Fail("device", status.message(), "change the VM's -device ivshmem-doorbell");
    return;
  }
  findings->Ok(
      "device",
      fmt::format("{}: ivshmem revision {}, region {} at {:#x}{}", device.bdf, device.revision,
                  HumanBytes(static_cast<double>(device.region.bytes)), device.region.start,
                  device.region.start < kFourGib ? " (below 4 GiB)" : ""));
  findings->Expect(
      device.driver == "vfio-pci", "driver",
      fmt::format("{}: {}", device.bdf, device.driver.empty() ? "none" : device.driver),
      device.iommu_group
          ? "for interrupts: modprobe vfio-pci, then ivmq-agent --bind"
          : "ivmq-agent polls it; for interrupts the VM needs an IOMMU first, see below");
  if (device.iommu_group) {
    findings->Ok("IOMMU", fmt::format("{} is in group {}", device.bdf, *device.iommu_group));
  } else {
    findings->Warn("IOMMU", device.bdf + " is in no group",
                   "for interrupts: -device intel-iommu,intremap=on before the ivshmem device on "
                   "-machine q35, and intel_iommu=on on the guest's command line");
  }
  ExamineInterrupts(device, findings);
}

}  // namespace

void ExamineDevices(const std::vector<transport::PciFunction>& devices, Findings* findings) {
  for (const transport::PciFunction& device : devices) ExamineDevice(device, findings);
  if (devices.size() > 1) {
    findings->Warn("device", fmt::format("{} ivshmem devices", devices.size()),
                   "tell ivmq-agent which: --device vfio:BDF or pci:BDF");
  }
}

void ExamineVectors(const std::vector<transport::PciFunction>& devices,
                    const transport::RegionInfo& region, Findings* findings) {
  if (devices.size() != 1 ||
      devices.front().msix_vectors.value_or(region.vectors) == region.vectors) {
    return;
  }
  findings->Fail("vectors",
                 fmt::format("{} has {}, but realm {} has {}", devices.front().bdf,
                             *devices.front().msix_vectors, region.realm_name, region.vectors),
                 fmt::format("start QEMU with vectors={}", region.vectors));
}

}  // namespace ivmq::command
