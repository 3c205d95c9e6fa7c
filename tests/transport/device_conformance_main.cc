// The conformance suite over the PCI device of a guest. It takes two guests of one realm:
//
//   ivmq_device_conformance --device vfio:BDF --role echo            in one, obeys until told to
//   end ivmq_device_conformance --device vfio:BDF --role check [--end]   in the other, runs the
//   suite
//
// --slot 0|1   which mailbox an echo serves: 0 (default) is the partner, 1 the bystander
// --bystander  the check expects an echo at slot 1 too
// --bind       give the device to vfio-pci first
// --end        the check tells its partners to end
//
// It uses the last pages of the region: no node may run in the realm meanwhile.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/transport/device_conformance.h"
#include "transport/pci_open.h"

namespace ivmq::transport::conformance {
namespace {

struct Options {
  std::string device = "auto";
  std::string role;
  uint32_t slot = 0;
  bool bystander = false;
  bool bind = false;
  bool end = false;
};

// The device is opened once: VFIO takes one opener at a time.
Ends* guest_ends = nullptr;

INSTANTIATE_TEST_SUITE_P(Guest, DeviceConformance,
                         testing::Values(Factory{"Device", [] { return *guest_ends; }}),
                         [](const auto& info) { return info.param.name; });

bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const bool has_value = i + 1 < argc;
    if (flag == "--bystander") {
      options->bystander = true;
    } else if (flag == "--bind") {
      options->bind = true;
    } else if (flag == "--end") {
      options->end = true;
    } else if (flag == "--device" && has_value) {
      options->device = argv[++i];
    } else if (flag == "--role" && has_value) {
      options->role = argv[++i];
    } else if (flag == "--slot" && has_value) {
      options->slot = std::string(argv[++i]) == "1" ? 1 : 0;
    } else {
      return false;
    }
  }
  return options->role == "echo" || options->role == "check";
}

int Check(const std::shared_ptr<Device>& device, const Options& options) {
  Ends ends;
  ends.device = device;
  ends.partner = std::make_shared<MailboxPartner>(device, 0);
  if (options.bystander) ends.bystander = std::make_shared<MailboxPartner>(device, 1);
  guest_ends = &ends;
  std::cout << "partner: peer " << ends.partner->peer_id() << " with "
            << ends.partner->vector_count() << " vectors" << std::endl;
  const int failed = RUN_ALL_TESTS();
  if (options.end) {
    ends.partner->Do({Op::kQuit, 0, 0, 0});
    if (ends.bystander != nullptr) ends.bystander->Do({Op::kQuit, 0, 0, 0});
  }
  return failed;
}

int Main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  Options options;
  if (!Parse(argc, argv, &options)) {
    std::cerr << "usage: ivmq_device_conformance --device vfio:BDF|pci:BDF|auto --role echo|check "
                 "[--slot 0|1] [--bystander] [--bind] [--end]\n";
    return 2;
  }
  const Result<OpenedDevice> opened = OpenDevice(options.device, options.bind);
  if (!opened.ok()) {
    std::cerr << "cannot open " << options.device << ": " << opened.status().message() << "\n";
    return 1;
  }
  const std::shared_ptr<Device>& device = opened.value().device;
  std::cout << device->description() << ": peer " << device->peer_id() << ", "
            << device->vector_count() << " vectors, " << device->region().size() << " bytes. "
            << opened.value().note << std::endl;
  if (options.role == "check") return Check(device, options);
  ServeMailbox(*device, options.slot);
  return 0;
}

}  // namespace
}  // namespace ivmq::transport::conformance

int main(int argc, char** argv) { return ivmq::transport::conformance::Main(argc, argv); }
