#include "sdk/command/tables.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

constexpr Table::Align kRight = Table::Align::kRight;

// A subscriber that has left messages unread for so long is said to.
constexpr uint64_t kStoppedReadingMs = 1000;

std::string At(const std::string& node, uint32_t peer_id) {
  return fmt::format("{}@{}", node, peer_id);
}

// How far a node's figures can be trusted.
std::string Marked(uint64_t value, bool answered) {
  return fmt::format("{}{}", value, answered ? "" : "*");
}

std::string Unless(bool unknown, std::string text) { return unknown ? "-" : std::move(text); }

std::string QosText(const v1::Link& link) {
  switch (link.reliability()) {
    case v1::Qos::RELIABLE:
      return "reliable";
    case v1::Qos::DROP_NEWEST:
      return "drop-newest";
    case v1::Qos::KEEP_LAST:
      return fmt::format("keep-last {}", link.depth());
    default:
      return "-";
  }
}

}  // namespace

std::string StateText(const std::string& state_name) {
  if (state_name.empty() || state_name.ends_with("_UNSPECIFIED")) return "-";
  std::string text = state_name;
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string LinkTopicText(const v1::Link& link) {
  switch (link.kind()) {
    case v1::Link::REQUEST:
      return "requests of " + link.topic();
    case v1::Link::REPLY:
      return "replies of " + link.topic();
    default:
      return link.topic();
  }
}

uint64_t UnreadOf(const v1::Link& link) {
  const v1::LinkCounters& counters = link.counters();
  const uint64_t settled = counters.delivered() + counters.dropped_full() + counters.overwritten();
  return counters.published() > settled ? counters.published() - settled : 0;
}

std::string LinkStateText(const v1::Link& link) {
  std::string text = StateText(v1::Link::State_Name(link.state()));
  if (!link.reason().empty()) text += ": " + link.reason();
  const v1::LinkCounters& counters = link.counters();
  if (UnreadOf(link) > 0 && counters.read_age_ms() >= kStoppedReadingMs) {
    text += fmt::format(", last read {} ago{}", HumanDuration(counters.read_age_ms()),
                        counters.subscriber_answered() ? "" : ", does not answer");
  }
  return text;
}

RealmTable::RealmTable()
    : table_({{"REALM"},
              {"REGION", kRight},
              {"VECTORS", kRight},
              {"IN USE", kRight},
              {"ORPHANED", kRight},
              {"PEERS", kRight},
              {"LAST ID", kRight},
              {"REFUSED", kRight}}) {}

void RealmTable::Add(const v1::Realm& realm) {
  table_.Add({realm.name(), HumanBytes(static_cast<double>(realm.region_bytes())),
              std::to_string(realm.vectors()),
              HumanBytes(static_cast<double>(realm.arena_used_bytes())),
              HumanBytes(static_cast<double>(realm.arena_orphaned_bytes())),
              fmt::format("{}/{}", realm.peers_connected(), realm.peer_slots()),
              std::to_string(realm.last_peer_id()),
              std::to_string(realm.refused_ids_exhausted() + realm.refused_too_many_peers() +
                             realm.refused_table_of_evicted() + realm.refused_out_of_fds())});
}

std::string RealmTroubles(const v1::Realm& realm) {
  std::string troubles;
  const auto say = [&](uint64_t count, const char* why) {
    if (count == 0) return;
    troubles +=
        fmt::format("{}{} refused: {}", troubles.empty() ? "" : "; ", CountOf(count, "VM"), why);
  };
  say(realm.refused_ids_exhausted(), "all 65535 IDs were given out, restart ivmqd");
  say(realm.refused_too_many_peers(),
      "as many were connected as the peer table has room for, use a larger region");
  say(realm.refused_table_of_evicted(),
      "evicted VMs take places in the peer table, end their QEMUs (`ivmq peers` has their pids)");
  say(realm.refused_out_of_fds(), "ivmqd is out of file descriptors, raise the limit");
  if (realm.arena_orphaned_bytes() > 0) {
    troubles += fmt::format("{}{} orphaned: never used again before ivmqd restarts",
                            troubles.empty() ? "" : "; ",
                            HumanBytes(static_cast<double>(realm.arena_orphaned_bytes())));
  }
  return troubles.empty() ? troubles : fmt::format("realm {}: {}", realm.name(), troubles);
}

PeerTable::PeerTable()
    : table_({{"PEER", kRight},
              {"REALM"},
              {"STATE"},
              {"NODES", kRight},
              {"WAKES BY"},
              {"QEMU PID", kRight},
              {"UP", kRight},
              {"LAST BEAT", kRight},
              {"SOCKET"}}) {}

void PeerTable::Add(const v1::Peer& peer) {
  const bool host = peer.peer_id() == 0;
  table_.Add({std::to_string(peer.peer_id()), peer.realm(),
              host ? "host" : StateText(v1::Peer::State_Name(peer.state())),
              Unless(!peer.has_nodes(), std::to_string(peer.nodes())),
              Unless(!host && !peer.has_interrupts(),
                     host || peer.interrupts() ? "interrupts" : "polling"),
              Unless(peer.pid() == 0, std::to_string(peer.pid())),
              Unless(!peer.has_connected_ms(), HumanDuration(peer.connected_ms())),
              Unless(!peer.has_heartbeat_age_ms(), fmt::format("{} ms", peer.heartbeat_age_ms())),
              Unless(peer.socket().empty(), peer.socket())});
}

NodeTable::NodeTable()
    : table_({{"NODE", kRight},
              {"NAME"},
              {"REALM"},
              {"PEER", kRight},
              {"PID", kRight},
              {"STATE"},
              {"PUBS", kRight},
              {"SUBS", kRight},
              {"CLIENTS", kRight},
              {"SERVERS", kRight},
              {"UP", kRight},
              {"SDK"}}) {}

void NodeTable::Add(const v1::Node& node) {
  table_.Add({std::to_string(node.node_id()), node.name(), node.realm(),
              std::to_string(node.peer_id()), Unless(node.pid() == 0, std::to_string(node.pid())),
              StateText(v1::Node::State_Name(node.state())), std::to_string(node.publishers()),
              std::to_string(node.subscribers()), std::to_string(node.clients()),
              std::to_string(node.servers()),
              Unless(!node.has_connected_ms(), HumanDuration(node.connected_ms())),
              Unless(node.sdk_version().empty(), node.sdk_version())});
}

TopicTable::TopicTable()
    : table_(
          {{"TOPIC"}, {"REALM"}, {"TYPE"}, {"PUBS", kRight}, {"SUBS", kRight}, {"LINKS", kRight}}) {
}

void TopicTable::Add(const v1::Topic& topic) {
  table_.Add({topic.name(), topic.realm(), topic.type_name().empty() ? "bytes" : topic.type_name(),
              std::to_string(topic.publishers()), std::to_string(topic.subscribers()),
              Unless(!topic.has_links(), std::to_string(topic.links()))});
}

ServiceTable::ServiceTable()
    : table_({{"SERVICE"},
              {"REALM"},
              {"REQUEST"},
              {"REPLY"},
              {"SERVERS", kRight},
              {"CLIENTS", kRight},
              {"LINKS", kRight}}) {}

void ServiceTable::Add(const v1::Service& service) {
  const auto type = [](const std::string& name) { return name.empty() ? "bytes" : name; };
  table_.Add({service.name(), service.realm(), type(service.request_type()),
              type(service.reply_type()), std::to_string(service.servers()),
              std::to_string(service.clients()),
              Unless(!service.has_links(), std::to_string(service.links()))});
}

LinkTable::LinkTable()
    : table_({{"LINK", kRight},
              {"TOPIC"},
              {"PUBLISHER"},
              {"SUBSCRIBER"},
              {"QOS"},
              {"STATE"},
              {"PUBLISHED", kRight},
              {"DELIVERED", kRight},
              {"RING USED", kRight},
              {"BELLS", kRight},
              {"FULL", kRight}}) {}

void LinkTable::Add(const v1::Link& link) {
  const v1::LinkCounters& counters = link.counters();
  const bool known = link.has_counters();
  const bool publisher = counters.publisher_answered();
  const bool subscriber = counters.subscriber_answered();
  if (known && (!publisher || !subscriber)) has_old_figures_ = true;
  const auto figure = [&](std::string text) { return known ? std::move(text) : std::string("-"); };
  const std::string ring_used =
      link.ring_bytes() == 0
          ? "-"
          : fmt::format("{}/{}", HumanBytes(static_cast<double>(counters.ring_used_bytes())),
                        HumanBytes(static_cast<double>(link.ring_bytes())));
  table_.Add({std::to_string(link.link_id()), LinkTopicText(link),
              At(link.publisher_node(), link.publisher_peer_id()),
              At(link.subscriber_node(), link.subscriber_peer_id()), QosText(link),
              LinkStateText(link), figure(Marked(counters.published(), publisher)),
              figure(Marked(counters.delivered(), subscriber)), figure(ring_used),
              figure(std::to_string(counters.doorbells())),
              figure(std::to_string(counters.full()))});
}

void LinkTable::Print() const {
  table_.Print();
  if (has_old_figures_) PrintLine("* last known: that process did not answer in time");
}

}  // namespace ivmq::command
