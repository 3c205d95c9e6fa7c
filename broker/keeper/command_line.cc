#include "broker/keeper/command_line.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>

#include "transport/region.h"

namespace ivmq::broker {
namespace {

constexpr int kMisused = 2;

// CLI11 takes what overflows for the largest number there is. Resolve() checks the range.
std::string CheckVectors(const std::string& text) {
  int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec == std::errc() && read.ptr == end) return {};
  return fmt::format("'{}' is not a whole number from 1 to {}", text, transport::kMaxVectors);
}

}  // namespace

CommandLine ParseCommandLine(int argc, char** argv) {
  CommandLine line;
  RealmText& realm = line.flags.realm;
  CLI::App app("ivmqd: message queues between virtual machines over ivshmem", "ivmqd");
  app.add_option("--config", line.config_path,
                 "TOML file with the same names as these flags; [[realm]] tables for several");
  app.add_option("--realm", realm.name, "name of the realm (default: default)");
  app.add_option("--size", realm.size, "of the region: a power of two, 1MiB or more (256MiB)");
  app.add_flag_callback(
      "--huge-pages", [&realm] { realm.huge_pages = true; },
      "lay the region on huge pages that are reserved (vm.nr_hugepages)");
  app.add_option("--vectors", realm.vectors, "of each peer, as vectors= of its device, 1-256 (8)")
      ->check(CLI::Validator(CheckVectors, ""));
  app.add_option("--vm-socket", realm.vm_sockets, "where QEMU connects; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--vm-socket-group", realm.vm_socket_group,
                 "group of the VM sockets, as QEMU's (default: of all sockets)");
  app.add_option("--node-socket", realm.node_socket, "where host processes attach");
  app.add_option("--admin-socket", line.flags.admin_socket, "where operators connect (gRPC)");
  app.add_option("--log-level", line.flags.log_level, "debug, info, warning or error (info)");
  app.add_option("--socket-mode", line.flags.socket_mode, "of all sockets, octal (0660)");
  app.add_option("--socket-group", line.flags.socket_group, "group of all sockets");
  app.add_option("--control-binary", line.flags.control_binary, "run this as control")->group("");
  app.set_version_flag("--version", "ivmqd " IVMQ_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    line.exit_code = error.get_exit_code() == 0 ? app.exit(error) : kMisused;
    if (*line.exit_code == kMisused) {
      std::fprintf(stderr, "ivmqd: %s; see `ivmqd --help`\n", error.what());
    }
  }
  return line;
}

}  // namespace ivmq::broker
