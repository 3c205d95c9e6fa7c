#include "transport/pci_bind.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "transport/unique_fd.h"

namespace ivmq::transport {
namespace {

Status WriteSysfs(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) < 0) {
    return ErrnoStatus(errno, "cannot write '" + text + "' to " + path);
  }
  return Status();
}

}  // namespace

Status BindToVfio(const PciPaths& paths, const PciFunction& function) {
  if (!function.iommu_group.has_value()) {
    return Status(Code::kFailedPrecondition,
                  function.bdf +
                      " has no IOMMU group: give the VM -device intel-iommu,intremap=on before the "
                      "ivshmem device on -machine q35, and its kernel intel_iommu=on");
  }
  if (function.driver == kVfioDriver) return Status();
  if (!function.driver.empty()) {
    return Status(Code::kFailedPrecondition,
                  function.bdf + " is held by the driver " + function.driver + "; unbind it first");
  }
  std::error_code error;
  const std::string bus = paths.sysfs + "/bus/pci";
  if (!std::filesystem::exists(bus + "/drivers/" + kVfioDriver, error)) {
    return Status(Code::kFailedPrecondition,
                  "the driver vfio-pci is not loaded; run: modprobe vfio-pci");
  }
  if (Status status = WriteSysfs(function.directory + "/driver_override", kVfioDriver);
      !status.ok()) {
    return status;
  }
  if (Status status = WriteSysfs(bus + "/drivers_probe", function.bdf); !status.ok()) {
    return status;
  }
  const Result<PciFunction> now = FindIvshmemDevice(paths, function.bdf);
  if (!now.ok()) return now.status();
  if (now.value().driver != kVfioDriver) {
    return Status(Code::kFailedPrecondition,
                  "vfio-pci does not take " + function.bdf + "; dmesg may say why");
  }
  return Status();
}

}  // namespace ivmq::transport
