#ifndef IVMQ_BROKER_KEEPER_CONFIG_H_
#define IVMQ_BROKER_KEEPER_CONFIG_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/log.h"
#include "transport/status.h"

namespace ivmq::broker {

inline constexpr uint64_t kDefaultRegionBytes = uint64_t{256} << 20;
inline constexpr uint32_t kDefaultVectors = 8;
inline constexpr mode_t kDefaultSocketMode = 0660;

// One realm as somebody wrote it down. What is absent takes its default.
struct RealmText {
  std::optional<std::string> name;
  std::optional<std::string> size;
  std::optional<bool> huge_pages;
  std::optional<int64_t> vectors;
  std::vector<std::string> vm_sockets;
  std::optional<std::string> vm_socket_group;  // name or number
  std::optional<std::string> node_socket;

  bool empty() const;
};

// All settings as written, of the command line or of a configuration file.
struct ConfigText {
  RealmText realm;                // from flags, or the top level of a file
  std::vector<RealmText> realms;  // [[realm]] tables of a file
  std::optional<std::string> admin_socket;
  std::optional<std::string> log_level;
  std::optional<std::string> socket_mode;   // octal
  std::optional<std::string> socket_group;  // name or number
  std::optional<std::string> control_binary;
};

struct RealmConfig {
  std::string name;
  uint64_t region_bytes = kDefaultRegionBytes;
  bool huge_pages = false;
  uint32_t vectors = kDefaultVectors;
  std::vector<std::string> vm_sockets;
  std::optional<gid_t> vm_socket_group;  // none: that of all sockets
  std::string node_socket;
};

struct KeeperConfig {
  std::vector<RealmConfig> realms;
  std::string admin_socket;
  LogLevel log_level = LogLevel::kInfo;
  mode_t socket_mode = kDefaultSocketMode;
  std::optional<gid_t> socket_group;
  std::string control_binary;  // empty: the one that belongs to this ivmqd
};

// What the machine allows and where it wants the sockets.
struct Machine {
  uint64_t available_bytes = 0;  // 0 unknown: not checked
  std::string socket_directory;
  std::string no_sockets = {};  // why they cannot be there; empty if they can

  static Machine ThisOne();
};

// "256MiB", "64KiB", "1GiB" or plain bytes.
transport::Result<uint64_t> ParseSize(std::string_view text);
std::string FormatSize(uint64_t bytes);

// Reads a TOML file. INVALID_ARGUMENT names file, line and column; NOT_FOUND the path.
transport::Result<ConfigText> ReadConfigFile(const std::string& path);

// Lays flags over a file. INVALID_ARGUMENT where flags describe a realm and the file has several.
transport::Result<ConfigText> Merge(ConfigText file, const ConfigText& flags);

// Fills in defaults and checks every rule. INVALID_ARGUMENT names the setting and the rule.
transport::Result<KeeperConfig> Resolve(const ConfigText& text, const Machine& machine);

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_CONFIG_H_
