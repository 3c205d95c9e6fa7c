#include "sdk/command/discovery.h"

#include <ivmq/ivmq.h>
#include <poll.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace ivmq::command {
namespace {

using transport::Result;

constexpr std::chrono::seconds kSnapshotWithin{5};
constexpr int kLookForDaemonMs = 1000;

transport::Status ToTransport(const ivmq::Status& status) {
  return transport::Status(static_cast<transport::Code>(status.code()), status.message());
}

std::string UpperCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

v1::Peer ToPeer(const Node::Discovery& found) {
  v1::Peer peer;
  peer.set_peer_id(static_cast<uint32_t>(found.id));
  v1::Peer::State state = v1::Peer::STATE_UNSPECIFIED;
  if (v1::Peer::State_Parse(UpperCase(found.detail), &state)) peer.set_state(state);
  return peer;
}

v1::Node ToNode(const Node::Discovery& found) {
  v1::Node node;
  node.set_node_id(found.id);
  node.set_name(found.name);
  node.set_peer_id(found.peer_id);
  node.set_publishers(found.publishers);
  node.set_subscribers(found.subscribers);
  node.set_clients(found.clients);
  node.set_servers(found.servers);
  v1::Node::State state = v1::Node::STATE_UNSPECIFIED;
  if (v1::Node::State_Parse(UpperCase(found.detail), &state)) node.set_state(state);
  return node;
}

v1::Topic ToTopic(const Node::Discovery& found) {
  v1::Topic topic;
  topic.set_name(found.name);
  topic.set_type_name(found.detail);
  topic.set_publishers(found.publishers);
  topic.set_subscribers(found.subscribers);
  return topic;
}

v1::Service ToService(const Node::Discovery& found) {
  v1::Service service;
  service.set_name(found.name);
  service.set_request_type(found.detail);
  service.set_reply_type(found.reply_type);
  service.set_clients(found.clients);
  service.set_servers(found.servers);
  return service;
}

v1::DiscoveryEvent ToEvent(const Node::Discovery& found, const std::string& realm) {
  v1::DiscoveryEvent event;
  switch (found.kind) {
    case Node::Discovery::Kind::kAdded:
      event.set_kind(v1::DiscoveryEvent::ADDED);
      break;
    case Node::Discovery::Kind::kChanged:
      event.set_kind(v1::DiscoveryEvent::CHANGED);
      break;
    case Node::Discovery::Kind::kRemoved:
      event.set_kind(v1::DiscoveryEvent::REMOVED);
      break;
    case Node::Discovery::Kind::kSnapshotDone:
      event.set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
      break;
  }
  switch (found.subject) {
    case Node::Discovery::Subject::kNone:
      break;
    case Node::Discovery::Subject::kPeer:
      *event.mutable_peer() = ToPeer(found);
      event.mutable_peer()->set_realm(realm);
      break;
    case Node::Discovery::Subject::kNode:
      *event.mutable_node() = ToNode(found);
      event.mutable_node()->set_realm(realm);
      break;
    case Node::Discovery::Subject::kTopic:
      *event.mutable_topic() = ToTopic(found);
      event.mutable_topic()->set_realm(realm);
      break;
    case Node::Discovery::Subject::kService:
      *event.mutable_service() = ToService(found);
      event.mutable_service()->set_realm(realm);
      break;
  }
  return event;
}

// What the handler fills. It may run once more while its node closes, so it is shared with it.
struct Collected {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<uint32_t, v1::Peer> peers;
  std::map<uint64_t, v1::Node> nodes;
  std::map<std::string, v1::Topic> topics;
  std::map<std::string, v1::Service> services;
  bool done = false;
};

// Something may change or go before all was told.
template <class Key, class Value>
void Apply(v1::DiscoveryEvent::Kind kind, const Key& key, const Value& value,
           std::map<Key, Value>* all) {
  if (kind == v1::DiscoveryEvent::REMOVED) {
    all->erase(key);
  } else {
    all->insert_or_assign(key, value);
  }
}

template <class Key, class Value>
std::vector<Value> ValuesOf(const std::map<Key, Value>& all) {
  std::vector<Value> values;
  values.reserve(all.size());
  for (const auto& [key, value] : all) values.push_back(value);
  return values;
}

bool IsWanted(const v1::DiscoveryEvent& event, const WatchOptions& what) {
  const bool all = !what.peers && !what.nodes && !what.topics && !what.links;
  switch (event.subject_case()) {
    case v1::DiscoveryEvent::kPeer:
      return all || what.peers;
    case v1::DiscoveryEvent::kNode:
      return all || what.nodes;
    case v1::DiscoveryEvent::kTopic:
    case v1::DiscoveryEvent::kService:
      return all || what.topics;
    default:
      return true;
  }
}

// A peer's nodes are those that were told, but for the command's own.
void CountNodes(Snapshot* snapshot) {
  for (v1::Peer& peer : snapshot->peers) {
    const auto count =
        std::count_if(snapshot->nodes.begin(), snapshot->nodes.end(),
                      [&](const v1::Node& node) { return node.peer_id() == peer.peer_id(); });
    peer.set_nodes(static_cast<uint32_t>(count));
  }
}

}  // namespace

Result<Snapshot> TakeSnapshot(const std::string& node_socket) {
  ivmq::Result<Node> node = Node::Open({.name = "ivmq", .socket_path = node_socket});
  if (!node.ok()) return ToTransport(node.status());
  auto collected = std::make_shared<Collected>();
  const auto collect = [collected, own = node->id(),
                        realm = node->realm()](const Node::Discovery& found) {
    const v1::DiscoveryEvent event = ToEvent(found, realm);
    const std::lock_guard lock(collected->mutex);
    if (collected->done) return;
    if (event.has_peer()) {
      Apply(event.kind(), event.peer().peer_id(), event.peer(), &collected->peers);
    }
    if (event.has_node() && event.node().node_id() != own) {
      Apply(event.kind(), event.node().node_id(), event.node(), &collected->nodes);
    }
    if (event.has_topic()) {
      Apply(event.kind(), event.topic().name(), event.topic(), &collected->topics);
    }
    if (event.has_service()) {
      Apply(event.kind(), event.service().name(), event.service(), &collected->services);
    }
    if (event.kind() == v1::DiscoveryEvent::SNAPSHOT_DONE) {
      collected->done = true;
      collected->changed.notify_all();
    }
  };
  if (ivmq::Status status = node->WatchDiscovery(collect); !status.ok()) {
    return ToTransport(status);
  }
  std::unique_lock lock(collected->mutex);
  if (!collected->changed.wait_for(lock, kSnapshotWithin, [&] { return collected->done; })) {
    return transport::Status(transport::Code::kDeadlineExceeded,
                             "ivmqd did not list what there is within 5 s");
  }
  Snapshot snapshot{ValuesOf(collected->peers), ValuesOf(collected->nodes),
                    ValuesOf(collected->topics), ValuesOf(collected->services)};
  CountNodes(&snapshot);
  return snapshot;
}

transport::Status WatchDiscovery(const std::string& node_socket, const WatchOptions& what,
                                 int stop_fd,
                                 const std::function<void(const v1::DiscoveryEvent&)>& on_event) {
  ivmq::Result<Node> node = Node::Open({.name = "ivmq", .socket_path = node_socket});
  if (!node.ok()) return ToTransport(node.status());
  const auto handler = [on_event, what, own = node->id(),
                        realm = node->realm()](const Node::Discovery& found) {
    const v1::DiscoveryEvent event = ToEvent(found, realm);
    if (event.has_node() && event.node().node_id() == own) return;
    if (IsWanted(event, what)) on_event(event);
  };
  if (ivmq::Status status = node->WatchDiscovery(handler); !status.ok()) {
    return ToTransport(status);
  }
  pollfd stop{stop_fd, POLLIN, 0};
  while (node->connected()) {
    if (::poll(&stop, 1, kLookForDaemonMs) > 0) {
      node->Close();
      return transport::Status();
    }
  }
  return transport::Status(transport::Code::kUnavailable, "the daemon has gone away");
}

}  // namespace ivmq::command
