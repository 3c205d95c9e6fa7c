#include "broker/keeper/config.h"

#include <fmt/core.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <set>

#include "transport/memfd_device.h"
#include "transport/region.h"
#include "transport/socket_access.h"

namespace ivmq::broker {
namespace {

using transport::Code;
using transport::Result;
using transport::Status;

constexpr size_t kLongestSocketPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr size_t kMostVmSockets = 1024;

Status Invalid(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

Status CheckName(const std::string& name) {
  const bool good = !name.empty() && name.size() < transport::kRealmNameBytes &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                    });
  if (good && name.front() != '.') return {};
  return Invalid(
      fmt::format("realm \"{}\": a name has 1 to {} letters, digits, '-', '_' or '.', and does not "
                  "begin with '.'",
                  name, transport::kRealmNameBytes - 1));
}

Status CheckSize(uint64_t bytes) {
  if (bytes < transport::kMinRegionBytes) {
    return Invalid(fmt::format("size {}: a region has at least {}", FormatSize(bytes),
                               FormatSize(transport::kMinRegionBytes)));
  }
  if (!std::has_single_bit(bytes)) {
    const uint64_t below = std::bit_floor(bytes);
    const std::string above = below >> 63 != 0 ? "" : fmt::format(" or {}", FormatSize(below << 1));
    return Invalid(fmt::format("size {}: must be a power of two, as a PCI BAR is: {}{}",
                               FormatSize(bytes), FormatSize(below), above));
  }
  return {};
}

Status CheckSocketPath(std::string_view setting, const std::string& path,
                       std::set<std::string>* seen) {
  if (path.empty()) return Invalid(fmt::format("{}: the path is empty", setting));
  if (path.size() > kLongestSocketPath) {
    return Invalid(fmt::format("{} {}: {} bytes long, and a socket path has at most {}", setting,
                               path, path.size(), kLongestSocketPath));
  }
  if (!seen->insert(path).second) {
    return Invalid(fmt::format("{} {}: the path is given twice", setting, path));
  }
  return {};
}

// Whether the sockets that nobody named have a place.
Status CheckDefaultSockets(const ConfigText& text, const Machine& machine) {
  const auto lacks = [](const RealmText& realm) {
    return realm.vm_sockets.empty() || !realm.node_socket;
  };
  const bool needed = !text.admin_socket || (text.realms.empty() && lacks(text.realm)) ||
                      std::any_of(text.realms.begin(), text.realms.end(), lacks);
  if (!needed || machine.no_sockets.empty()) return {};
  return Invalid(
      fmt::format("sockets: {}; set it, or give --vm-socket, --node-socket and --admin-socket",
                  machine.no_sockets));
}

// The realm "default" has the short names, so that nothing need be set on either side.
std::string DefaultSocket(const Machine& machine, const std::string& realm, const char* name) {
  return realm == "default" ? fmt::format("{}/{}.sock", machine.socket_directory, name)
                            : fmt::format("{}/{}-{}.sock", machine.socket_directory, realm, name);
}

Result<gid_t> ResolveGroup(const char* setting, const std::string& text) {
  Result<gid_t> group = transport::ParseSocketGroup(text);
  if (group.ok()) return group;
  return Invalid(fmt::format("{} {}: {}", setting, text, group.status().message()));
}

Result<RealmConfig> ResolveRealm(const RealmText& text, const Machine& machine,
                                 std::set<std::string>* paths) {
  RealmConfig realm;
  realm.name = text.name.value_or("default");
  if (Status status = CheckName(realm.name); !status.ok()) return status;
  if (text.size) {
    auto bytes = ParseSize(*text.size);
    if (!bytes.ok()) return Invalid("size: " + bytes.status().message());
    realm.region_bytes = bytes.value();
  }
  if (Status status = CheckSize(realm.region_bytes); !status.ok()) return status;
  realm.huge_pages = text.huge_pages.value_or(false);
  if (realm.huge_pages && realm.region_bytes < transport::kHugePageBytes) {
    return Invalid(fmt::format("size {}: a region on huge pages has at least {}",
                               FormatSize(realm.region_bytes),
                               FormatSize(transport::kHugePageBytes)));
  }
  if (text.vectors && (*text.vectors < 1 || *text.vectors > transport::kMaxVectors)) {
    return Invalid(
        fmt::format("vectors {}: must be 1 to {}, and the same as vectors= of the VMs' devices",
                    *text.vectors, transport::kMaxVectors));
  }
  if (text.vectors) realm.vectors = static_cast<uint32_t>(*text.vectors);
  realm.vm_sockets = text.vm_sockets;
  if (realm.vm_sockets.empty()) realm.vm_sockets = {DefaultSocket(machine, realm.name, "vm")};
  if (realm.vm_sockets.size() > kMostVmSockets) {
    return Invalid(fmt::format("vm-socket: {} paths, and a realm has at most {}",
                               realm.vm_sockets.size(), kMostVmSockets));
  }
  if (text.vm_socket_group) {
    auto group = ResolveGroup("vm-socket-group", *text.vm_socket_group);
    if (!group.ok()) return group.status();
    realm.vm_socket_group = group.value();
  }
  realm.node_socket = text.node_socket.value_or(DefaultSocket(machine, realm.name, "node"));
  for (const std::string& path : realm.vm_sockets) {
    if (Status status = CheckSocketPath("vm-socket", path, paths); !status.ok()) return status;
  }
  if (Status status = CheckSocketPath("node-socket", realm.node_socket, paths); !status.ok()) {
    return status;
  }
  return realm;
}

Status ResolveSocketAccess(const ConfigText& text, KeeperConfig* config) {
  if (text.socket_mode) {
    const Result<mode_t> mode = transport::ParseSocketMode(*text.socket_mode);
    if (!mode.ok()) {
      return Invalid(fmt::format("socket-mode {}: {}", *text.socket_mode, mode.status().message()));
    }
    config->socket_mode = mode.value();
  }
  if (text.socket_group) {
    auto group = ResolveGroup("socket-group", *text.socket_group);
    if (!group.ok()) return group.status();
    config->socket_group = group.value();
  }
  return {};
}

Status CheckMemory(const KeeperConfig& config, uint64_t available) {
  uint64_t total = 0;
  for (const RealmConfig& realm : config.realms) {
    if (realm.huge_pages) continue;  // set aside, and counted when they are taken
    const bool too_many = realm.region_bytes > ~total;
    total = too_many ? ~uint64_t{0} : total + realm.region_bytes;
  }
  if (available == 0 || total <= available) return {};
  return Invalid(
      fmt::format("size {}: more than there is memory for: {} MiB are available, and all pages of "
                  "a region are allocated at start",
                  FormatSize(total), available >> 20));
}

}  // namespace

bool RealmText::empty() const {
  return !name && !size && !huge_pages && !vectors && vm_sockets.empty() && !vm_socket_group &&
         !node_socket;
}

Machine Machine::ThisOne() {
  Machine machine;
  machine.available_bytes = transport::AvailableMemoryBytes();
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read at start, in one thread
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (geteuid() == 0) {
    machine.socket_directory = "/run/ivmq";
  } else if (runtime != nullptr && *runtime != '\0') {
    machine.socket_directory = std::string(runtime) + "/ivmq";
  } else {
    const std::string usual = fmt::format("/run/user/{}", geteuid());
    machine.socket_directory = usual + "/ivmq";
    if (access(usual.c_str(), W_OK) != 0) {
      machine.no_sockets = "XDG_RUNTIME_DIR is not set, and " + usual + " is no place for them";
    }
  }
  return machine;
}

Result<ConfigText> Merge(ConfigText file, const ConfigText& flags) {
  if (!file.realms.empty() && !flags.realm.empty()) {
    return Invalid(
        "--realm, --size, --huge-pages, --vectors, --vm-socket, --vm-socket-group and "
        "--node-socket cannot go with a configuration file that has [[realm]] tables");
  }
  const auto lay_over = [](auto& under, const auto& over) {
    if (over) under = over;
  };
  lay_over(file.realm.name, flags.realm.name);
  lay_over(file.realm.size, flags.realm.size);
  lay_over(file.realm.huge_pages, flags.realm.huge_pages);
  lay_over(file.realm.vectors, flags.realm.vectors);
  if (!flags.realm.vm_sockets.empty()) file.realm.vm_sockets = flags.realm.vm_sockets;
  lay_over(file.realm.vm_socket_group, flags.realm.vm_socket_group);
  lay_over(file.realm.node_socket, flags.realm.node_socket);
  lay_over(file.admin_socket, flags.admin_socket);
  lay_over(file.log_level, flags.log_level);
  lay_over(file.socket_mode, flags.socket_mode);
  lay_over(file.socket_group, flags.socket_group);
  lay_over(file.control_binary, flags.control_binary);
  return file;
}

Result<KeeperConfig> Resolve(const ConfigText& text, const Machine& machine) {
  if (Status status = CheckDefaultSockets(text, machine); !status.ok()) return status;
  KeeperConfig config;
  std::set<std::string> names;
  std::set<std::string> paths;
  const std::vector<RealmText> single = {text.realm};
  for (const RealmText& realm_text : text.realms.empty() ? single : text.realms) {
    auto realm = ResolveRealm(realm_text, machine, &paths);
    if (!realm.ok()) return realm.status();
    if (!names.insert(realm.value().name).second) {
      return Invalid(fmt::format("realm \"{}\": the name is given twice", realm.value().name));
    }
    config.realms.push_back(std::move(realm).value());
  }
  config.admin_socket = text.admin_socket.value_or(machine.socket_directory + "/admin.sock");
  if (Status status = CheckSocketPath("admin-socket", config.admin_socket, &paths); !status.ok()) {
    return status;
  }
  if (text.log_level && !ParseLogLevel(*text.log_level, &config.log_level)) {
    return Invalid(
        fmt::format("log-level \"{}\": must be debug, info, warning or error", *text.log_level));
  }
  if (Status status = ResolveSocketAccess(text, &config); !status.ok()) return status;
  if (Status status = CheckMemory(config, machine.available_bytes); !status.ok()) return status;
  config.control_binary = text.control_binary.value_or("");
  return config;
}

}  // namespace ivmq::broker
