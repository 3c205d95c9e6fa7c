#ifndef IVMQ_TRANSPORT_PCI_SCAN_H_
#define IVMQ_TRANSPORT_PCI_SCAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "transport/status.h"

// A guest's ivshmem devices as sysfs shows them (QEMU docs/specs/ivshmem-spec).
// All functions may be called from any thread.

namespace ivmq::transport {

// Where the kernel shows devices; tests point it elsewhere.
struct PciPaths {
  std::string sysfs = "/sys";
  std::string dev = "/dev";
};

// BAR 0 holds four 32-bit registers, BAR 2 the region.
inline constexpr uint64_t kIvPositionRegister = 8;
inline constexpr uint64_t kDoorbellRegister = 12;
inline constexpr uint64_t kRegisterPageBytes = 4096;

struct PciBar {
  uint64_t start = 0;  // physical address
  uint64_t bytes = 0;
};

struct PciFunction {
  std::string bdf;        // "0000:00:02.0"
  std::string directory;  // in sysfs
  uint32_t revision = 0;
  bool is_bus_master = false;
  std::string driver;                    // empty if none is bound
  std::optional<uint32_t> iommu_group;   // none without an IOMMU
  std::optional<uint32_t> msix_vectors;  // none: no MSI-X, or not allowed to read that far
  PciBar registers;
  PciBar region;
};

// Every ivshmem device (1af4:1110) of the machine, by address. Empty where there is no PCI.
std::vector<PciFunction> FindIvshmemDevices(const PciPaths& paths);

// The one at `bdf` ("0000:00:02.0" or "00:02.0"). NOT_FOUND if nothing is there,
// INVALID_ARGUMENT if it is something else or no address at all.
Result<PciFunction> FindIvshmemDevice(const PciPaths& paths, const std::string& bdf);

// FAILED_PRECONDITION, saying what to do, unless it is a revision 1 device with a region that ivmq
// can use.
Status CheckIvshmem(const PciFunction& function);

// FAILED_PRECONDITION unless the IVPosition register names a peer that a VM can be: not the host
// (0: the VM is not connected to a broker of ours), and set up (-1 is not).
Status CheckIvPosition(const std::string& bdf, int32_t position);

// Turns on memory access and bus mastering in the command register (config offset 4): without
// bus mastering no interrupt arrives. `config` is open for reading and writing, and the
// function's configuration space begins at `offset`.
Status EnableMemoryAndBusMaster(int config, uint64_t offset);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_PCI_SCAN_H_
