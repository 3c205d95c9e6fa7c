#include "sdk/agent/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

namespace ivmq::agent {
namespace {

constexpr int kMisused = 2;

std::string DefaultNodeSocket() {
  if (::geteuid() == 0) return "/run/ivmq/node.sock";
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr ? std::string(runtime) + "/ivmq/node.sock" : "/run/ivmq/node.sock";
}

std::string CheckDevice(const std::string& device) {
  if (device == "auto" || device.rfind("vfio:", 0) == 0 || device.rfind("pci:", 0) == 0) return {};
  return "'" + device + "' is not auto, vfio:BDF or pci:BDF (BDF like 0000:00:02.0)";
}

std::string CheckLogLevel(const std::string& level) {
  LogLevel parsed = LogLevel::kInfo;
  if (ParseLogLevel(level, &parsed)) return {};
  return "'" + level + "' is not debug, info, warning or error";
}

std::string CheckSocketPath(const std::string& path) {
  return path.empty() ? "the path is empty" : std::string();
}

// The same words as ivmqd's.
void AddSocketAccess(CLI::App* app, transport::SocketAccess* access) {
  const auto take_mode = [access](const std::string& text) {
    const auto mode = transport::ParseSocketMode(text);
    if (mode.ok()) access->mode = mode.value();
    return mode.ok() ? std::string() : "'" + text + "' " + mode.status().message();
  };
  const auto take_group = [access](const std::string& text) {
    const auto group = transport::ParseSocketGroup(text);
    if (group.ok()) access->group = group.value();
    return group.ok() ? std::string() : "'" + text + "': " + group.status().message();
  };
  app->add_option("--socket-mode",
                  "of the node socket, octal: who may attach may read and write all of the realm")
      ->check(CLI::Validator(take_mode, ""))
      ->type_name("TEXT")
      ->expected(1)
      ->default_str("0666");
  app->add_option("--socket-group", "group of the node socket")
      ->check(CLI::Validator(take_group, ""))
      ->type_name("TEXT")
      ->expected(1);
}

}  // namespace

bool ParseFlags(int argc, char** argv, Flags* flags, int* exit_code) {
  flags->node_socket = DefaultNodeSocket();
  CLI::App app(
      "Lends this machine's ivshmem device to its processes and carries their sessions to ivmqd on "
      "the host.",
      "ivmq-agent");
  app.set_version_flag("--version", "ivmq-agent " IVMQ_VERSION);
  app.add_option("--device", flags->device,
                 "auto: the first ivshmem device, by vfio where that works. vfio:BDF: with "
                 "interrupts. pci:BDF: through sysfs, receives by polling")
      ->check(CLI::Validator(CheckDevice, ""))
      ->capture_default_str();
  app.add_flag("--bind", flags->bind, "give the device to the vfio-pci driver first");
  app.add_option("--node-socket", flags->node_socket, "where processes attach")
      ->check(CLI::Validator(CheckSocketPath, ""))
      ->capture_default_str();
  AddSocketAccess(&app, &flags->access);
  std::string level = "info";
  app.add_option("--log-level", level, "debug, info, warning or error")
      ->check(CLI::Validator(CheckLogLevel, ""))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked = error.get_exit_code() == 0;  // for help or the version
    *exit_code = asked ? app.exit(error) : kMisused;
    if (!asked) std::fprintf(stderr, "ivmq-agent: %s; see `ivmq-agent --help`\n", error.what());
    return false;
  }
  return ParseLogLevel(level, &flags->log_level);
}

}  // namespace ivmq::agent
