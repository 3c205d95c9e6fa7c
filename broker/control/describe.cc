#include "broker/control/describe.h"

#include <fmt/core.h>

#include <chrono>
#include <cstring>

namespace ivmq::control {
namespace {

uint64_t MillisecondsSince(Clock::time_point then) {
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - then);
  return age.count() > 0 ? static_cast<uint64_t>(age.count()) : 0;
}

}  // namespace

v1::Peer DescribePeer(const Peer& peer, const Directory& directory, const std::string& realm) {
  v1::Peer out;
  out.set_peer_id(peer.id);
  out.set_realm(realm);
  out.set_state(peer.state);
  out.set_pid(peer.pid);
  out.set_uid(peer.uid);
  out.set_socket(peer.socket);
  out.set_connected_ms(MillisecondsSince(peer.since));
  if (peer.id == 0) {
    out.set_interrupts(true);
  } else if (peer.agent) {
    out.set_interrupts(peer.agent->interrupts);
    out.set_boot_id(BootIdText(peer.agent->boot_id));
    out.set_heartbeat_age_ms(MillisecondsSince(peer.heartbeat_at));
  }
  uint32_t nodes = 0;
  for (const auto& [id, node] : directory.nodes()) nodes += node.peer_id == peer.id ? 1 : 0;
  out.set_nodes(nodes);
  return out;
}

v1::Node DescribeNode(const Node& node, const Directory& directory, const std::string& realm) {
  v1::Node out;
  out.set_node_id(node.id);
  out.set_name(node.name);
  out.set_realm(realm);
  out.set_peer_id(node.peer_id);
  out.set_pid(node.pid);
  out.set_uid(node.uid);
  out.set_vector(node.vector);
  uint32_t counts[2][2] = {};  // [of a service?][publishes?]
  for (const uint64_t id : node.endpoints) {
    const Endpoint& endpoint = directory.endpoints().at(id);
    ++counts[endpoint.of_service ? 1 : 0][endpoint.publishes ? 1 : 0];
  }
  out.set_publishers(counts[0][1]);
  out.set_subscribers(counts[0][0]);
  out.set_clients(counts[1][1]);
  out.set_servers(counts[1][0]);
  out.set_connected_ms(MillisecondsSince(node.since));
  out.set_state(node.online ? v1::Node::ONLINE : v1::Node::DETACHED);
  out.set_sdk_version(node.sdk_version);
  return out;
}

v1::Topic DescribeTopic(const std::string& name, const Topic& topic, const Directory& directory,
                        const std::string& realm) {
  v1::Topic out;
  out.set_name(name);
  out.set_realm(realm);
  out.set_type_name(directory.TypeOf(topic));
  const Directory::Extent extent = Directory::ExtentOf(topic);
  out.set_publishers(extent.publishers);
  out.set_subscribers(extent.subscribers);
  out.set_links(extent.links);
  return out;
}

v1::Service DescribeService(const std::string& name, const Service& service,
                            const Directory& directory, const std::string& realm) {
  v1::Service out;
  out.set_name(name);
  out.set_realm(realm);
  // A server without a request type takes any, a client without a reply type too: who names one
  // names the service's.
  for (const std::set<uint64_t>* side : {&service.servers, &service.clients}) {
    for (const uint64_t id : *side) {
      const Endpoint& endpoint = directory.endpoints().at(id);
      if (out.request_type().empty()) out.set_request_type(endpoint.type_name);
      if (out.reply_type().empty()) out.set_reply_type(endpoint.reply_type);
    }
  }
  out.set_servers(static_cast<uint32_t>(service.servers.size()));
  out.set_clients(static_cast<uint32_t>(service.clients.size()));
  out.set_links(service.links);
  return out;
}

v1::Link DescribeLink(const Link& link, const std::string& realm) {
  v1::Link out;
  out.set_link_id(link.id);
  out.set_realm(realm);
  out.set_topic(link.topic);
  out.set_publisher_node_id(link.publisher.node_id);
  out.set_publisher_node(link.publisher.node_name);
  out.set_publisher_peer_id(link.publisher.peer_id);
  out.set_subscriber_node_id(link.subscriber.node_id);
  out.set_subscriber_node(link.subscriber.node_name);
  out.set_subscriber_peer_id(link.subscriber.peer_id);
  out.set_ring_bytes(link.agreed.ring_bytes);
  out.set_reliability(link.agreed.reliability);
  out.set_depth(link.agreed.depth);
  out.set_history(link.agreed.history);
  out.set_kind(link.kind);
  out.set_pair_link_id(link.pair_id);
  out.set_state(StateOf(link.progress));
  std::string reason(ReasonOf(link.progress));
  if (!link.detail.empty()) reason += ": " + link.detail;
  out.set_reason(reason);
  if (link.was_asked) *out.mutable_counters() = link.counters;
  return out;
}

std::string UuidText(std::span<const uint8_t, 16> uuid) {
  std::string text;
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

std::string BootIdText(const BootId& boot_id) {
  uint8_t bytes[16];
  static_assert(sizeof(bytes) == sizeof(BootId));
  std::memcpy(bytes, boot_id.data(), sizeof(bytes));
  return UuidText(bytes);
}

}  // namespace ivmq::control
