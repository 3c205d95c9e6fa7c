#include "broker/keeper/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

namespace ivmq::broker {
namespace {

constexpr int kMisused = 2;

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
  app.add_option("--vectors", realm.vectors, "of each peer, as vectors= of its device, 1-256 (8)");
  app.add_option("--vm-socket", realm.vm_sockets, "where QEMU connects; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
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
