#include "sdk/command/doctor.h"

#include <fmt/core.h>
#include <ivmq/ivmq.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sdk/command/admin_client.h"
#include "sdk/command/doctor_guest.h"
#include "sdk/command/doctor_host.h"
#include "sdk/command/doctor_machine.h"
#include "sdk/command/doctor_region.h"
#include "sdk/command/findings.h"
#include "sdk/command/lists.h"
#include "sdk/command/output.h"
#include "sdk/command/tables.h"
#include "sdk/node/defaults.h"
#include "transport/attach_client.h"
#include "transport/pci_scan.h"
#include "transport/unix_socket.h"

namespace ivmq::command {
namespace {

using transport::Attached;
using transport::Code;
using transport::Result;

constexpr std::chrono::milliseconds kAttachWithin{2000};
constexpr const char* kRestartVm =
    "or ivmqd was restarted or this VM evicted since: then restart the VM";

std::string Modes(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return path;
  return fmt::format("{} (mode {:03o}, uid {}, gid {})", path, info.st_mode & 0777U, info.st_uid,
                     info.st_gid);
}

std::string DaemonName(bool guest) { return guest ? "ivmq-agent" : "ivmqd"; }

// The first node socket that exists, else the first that would be tried.
std::string NodeSocketOf(const CommandLine& line) {
  const std::vector<std::string> paths =
      internal::NodeSocketPaths(line.node_socket, internal::CurrentSocketEnvironment());
  for (const std::string& path : paths) {
    if (::access(path.c_str(), F_OK) == 0) return path;
  }
  return paths.empty() ? std::string("/run/ivmq/node.sock") : paths.front();
}

void FailToAttach(const transport::Status& status, const std::string& socket, bool guest,
                  Findings* findings) {
  const std::string daemon = DaemonName(guest);
  const bool exists = ::access(socket.c_str(), F_OK) == 0;
  std::string mend = fmt::format("look into the log of {}", daemon);
  if (!exists) {
    mend = fmt::format("start {} (systemctl start {}), or name its socket with --node-socket",
                       daemon, daemon);
  } else if (status.code() == Code::kUnavailable) {
    mend = guest ? fmt::format("see that ivmqd runs on the host; {}", kRestartVm)
                 : "start ivmqd (systemctl restart ivmqd)";
  } else if (status.code() == Code::kPermissionDenied) {
    mend = fmt::format("{}run as a user who may open the socket: {}",
                       guest ? "" : "start ivmqd with --socket-group of a group of this user, or ",
                       Modes(socket));
  } else if (status.code() == Code::kFailedPrecondition) {
    mend = "install the same version of ivmq on host and guest";
  }
  findings->Fail("daemon", status.message(), mend);
}

std::optional<Attached> ExamineDaemon(const std::string& socket, bool guest, Findings* findings) {
  Result<Attached> attached =
      transport::Attach(socket, std::chrono::steady_clock::now() + kAttachWithin);
  if (!attached.ok()) {
    FailToAttach(attached.status(), socket, guest, findings);
    return std::nullopt;
  }
  const auto server = transport::PeerOf(attached.value().connection.get());
  findings->Ok(
      "daemon",
      fmt::format("{} attaches processes at {}{}", DaemonName(guest), Modes(socket),
                  server.ok() ? fmt::format(", pid {}", server.value().pid) : std::string()));
  return std::move(attached).value();
}

// A whole session: control must answer.
void ExamineSession(const std::string& socket, bool guest, Findings* findings) {
  const auto begin = std::chrono::steady_clock::now();
  auto node = Node::Open({.name = "ivmq-doctor", .socket_path = socket});
  if (!node.ok()) {
    findings->Fail("control", node.status().message(),
                   guest ? fmt::format("see that ivmqd runs on the host; {}", kRestartVm)
                         : "restart ivmqd; its log says why control ended");
    return;
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  findings->Ok("control", fmt::format("registered as node {} of peer {} in {:.1f} ms", node->id(),
                                      node->peer_id(), took.count()));
  ExamineWriting(&node.value(), findings);
}

v1::ListPeersResponse ExamineAdmin(const CommandLine& line, Findings* findings) {
  const auto admin = AdminClient::Connect(line.admin_socket);
  if (!admin.ok()) {
    findings->Warn("admin socket", admin.status().message(),
                   "without it, realms and QEMUs cannot be examined");
    return {};
  }
  const auto realms = admin.value()->ListRealms();
  if (!realms.ok()) {
    findings->Fail("admin socket", realms.status().message(), "restart ivmqd");
    return {};
  }
  findings->Ok("admin socket", fmt::format("{}, ivmqd {}", Modes(line.admin_socket),
                                           realms.value().daemon_version()));
  for (const v1::Realm& realm : realms.value().realms()) {
    const double used = realm.arena_bytes() == 0
                            ? 0
                            : 100.0 * static_cast<double>(realm.arena_used_bytes()) /
                                  static_cast<double>(realm.arena_bytes());
    const std::string troubles = RealmTroubles(realm);
    const std::string found =
        fmt::format("{}: {} of memory, {:.0f} % in use, {} VM{}", realm.name(),
                    HumanBytes(static_cast<double>(realm.region_bytes())), used,
                    realm.peers_connected(), realm.peers_connected() == 1 ? "" : "s");
    if (!troubles.empty()) {
      findings->Warn("realm", troubles, "restart ivmqd with a larger --size or a higher limit");
    } else {
      findings->Expect(used < 90, "realm", found, "restart ivmqd with a larger --size");
    }
  }
  auto known = admin.value()->ListPeers("");
  if (!known.ok()) {
    findings->Fail("admin socket", known.status().message(), "restart ivmqd");
    return {};
  }
  ExaminePeers(known.value(), findings);
  const auto links = admin.value()->ListLinks("", "");
  if (links.ok()) {
    ExamineLinks(links.value(), findings);
  } else {
    findings->Fail("admin socket", links.status().message(), "restart ivmqd");
  }
  return std::move(known).value();
}

}  // namespace

int RunDoctor(const CommandLine& line) {
  Findings findings(line.json);
  const std::vector<transport::PciFunction> devices =
      transport::FindIvshmemDevices(transport::PciPaths());
  const bool has_admin = ::access(line.admin_socket.c_str(), F_OK) == 0;
  const bool guest = !devices.empty() && !has_admin && !line.admin_socket_given;
  ExamineMachine(guest, &findings);
  if (guest) ExamineDevices(devices, &findings);

  const std::string socket = NodeSocketOf(line);
  const std::optional<Attached> attached = ExamineDaemon(socket, guest, &findings);
  std::vector<std::string> sockets;  // where ivmqd listens, as far as it may be seen
  if (attached) {
    ExamineRegion(*attached, &findings);
    if (guest) ExamineVectors(devices, attached->region, &findings);
    const bool has_iommu =
        !guest || std::any_of(devices.begin(), devices.end(),
                              [](const auto& device) { return device.iommu_group.has_value(); });
    ExamineDoorbell(*attached, has_iommu, &findings);
    ExamineSession(socket, guest, &findings);
    const auto server = transport::PeerOf(attached->connection.get());
    if (server.ok()) {
      ExamineFileLimit(DaemonName(guest), server.value().pid, 0, &findings);
      if (!guest) sockets = ListeningSockets(server.value().pid);
    }
  }
  if (!guest) {
    const v1::ListPeersResponse known = ExamineAdmin(line, &findings);
    if (known.realms().empty()) sockets.clear();  // nor are its peers known
    ExamineQemus(known, sockets, &findings);
  }
  findings.PrintSummary();
  return findings.failures() > 0 ? kFailed : kDone;
}

}  // namespace ivmq::command
