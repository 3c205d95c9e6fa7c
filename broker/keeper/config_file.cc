#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "broker/keeper/config.h"

namespace ivmq::broker {
namespace {

using transport::Code;
using transport::Result;
using transport::Status;

constexpr std::array<std::string_view, 7> kRealmKeys = {
    "name", "size", "huge-pages", "vectors", "vm-socket", "vm-socket-group", "node-socket"};
constexpr std::array<std::string_view, 6> kTopKeys = {
    "realm", "admin-socket", "log-level", "socket-mode", "socket-group", "control-binary"};

template <class Keys>
std::string ListOf(const Keys& keys) {
  return fmt::format("{}", fmt::join(keys, ", "));
}

class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  Status Read(const toml::table& top, ConfigText* text) {
    for (const auto& [key, node] : top) {
      const std::string_view name = key.str();
      if (name == "realm") {
        ReadRealmKey(node, text);
      } else if (!ReadRealmValue(name, node, &text->realm) && !ReadTopValue(name, node, text)) {
        Fail(node.source(), fmt::format("unknown key \"{}\": expected {}, or one of a realm: {}",
                                        name, ListOf(kTopKeys), ListOf(kRealmKeys)));
      }
    }
    if (status_.ok() && !text->realms.empty() && !text->realm.empty()) {
      return Status(Code::kInvalidArgument,
                    fmt::format("{}: with [[realm]] tables, size, huge-pages, vectors, "
                                "vm-socket, vm-socket-group and node-socket belong into them",
                                path_));
    }
    return status_;
  }

 private:
  // `realm = "name"` for the only one, or [[realm]] tables.
  void ReadRealmKey(const toml::node& node, ConfigText* text) {
    if (node.is_string()) {
      text->realm.name = **node.as_string();
      return;
    }
    const toml::array* tables = node.as_array();
    if (tables == nullptr || tables->empty() || !tables->is_homogeneous<toml::table>()) {
      return Fail(node.source(), "realm must be a name or [[realm]] tables");
    }
    for (const toml::node& table : *tables) {
      RealmText realm;
      for (const auto& [key, value] : *table.as_table()) {
        if (!ReadRealmValue(key.str(), value, &realm)) {
          Fail(value.source(), fmt::format("unknown key \"{}\" in [[realm]]: expected {}",
                                           key.str(), ListOf(kRealmKeys)));
        }
      }
      if (!realm.name) Fail(table.source(), "a [[realm]] table needs a name");
      text->realms.push_back(std::move(realm));
    }
  }

  bool ReadRealmValue(std::string_view name, const toml::node& node, RealmText* realm) {
    if (std::find(kRealmKeys.begin(), kRealmKeys.end(), name) == kRealmKeys.end()) return false;
    if (name == "vectors") {
      if (const auto* number = node.as_integer()) {
        realm->vectors = number->get();
      } else {
        Fail(node.source(), "vectors must be a number");
      }
    } else if (name == "huge-pages") {
      if (const auto* yes = node.as_boolean()) {
        realm->huge_pages = yes->get();
      } else {
        Fail(node.source(), "huge-pages must be true or false");
      }
    } else if (name == "size" && node.is_integer()) {
      realm->size = std::to_string(node.as_integer()->get());
    } else if (name == "vm-socket" && node.is_array()) {
      for (const toml::node& path : *node.as_array()) {
        realm->vm_sockets.push_back(Text(name, path));
      }
    } else if (name == "vm-socket") {
      realm->vm_sockets.push_back(Text(name, node));
    } else {
      (name == "name"              ? realm->name
       : name == "size"            ? realm->size
       : name == "vm-socket-group" ? realm->vm_socket_group
                                   : realm->node_socket) = Text(name, node);
    }
    return true;
  }

  bool ReadTopValue(std::string_view name, const toml::node& node, ConfigText* text) {
    if (std::find(kTopKeys.begin(), kTopKeys.end(), name) == kTopKeys.end()) return false;
    (name == "admin-socket"   ? text->admin_socket
     : name == "log-level"    ? text->log_level
     : name == "socket-mode"  ? text->socket_mode
     : name == "socket-group" ? text->socket_group
                              : text->control_binary) = Text(name, node);
    return true;
  }

  std::string Text(std::string_view name, const toml::node& node) {
    if (const auto* text = node.as_string()) return text->get();
    Fail(node.source(), fmt::format("{} must be a text in quotes", name));
    return {};
  }

  // Keeps the first failure.
  void Fail(const toml::source_region& where, const std::string& what) {
    if (!status_.ok()) return;
    status_ = Status(Code::kInvalidArgument, fmt::format("{}:{}:{}: {}", path_, where.begin.line,
                                                         where.begin.column, what));
  }

  const std::string path_;
  Status status_;
};

}  // namespace

Result<ConfigText> ReadConfigFile(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return Status(Code::kInvalidArgument, path + ": is a directory, and should be a TOML file");
  }
  std::ifstream file(path);
  if (!file) return Status(Code::kNotFound, fmt::format("{}: cannot be read", path));
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  ConfigText text;
  try {
    const toml::table top = toml::parse(content, path);
    if (Status status = Reader(path).Read(top, &text); !status.ok()) return status;
  } catch (const toml::parse_error& error) {
    return Status(Code::kInvalidArgument,
                  fmt::format("{}:{}:{}: {}", path, error.source().begin.line,
                              error.source().begin.column, error.description()));
  }
  return text;
}

}  // namespace ivmq::broker
