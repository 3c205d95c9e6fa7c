// Finding, binding and opening PCI devices in a sysfs that the test writes.
#include "transport/pci_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "tests/transport/test_daemon.h"
#include "transport/pci_bind.h"
#include "transport/pci_open.h"
#include "transport/sysfs_device.h"

namespace ivmq::transport {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr uint64_t kRegionBytes = kMinRegionBytes;

class PciTest : public testing::Test {
 protected:
  PciTest() { fs::create_directories(Devices()); }

  std::string Devices() const { return paths().sysfs + "/bus/pci/devices"; }
  PciPaths paths() const { return {directory_.path() + "/sys", directory_.path() + "/dev"}; }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  struct Device {
    std::string bdf = "0000:00:02.0";
    std::string vendor = "0x1af4";
    std::string device = "0x1110";
    int revision = 1;
    int32_t position = 3;
    uint64_t registers_start = 0xfe800100;  // not at a page's begin
    uint64_t region_bytes = kRegionBytes;
    std::string iommu_group = "";
    std::string driver = "";
  };
  // Returns its directory.
  std::string Add(const Device& device) const {
    std::string path = Devices() + "/" + device.bdf;
    fs::create_directories(path);
    Write(path + "/vendor", device.vendor + "\n");
    Write(path + "/device", device.device + "\n");
    Write(path + "/revision", "0x0" + std::to_string(device.revision) + "\n");
    Write(path + "/driver_override", "");
    std::string config(256, '\0');
    config[6] = 0x10;     // it has capabilities
    config[0x34] = 0x40;  // the first: something else
    config[0x40] = 0x05;
    config[0x41] = 0x50;  // the next: MSI-X with 8 vectors
    config[0x50] = 0x11;
    config[0x52] = 7;
    Write(path + "/config", config);
    std::array<char, 256> resource{};
    std::snprintf(resource.data(), resource.size(),
                  "0x%016lx 0x%016lx 0x0\n0x0 0x0 0x0\n0x%016lx 0x%016lx 0x0\n",
                  device.registers_start, device.registers_start + 255, 0xc000000000UL,
                  0xc000000000UL + device.region_bytes - 1);
    Write(path + "/resource", resource.data());
    std::string registers(4096, '\0');
    const uint64_t at = device.registers_start % 4096 + kIvPositionRegister;
    registers.replace(at, 4, reinterpret_cast<const char*>(&device.position), 4);
    Write(path + "/resource0", registers);
    Write(path + "/resource2", "");
    fs::resize_file(path + "/resource2", device.region_bytes);
    if (!device.iommu_group.empty()) {
      fs::create_symlink("../kernel/iommu_groups/" + device.iommu_group, path + "/iommu_group");
    }
    if (!device.driver.empty()) {
      fs::create_symlink("../bus/pci/drivers/" + device.driver, path + "/driver");
    }
    return path;
  }
  PciFunction Find(const std::string& bdf) const {
    const Result<PciFunction> found = FindIvshmemDevice(paths(), bdf);
    EXPECT_TRUE(found.ok()) << found.status().message();
    return found.ok() ? found.value() : PciFunction();
  }

  TemporaryDirectory directory_;
};

TEST_F(PciTest, FindsIvshmemDevicesAndNothingElse) {
  EXPECT_TRUE(FindIvshmemDevices(paths()).empty());
  EXPECT_TRUE(FindIvshmemDevices({"/no/such", "/dev"}).empty());
  Add({.bdf = "0000:00:03.0"});
  Add({.bdf = "0000:00:01.0", .vendor = "0x8086"});
  Add({.bdf = "0000:00:04.0", .device = "0x1000"});
  Add({.bdf = "0000:00:02.0", .iommu_group = "17", .driver = "vfio-pci"});
  const std::vector<PciFunction> found = FindIvshmemDevices(paths());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].bdf, "0000:00:02.0");
  EXPECT_EQ(found[0].driver, "vfio-pci");
  EXPECT_EQ(found[0].iommu_group, 17U);
  EXPECT_EQ(found[0].msix_vectors, 8U);
  EXPECT_EQ(found[0].revision, 1U);
  EXPECT_EQ(found[0].registers.start, 0xfe800100U);
  EXPECT_EQ(found[0].registers.bytes, 256U);
  EXPECT_EQ(found[0].region.bytes, kRegionBytes);
  EXPECT_FALSE(found[0].is_bus_master);
  EXPECT_EQ(found[1].bdf, "0000:00:03.0");
  EXPECT_EQ(found[1].driver, "");
  EXPECT_EQ(found[1].iommu_group, std::nullopt);
}

TEST_F(PciTest, EndsItsWalkThroughCapabilitiesThatFormALoop) {
  const std::string path = Add({});
  std::string config = Read(path + "/config");
  config[0x41] = 0x40;
  Write(path + "/config", config);
  EXPECT_EQ(Find("00:02.0").msix_vectors, std::nullopt);
}

TEST_F(PciTest, TakesAddressesInBothFormsAndNothingThatLeavesTheDirectory) {
  Add({});
  EXPECT_EQ(Find("0000:00:02.0").bdf, "0000:00:02.0");
  EXPECT_EQ(Find("00:02.0").bdf, "0000:00:02.0");
  EXPECT_EQ(FindIvshmemDevice(paths(), "00:1f.0").status().code(), Code::kNotFound);
  for (const char* wrong : {"", "00:02", "0000:00:02.0 ", "../../../x:y", "0000:00:0g.0",
                            "0000-00-02-0", "0000:00:02.A"}) {
    EXPECT_EQ(FindIvshmemDevice(paths(), wrong).status().code(), Code::kInvalidArgument) << wrong;
  }
  Add({.bdf = "0000:00:05.0", .vendor = "0x8086"});
  EXPECT_EQ(FindIvshmemDevice(paths(), "00:05.0").status().code(), Code::kInvalidArgument);
}

TEST_F(PciTest, RefusesRevision0AndRegionsThatCannotBeOurs) {
  Add({.revision = 0});
  const Status old = CheckIvshmem(Find("00:02.0"));
  EXPECT_EQ(old.code(), Code::kFailedPrecondition);
  EXPECT_THAT(old.message(), HasSubstr("revision 0"));
  EXPECT_THAT(old.message(), HasSubstr("QEMU 2.6"));
  EXPECT_EQ(OpenDevice("auto", false, paths()).status().message(), old.message());
  Add({.bdf = "0000:00:03.0", .region_bytes = kMinRegionBytes / 2});
  EXPECT_EQ(CheckIvshmem(Find("00:03.0")).code(), Code::kFailedPrecondition);
  Add({.bdf = "0000:00:04.0", .region_bytes = kMinRegionBytes});
  EXPECT_TRUE(CheckIvshmem(Find("00:04.0")).ok());
}

TEST_F(PciTest, OpensThroughSysfsAtABarThatBeginsWithinAPage) {
  const std::string path = Add({});
  const Result<std::shared_ptr<SysfsDevice>> opened = SysfsDevice::Open(Find("00:02.0"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const SysfsDevice& device = *opened.value();
  EXPECT_EQ(device.peer_id(), 3U);
  EXPECT_EQ(device.vector_count(), 0U);
  EXPECT_EQ(device.vector_fd(0), -1);
  EXPECT_EQ(device.region().size(), kRegionBytes);
  EXPECT_EQ(device.description(), "pci:0000:00:02.0");
  device.region()[5] = std::byte{'x'};
  EXPECT_EQ(Read(path + "/resource2")[5], 'x');
  EXPECT_EQ(Read(path + "/config")[4], 6) << "memory and bus mastering are on";
  EXPECT_TRUE(Find("00:02.0").is_bus_master);

  device.OpenDoorbell(4, 2).value().Ring();
  const uint32_t expected = 4U << 16 | 2U;
  const std::string registers = Read(path + "/resource0");
  EXPECT_EQ(registers.substr(0x100 + kDoorbellRegister, 4),
            std::string(reinterpret_cast<const char*>(&expected), 4));

  AttachMessage welcome{};
  std::vector<int> fds;
  ASSERT_TRUE(device.Lend(0, &welcome, &fds).ok());
  EXPECT_EQ(fds.size(), 2U);
  EXPECT_EQ(welcome.region_access, RegionAccess::kSysfs);
  EXPECT_EQ(welcome.has_wake_fd, 0U);
  EXPECT_EQ(welcome.doorbell_page_offset, 0x100 + kDoorbellRegister);
}

TEST_F(PciTest, RefusesADeviceThatIsNotConnectedToABroker) {
  for (const int32_t position : {-1, 0, 0x10000}) {
    Add({.position = position});
    const Status status = SysfsDevice::Open(Find("00:02.0")).status();
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr("IVPosition " + std::to_string(position)));
  }
  Add({.position = 0xffff});
  EXPECT_TRUE(SysfsDevice::Open(Find("00:02.0")).ok());
}

TEST_F(PciTest, SaysWhyItCannotBindAndWhatToDo) {
  Add({});
  const Status no_group = BindToVfio(paths(), Find("00:02.0"));
  EXPECT_EQ(no_group.code(), Code::kFailedPrecondition);
  EXPECT_THAT(no_group.message(), HasSubstr("intel_iommu=on"));
  Add({.bdf = "0000:00:03.0", .iommu_group = "1", .driver = "other"});
  EXPECT_THAT(BindToVfio(paths(), Find("00:03.0")).message(),
              HasSubstr("held by the driver other"));
  Add({.bdf = "0000:00:04.0", .iommu_group = "1"});
  EXPECT_THAT(BindToVfio(paths(), Find("00:04.0")).message(), HasSubstr("modprobe vfio-pci"));
  Add({.bdf = "0000:00:05.0", .iommu_group = "1", .driver = "vfio-pci"});
  EXPECT_TRUE(BindToVfio(paths(), Find("00:05.0")).ok());
}

TEST_F(PciTest, BindsByOverrideAndProbeAndLooksWhetherItWorked) {
  const std::string path = Add({.iommu_group = "1"});
  fs::create_directories(paths().sysfs + "/bus/pci/drivers/vfio-pci");
  Write(paths().sysfs + "/bus/pci/drivers_probe", "");
  // Nobody binds here, as when the driver refuses.
  const Status status = BindToVfio(paths(), Find("00:02.0"));
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("does not take"));
  EXPECT_EQ(Read(path + "/driver_override"), "vfio-pci");
  EXPECT_EQ(Read(paths().sysfs + "/bus/pci/drivers_probe"), "0000:00:02.0");
}

TEST_F(PciTest, ChoosesTheDeviceAndTheWay) {
  const Status none = OpenDevice("auto", false, paths()).status();
  EXPECT_EQ(none.code(), Code::kNotFound);
  EXPECT_THAT(none.message(), HasSubstr("ivshmem-doorbell"));
  for (const char* wrong : {"", "vfoi", "auto:00:02.0", "00:02.0"}) {
    EXPECT_EQ(OpenDevice(wrong, false, paths()).status().code(), Code::kInvalidArgument) << wrong;
  }
  Add({});
  for (const bool bind : {false, true}) {
    const Result<OpenedDevice> fallback = OpenDevice("auto", bind, paths());
    ASSERT_TRUE(fallback.ok()) << fallback.status().message();
    EXPECT_EQ(fallback.value().device->description(), "pci:0000:00:02.0");
    EXPECT_THAT(fallback.value().note, HasSubstr("polling"));
  }
  EXPECT_TRUE(OpenDevice("pci", false, paths()).ok());
  EXPECT_TRUE(OpenDevice("pci:00:02.0", false, paths()).ok());
  EXPECT_EQ(OpenDevice("vfio:00:02.0", false, paths()).status().code(), Code::kFailedPrecondition);
  Add({.bdf = "0000:00:03.0"});
  const Status two = OpenDevice("auto", false, paths()).status();
  EXPECT_EQ(two.code(), Code::kFailedPrecondition);
  EXPECT_THAT(two.message(), HasSubstr("0000:00:02.0 0000:00:03.0"));
  EXPECT_TRUE(OpenDevice("pci:00:03.0", false, paths()).ok());
}

}  // namespace
}  // namespace ivmq::transport
