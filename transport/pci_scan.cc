#include "transport/pci_scan.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include "transport/region.h"

namespace ivmq::transport {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kVendorRedHat = 0x1af4;
constexpr uint32_t kDeviceIvshmem = 0x1110;

constexpr off_t kCommandOffset = 4;
constexpr uint16_t kCommandMemory = 2;
constexpr uint16_t kCommandBusMaster = 4;
constexpr size_t kStatusOffset = 6;
constexpr uint8_t kStatusHasCapabilities = 0x10;
constexpr size_t kCapabilityPointer = 0x34;
constexpr uint8_t kMsixCapability = 0x11;
constexpr int kMaxCapabilities = 48;  // as many as fit into 256 bytes: a loop ends

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::optional<uint64_t> ReadNumber(const std::string& path) {
  const std::string text = ReadText(path);
  if (text.empty()) return std::nullopt;
  return std::strtoull(text.c_str(), nullptr, 0);
}

// The last part of where a symbolic link points; empty if there is no link.
std::string LinkName(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  return error ? std::string() : target.filename().string();
}

std::optional<uint32_t> MsixVectors(const std::string& config) {
  const auto byte = [&config](size_t at) {
    return at < config.size() ? static_cast<uint8_t>(config[at]) : uint8_t{0};
  };
  if ((byte(kStatusOffset) & kStatusHasCapabilities) == 0) return std::nullopt;
  size_t at = byte(kCapabilityPointer) & ~size_t{3};
  for (int i = 0; i < kMaxCapabilities && at != 0; ++i) {
    if (byte(at) == kMsixCapability) return ((byte(at + 2) | byte(at + 3) << 8) & 0x7ff) + 1;
    at = byte(at + 1) & ~size_t{3};
  }
  return std::nullopt;
}

// One line a BAR: start, end and flags, in hexadecimal.
std::vector<PciBar> ReadBars(const std::string& directory) {
  std::istringstream lines(ReadText(directory + "/resource"));
  std::vector<PciBar> bars;
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    uint64_t start = 0;
    uint64_t end = 0;
    fields >> std::hex >> start >> end;
    bars.push_back({start, end > start ? end - start + 1 : 0});
  }
  bars.resize(std::max<size_t>(bars.size(), 3));
  return bars;
}

bool IsIvshmem(const std::string& directory) {
  return ReadNumber(directory + "/vendor") == kVendorRedHat &&
         ReadNumber(directory + "/device") == kDeviceIvshmem;
}

PciFunction Describe(const std::string& directory) {
  PciFunction function;
  function.bdf = fs::path(directory).filename().string();
  function.directory = directory;
  function.revision = static_cast<uint32_t>(ReadNumber(directory + "/revision").value_or(0));
  function.driver = LinkName(directory + "/driver");
  const std::string group = LinkName(directory + "/iommu_group");
  if (!group.empty()) {
    function.iommu_group = static_cast<uint32_t>(std::strtoul(group.c_str(), nullptr, 10));
  }
  const std::string config = ReadText(directory + "/config");
  function.is_bus_master =
      config.size() > kCommandOffset && (config[kCommandOffset] & kCommandBusMaster) != 0;
  function.msix_vectors = MsixVectors(config);
  const std::vector<PciBar> bars = ReadBars(directory);
  function.registers = bars[0];
  function.region = bars[2];
  return function;
}

// The full form of an address, or empty if it is none. It becomes part of a path.
std::string FullAddress(const std::string& text) {
  std::string full = std::count(text.begin(), text.end(), ':') == 1 ? "0000:" + text : text;
  constexpr std::string_view kForm = "xxxx:xx:xx.x";
  if (full.size() != kForm.size()) return "";
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool is_hex = full.find_first_of("0123456789abcdef", i) == i;
    if (kForm[i] == 'x' ? !is_hex : full[i] != kForm[i]) return "";
  }
  return full;
}

}  // namespace

std::vector<PciFunction> FindIvshmemDevices(const PciPaths& paths) {
  std::vector<PciFunction> found;
  std::error_code error;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(paths.sysfs + "/bus/pci/devices", error)) {
    if (IsIvshmem(entry.path().string())) found.push_back(Describe(entry.path().string()));
  }
  std::sort(found.begin(), found.end(),
            [](const PciFunction& a, const PciFunction& b) { return a.bdf < b.bdf; });
  return found;
}

Result<PciFunction> FindIvshmemDevice(const PciPaths& paths, const std::string& bdf) {
  const std::string address = FullAddress(bdf);
  if (address.empty()) {
    return Status(Code::kInvalidArgument,
                  "'" + bdf + "' is no PCI address; they read as 0000:00:02.0 (see lspci -D)");
  }
  const std::string directory = paths.sysfs + "/bus/pci/devices/" + address;
  std::error_code error;
  if (!fs::exists(directory, error)) {
    return Status(Code::kNotFound, "there is no PCI device at " + address);
  }
  if (!IsIvshmem(directory)) {
    return Status(Code::kInvalidArgument,
                  "the PCI device at " + address + " is no ivshmem device (1af4:1110)");
  }
  return Describe(directory);
}

Status CheckIvshmem(const PciFunction& function) {
  if (function.revision == 0) {
    return Status(Code::kFailedPrecondition,
                  "the ivshmem device at " + function.bdf +
                      " has revision 0; revision 1 is needed: use QEMU 2.6 or later with "
                      "-device ivshmem-doorbell");
  }
  if (function.region.bytes < kMinRegionBytes || !std::has_single_bit(function.region.bytes)) {
    return Status(Code::kFailedPrecondition, "BAR 2 of the ivshmem device at " + function.bdf +
                                                 " has " + std::to_string(function.region.bytes) +
                                                 " bytes; a power of two of at least " +
                                                 std::to_string(kMinRegionBytes) + " was expected");
  }
  return Status();
}

Status CheckIvPosition(const std::string& bdf, int32_t position) {
  if (position > 0 && position <= static_cast<int32_t>(kMaxPeerId)) return Status();
  return Status(Code::kFailedPrecondition,
                "the ivshmem device at " + bdf + " has IVPosition " + std::to_string(position) +
                    "; 1 to " + std::to_string(kMaxPeerId) +
                    " was expected: is it an ivshmem-doorbell connected to ivmqd's VM socket?");
}

Status EnableMemoryAndBusMaster(int config, uint64_t offset) {
  const off_t at = static_cast<off_t>(offset) + kCommandOffset;
  uint16_t command = 0;
  if (::pread(config, &command, sizeof(command), at) != sizeof(command)) {
    return ErrnoStatus(errno, "cannot read the PCI command register");
  }
  const uint16_t wanted = command | kCommandMemory | kCommandBusMaster;
  if (wanted == command) return Status();
  if (::pwrite(config, &wanted, sizeof(wanted), at) != sizeof(wanted)) {
    return ErrnoStatus(errno, "cannot turn on PCI bus mastering");
  }
  return Status();
}

}  // namespace ivmq::transport
