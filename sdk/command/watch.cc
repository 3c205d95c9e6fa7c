#include "sdk/command/watch.h"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "sdk/command/admin_client.h"
#include "sdk/command/discovery.h"
#include "sdk/command/interrupt.h"
#include "sdk/command/lists.h"
#include "sdk/command/output.h"
#include "sdk/command/tables.h"

namespace ivmq::command {
namespace {

using transport::Result;
using transport::Status;

const char* KindText(v1::DiscoveryEvent::Kind kind) {
  switch (kind) {
    case v1::DiscoveryEvent::ADDED:
      return "+";
    case v1::DiscoveryEvent::CHANGED:
      return "~";
    case v1::DiscoveryEvent::REMOVED:
      return "-";
    default:
      return "?";
  }
}

std::string TypeText(const std::string& name) { return name.empty() ? "bytes" : name; }

std::string SubjectText(const v1::DiscoveryEvent& event) {
  switch (event.subject_case()) {
    case v1::DiscoveryEvent::kPeer:
      return fmt::format("peer {}: {}", event.peer().peer_id(),
                         StateText(v1::Peer::State_Name(event.peer().state())));
    case v1::DiscoveryEvent::kNode:
      return fmt::format("node {} {} (peer {}): {}, {}, {}", event.node().node_id(),
                         event.node().name(), event.node().peer_id(),
                         StateText(v1::Node::State_Name(event.node().state())),
                         CountOf(event.node().publishers(), "publisher"),
                         CountOf(event.node().subscribers(), "subscriber"));
    case v1::DiscoveryEvent::kTopic:
      return fmt::format("topic {} ({}): {}, {}", event.topic().name(),
                         TypeText(event.topic().type_name()),
                         CountOf(event.topic().publishers(), "publisher"),
                         CountOf(event.topic().subscribers(), "subscriber"));
    case v1::DiscoveryEvent::kService:
      return fmt::format("service {} ({} to {}): {}, {}", event.service().name(),
                         TypeText(event.service().request_type()),
                         TypeText(event.service().reply_type()),
                         CountOf(event.service().servers(), "server"),
                         CountOf(event.service().clients(), "client"));
    case v1::DiscoveryEvent::kLink:
      return fmt::format("link {} {}: {}@{} to {}@{}, {}{}{}", event.link().link_id(),
                         event.link().topic(), event.link().publisher_node(),
                         event.link().publisher_peer_id(), event.link().subscriber_node(),
                         event.link().subscriber_peer_id(),
                         StateText(v1::Link::State_Name(event.link().state())),
                         event.link().reason().empty() ? "" : ": ", event.link().reason());
    default:
      return "something that this command does not know; is ivmqd newer?";
  }
}

const std::string& RealmOf(const v1::DiscoveryEvent& event) {
  switch (event.subject_case()) {
    case v1::DiscoveryEvent::kPeer:
      return event.peer().realm();
    case v1::DiscoveryEvent::kNode:
      return event.node().realm();
    case v1::DiscoveryEvent::kTopic:
      return event.topic().realm();
    case v1::DiscoveryEvent::kService:
      return event.service().realm();
    default:
      return event.link().realm();
  }
}

// How events are shown.
struct Style {
  bool json = false;
  bool names_realms = false;
};

void PrintEvent(const v1::DiscoveryEvent& event, const Style& style) {
  if (style.json) return PrintLine(ToJsonLine(event));
  const auto now = std::chrono::system_clock::now();
  const std::string time = fmt::format("{:%H:%M:%S}", fmt::localtime(now));
  if (event.kind() == v1::DiscoveryEvent::SNAPSHOT_DONE) {
    return PrintLine(time + " = that is all there was; changes follow");
  }
  const std::string realm =
      style.names_realms ? fmt::format("realm {}: ", RealmOf(event)) : std::string();
  PrintLine(fmt::format("{} {} {}{}", time, KindText(event.kind()), realm, SubjectText(event)));
}

// Before anything was told nobody is kept waiting by a daemon that does not answer: there is
// nothing to put in order.
void EndUnless(const std::atomic<bool>& told) {
  if (!told) std::_Exit(kDone);
}

int WatchByNode(const CommandLine& line) {
  if (line.watch.links) {
    Complain("--links needs ivmqd's admin socket, which is on the host");
    return kMisused;
  }
  std::atomic<bool> told = false;
  const Interrupt interrupt([&told] { EndUnless(told); });
  const Style style{line.json};
  const Status status = WatchDiscovery(line.node_socket, line.watch, interrupt.fd(),
                                       [&](const v1::DiscoveryEvent& event) {
                                         told = true;
                                         PrintEvent(event, style);
                                       });
  if (status.ok()) return kDone;
  Complain(status.message());
  return kFailed;
}

}  // namespace

int RunWatch(const CommandLine& line) {
  if (UsesNodeSocket(line)) return WatchByNode(line);
  std::atomic<bool> told = false;
  std::unique_ptr<AdminClient> client;  // of the main thread's alone until something was told
  const Interrupt interrupt([&] {
    EndUnless(told);
    client->Cancel();
  });
  Result<std::unique_ptr<AdminClient>> admin = AdminClient::Connect(line.admin_socket);
  if (!admin.ok()) {
    Complain(admin.status().message());
    return kFailed;
  }
  client = std::move(admin).value();
  Style style{line.json};
  if (line.realm.empty()) {
    const auto realms = client->ListRealms();
    style.names_realms = realms.ok() && realms.value().realms_size() > 1;
  }
  const Status status = client->Watch(line.realm, line.watch, [&](const v1::DiscoveryEvent& event) {
    told = true;
    PrintEvent(event, style);
  });
  if (interrupt.happened()) return kDone;
  Complain(status.ok() ? "ivmqd ended the watch" : status.message());
  return kFailed;
}

int RunEvict(const CommandLine& line) {
  const Result<std::unique_ptr<AdminClient>> admin = AdminClient::Connect(line.admin_socket);
  if (!admin.ok()) {
    Complain(admin.status().message());
    return kFailed;
  }
  std::string realm = line.realm;
  if (line.subcommand == Subcommand::kEvictPeer && realm.empty()) {
    const auto realms = admin.value()->ListRealms();
    if (!realms.ok()) {
      Complain(realms.status().message());
      return kFailed;
    }
    if (realms.value().realms_size() != 1) {
      Complain(fmt::format("ivmqd serves {} realms: say which with --realm",
                           realms.value().realms_size()));
      return kMisused;
    }
    realm = realms.value().realms(0).name();
  }
  const bool is_node = line.subcommand == Subcommand::kEvictNode;
  const Status status = is_node
                            ? admin.value()->EvictNode(line.evict_id)
                            : admin.value()->EvictPeer(realm, static_cast<uint32_t>(line.evict_id));
  if (!status.ok()) {
    Complain(status.message());
    return kFailed;
  }
  if (line.json) {
    PrintLine(
        fmt::format(R"({{"evicted":"{}","id":"{}"}})", is_node ? "node" : "peer", line.evict_id));
  } else {
    PrintLine(fmt::format("evicted {} {}{}", is_node ? "node" : "peer", line.evict_id,
                          is_node ? ""
                                  : "; its memory and slot stay in use until its QEMU ends, and "
                                    "only a restart of the VM lets it in again"));
  }
  return kDone;
}

}  // namespace ivmq::command
