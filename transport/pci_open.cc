#include "transport/pci_open.h"

#include <utility>
#include <vector>

#include "transport/pci_bind.h"
#include "transport/sysfs_device.h"
#include "transport/vfio_device.h"

namespace ivmq::transport {
namespace {

Result<PciFunction> OnlyDevice(const PciPaths& paths) {
  std::vector<PciFunction> found = FindIvshmemDevices(paths);
  if (found.size() == 1) return std::move(found.front());
  if (found.empty()) {
    return Status(Code::kNotFound,
                  "this machine has no ivshmem device (1af4:1110): give the VM "
                  "-device ivshmem-doorbell with a chardev on ivmqd's VM socket");
  }
  std::string addresses;
  for (const PciFunction& function : found) addresses += " " + function.bdf;
  return Status(Code::kFailedPrecondition, "this machine has " + std::to_string(found.size()) +
                                               " ivshmem devices, name one of them:" + addresses);
}

Result<OpenedDevice> OpenSysfs(const PciFunction& function, std::string note) {
  Result<std::shared_ptr<SysfsDevice>> device = SysfsDevice::Open(function);
  if (!device.ok()) return device.status();
  return OpenedDevice{std::move(device).value(), std::move(note)};
}

Result<OpenedDevice> OpenVfio(const PciPaths& paths, const PciFunction& function, bool bind) {
  if (bind) {
    if (Status status = BindToVfio(paths, function); !status.ok()) return status;
  }
  Result<std::shared_ptr<VfioDevice>> device = VfioDevice::Open(paths, function);
  if (!device.ok()) return device.status();
  return OpenedDevice{std::move(device).value(), ""};
}

Result<OpenedDevice> OpenEither(const PciPaths& paths, const PciFunction& function, bool bind) {
  // Nothing is bound that could not be opened afterwards.
  if (Status status = CheckIvshmem(function); !status.ok()) return status;
  if (!bind && function.driver != kVfioDriver) {
    return OpenSysfs(function, function.bdf + " is not bound to vfio-pci: receiving by polling");
  }
  Result<OpenedDevice> device = OpenVfio(paths, function, bind);
  // Somebody else has it by VFIO: opening it beside him would make two of one peer.
  if (device.ok() || device.status().code() == Code::kAlreadyExists) return device;
  return OpenSysfs(function, device.status().message() + ": receiving by polling");
}

}  // namespace

Result<OpenedDevice> OpenDevice(const std::string& spec, bool bind, const PciPaths& paths) {
  const size_t colon = spec.find(':');
  const std::string way = spec.substr(0, colon);
  if ((way != "auto" && way != "vfio" && way != "pci") ||
      (way == "auto" && colon != std::string::npos)) {
    return Status(Code::kInvalidArgument,
                  "device '" + spec + "': expected auto, vfio:BDF or pci:BDF");
  }
  const Result<PciFunction> function = colon == std::string::npos
                                           ? OnlyDevice(paths)
                                           : FindIvshmemDevice(paths, spec.substr(colon + 1));
  if (!function.ok()) return function.status();
  if (way == "vfio") return OpenVfio(paths, function.value(), bind);
  if (way == "pci") return OpenSysfs(function.value(), "");
  return OpenEither(paths, function.value(), bind);
}

}  // namespace ivmq::transport
