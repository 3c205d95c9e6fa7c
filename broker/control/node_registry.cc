#include "broker/control/node_registry.h"

#include <fmt/core.h>

#include <algorithm>
#include <new>
#include <utility>

#include "broker/control/check.h"
#include "broker/control/matchmaker.h"
#include "broker/control/misfits.h"
#include "broker/control/topic_name.h"
#include "transport/attach_protocol.h"
#include "transport/region.h"
#include "transport/region_layout.h"

namespace ivmq::control {
namespace {

std::string_view Prefix(const std::string& text, size_t bytes) {
  return std::string_view(text).substr(0, bytes);
}

}  // namespace

absl::StatusOr<const Node*> NodeRegistry::AddNode(NewNode wish) {
  if (absl::Status status = ValidateNodeName(wish.name); !status.ok()) return status;
  const uint32_t peer_id = wish.origin.peer_id;
  const auto& nodes = state_->directory.nodes();
  const auto there = static_cast<size_t>(std::count_if(
      nodes.begin(), nodes.end(), [&](const auto& n) { return n.second.peer_id == peer_id; }));
  if (there >= transport::kMaxNodesPerPeer) {
    return absl::ResourceExhaustedError(fmt::format(
        "peer {} has {} nodes, at most {} are allowed; `ivmq nodes` lists them. End some", peer_id,
        there, transport::kMaxNodesPerPeer));
  }
  const uint64_t id = state_->ids->Next();
  const absl::StatusOr<uint64_t> wake =
      state_->ledger.Allocate(sizeof(transport::WakeBlock), transport::kCacheLineBytes, id);
  if (!wake.ok()) return wake.status();
  std::byte* block = transport::CheckedRange(
      state_->device->region(), *wake, sizeof(transport::WakeBlock), transport::kCacheLineBytes);
  IVMQ_CHECK(block != nullptr);
  new (block) transport::WakeBlock{};
  Node node;
  node.id = id;
  node.name = std::move(wish.name);
  // For people only: whatever it says must not break a table.
  node.sdk_version = IsPrintableUtf8(Prefix(wish.sdk_version, kMaxNodeNameBytes))
                         ? Prefix(wish.sdk_version, kMaxNodeNameBytes)
                         : "";
  node.peer_id = peer_id;
  node.pid = wish.origin.pid;
  node.uid = wish.origin.uid;
  node.agent_nonce = wish.origin.agent_nonce;
  node.connection_id = wish.origin.connection_id;
  node.vector = wish.origin.vector;
  node.polls = wish.origin.polls;
  node.wake_offset = *wake;
  node.since = Clock::now();
  node.sink = wish.sink;
  const Node* added = state_->directory.AddNode(std::move(node));
  state_->Tell(v1::DiscoveryEvent::ADDED, *added);
  return added;
}

void NodeRegistry::Leave(uint64_t node_id, SideEvent how) {
  Node* node = state_->directory.FindNode(node_id);
  if (node == nullptr) return;
  node->sink = nullptr;
  const bool was_online = std::exchange(node->online, false);
  const std::vector<uint64_t> link_ids(node->links.begin(), node->links.end());
  for (const uint64_t link_id : link_ids) links_.OnNode(link_id, node_id, how);
  RemoveEndpoints(node_id);
  RemoveRefusalsOfNode(node_id);
  if (how == SideEvent::kLost || how == SideEvent::kEvicted) {
    if (was_online) state_->Tell(v1::DiscoveryEvent::CHANGED, *node);
    return;
  }
  state_->ledger.ReleaseAll(node_id);
  state_->Tell(v1::DiscoveryEvent::REMOVED, *node);
  state_->directory.RemoveNode(node_id);
}

void NodeRegistry::LeaveAll(uint32_t peer_id, SideEvent how) {
  std::vector<uint64_t> ids;
  for (const auto& [id, node] : state_->directory.nodes()) {
    if (node.peer_id == peer_id) ids.push_back(id);
  }
  for (const uint64_t id : ids) Leave(id, how);
}

void NodeRegistry::ProcessDied(const Origin& process) {
  std::vector<uint64_t> ids;
  for (const auto& [id, node] : state_->directory.nodes()) {
    if (node.peer_id == process.peer_id && node.agent_nonce == process.agent_nonce &&
        node.connection_id == process.connection_id) {
      ids.push_back(id);
    }
  }
  for (const uint64_t id : ids) Leave(id, SideEvent::kDied);
}

void NodeRegistry::RemoveEndpoints(uint64_t node_id) {
  const Node* node = state_->directory.FindNode(node_id);
  const std::vector<uint64_t> ids(node->endpoints.begin(), node->endpoints.end());
  for (const uint64_t id : ids) RemoveEndpoint(id);
}

void NodeRegistry::RemoveEndpoint(uint64_t endpoint_id) {
  const Endpoint endpoint = *state_->directory.FindEndpoint(endpoint_id);
  const std::set<std::string> others = OtherTexts(endpoint);
  state_->directory.RemoveEndpoint(endpoint_id);
  ForgetMisfits(state_, endpoint_id);
  state_->types.Remove(endpoint_id);
  if (endpoint.of_service) {
    state_->TellService(endpoint.topic);
  } else {
    state_->TellTopic(endpoint.topic);
    for (const std::string& text : others) state_->TellTopic(text);
  }
}

// The filters that its topic passes, or the topics that pass its filter, on links that are not
// over: they count only those whose two endpoints are registered.
std::set<std::string> NodeRegistry::OtherTexts(const Endpoint& endpoint) {
  std::set<std::string> texts;
  for (const uint64_t link_id : endpoint.links) {
    const Link& link = *state_->directory.FindLink(link_id);
    const Endpoint* other =
        state_->directory.FindEndpoint(link.side(!endpoint.publishes).endpoint_id);
    if (other != nullptr && other->topic != endpoint.topic) texts.insert(other->topic);
  }
  return texts;
}

void NodeRegistry::RemoveRefusalsOfNode(uint64_t node_id) {
  state_->refusals.RemoveNode(node_id, [&](const Refusals::Record& record) {
    state_->TellLink(v1::DiscoveryEvent::REMOVED, record.link);
  });
}

absl::StatusOr<NodeRegistry::Registered> NodeRegistry::Register(NewEndpoint wish) {
  absl::Status named = wish.publishes ? ValidateTopic(wish.topic) : ValidateFilter(wish.topic);
  if (!named.ok()) return named;
  if (absl::Status status = ValidateTypeName(wish.type_name); !status.ok()) return status;
  if (absl::Status status = ValidateQos(wish.qos, wish.publishes); !status.ok()) return status;
  const std::vector<std::string> types = {wish.type_name};
  absl::Status described = TypeBook::Validate(wish.file_descriptor_set, types);
  if (!described.ok()) return described;
  Node* node = state_->directory.FindNode(wish.node_id);
  IVMQ_CHECK(node != nullptr && node->online);
  Endpoint newcomer;
  newcomer.node_id = wish.node_id;
  newcomer.publishes = wish.publishes;
  newcomer.topic = std::move(wish.topic);
  newcomer.type_name = std::move(wish.type_name);
  newcomer.qos = std::move(wish.qos);
  newcomer.is_filter = HasWildcard(newcomer.topic);
  if (absl::Status status = CheckRoom(*node, newcomer); !status.ok()) return status;

  std::vector<Match> matches = FindMatches(newcomer);
  if (absl::Status status = CheckMatches(newcomer, matches); !status.ok()) return status;
  newcomer.id = state_->ids->Next();
  const bool topic_is_new = state_->directory.FindTopic(newcomer.topic) == nullptr;
  const Endpoint* added = state_->directory.AddEndpoint(std::move(newcomer));
  const absl::StatusOr<std::vector<uint64_t>> links = CreateLinks(*added, &matches);
  if (!links.ok()) {
    state_->directory.RemoveEndpoint(added->id);
    return links.status();
  }
  if (added->publishes) state_->types.Add(added->id, types, wish.file_descriptor_set);
  if (topic_is_new) {
    state_->TellTopicAdded(added->topic);
  } else {
    state_->TellTopic(added->topic);
  }
  for (const uint64_t link_id : *links) {
    links_.Announce(link_id);
    TellOtherText(*added, link_id);
  }
  TellMisfits(*added, matches);
  state_->Tell(v1::DiscoveryEvent::CHANGED, *node);
  return Registered{added->id, static_cast<uint32_t>(links->size())};
}

absl::Status NodeRegistry::CheckRoom(const Node& node, const Endpoint& newcomer) const {
  if (node.endpoints.size() >= kMaxEndpointsPerNode) {
    return absl::ResourceExhaustedError(
        fmt::format("node {} has {} publishers, subscribers, clients and servers, at most {} are "
                    "allowed",
                    Quoted(node.name), node.endpoints.size(), kMaxEndpointsPerNode));
  }
  const uint64_t used = state_->directory.BookBytesOfPeer(node.peer_id);
  const uint64_t asked = Directory::BookBytesOf(newcomer);
  if (used + asked <= max_book_bytes_) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "the publishers, subscribers, clients and servers of peer {} take {} bytes of the "
      "daemon's memory and this one asks for {}, at most {} are allowed; close some, or "
      "use shorter names of fewer tokens",
      node.peer_id, used, asked, max_book_bytes_));
}

// The filter that let the newcomer's topic pass, or the topic that its filter let pass, has
// changed.
void NodeRegistry::TellOtherText(const Endpoint& newcomer, uint64_t link_id) {
  const Link& link = *state_->directory.FindLink(link_id);
  const uint64_t other = link.side(!newcomer.publishes).endpoint_id;
  const std::string& text = state_->directory.FindEndpoint(other)->topic;
  if (text != newcomer.topic) state_->TellTopic(text);
}

std::vector<NodeRegistry::Match> NodeRegistry::FindMatches(const Endpoint& newcomer) {
  Directory& directory = state_->directory;
  const Node& node = *directory.FindNode(newcomer.node_id);
  const std::vector<uint64_t> ids = directory.FindMatches(newcomer);
  std::vector<Match> matches;
  matches.reserve(ids.size());
  for (const uint64_t id : ids) {
    const Endpoint& other = *directory.FindEndpoint(id);
    const Node& other_node = *directory.FindNode(other.node_id);
    const bool publishes = newcomer.publishes;
    const Endpoint& from = publishes ? newcomer : other;
    const Endpoint& to = publishes ? other : newcomer;
    const Node& from_node = publishes ? node : other_node;
    const Node& to_node = publishes ? other_node : node;
    const absl::Status type = Fits(from, from_node, to, to_node);
    if (type.ok()) {
      matches.push_back({id, Agree(from, from_node, to, to_node), true});
    } else {
      matches.push_back({id, type, false});
    }
  }
  return matches;
}

absl::Status NodeRegistry::CheckMatches(const Endpoint& newcomer,
                                        const std::vector<Match>& matches) {
  if (newcomer.is_filter) return absl::OkStatus();
  const bool fits_some = std::any_of(matches.begin(), matches.end(),
                                     [](const Match& match) { return match.agreed.ok(); });
  if (!newcomer.publishes && fits_some) return absl::OkStatus();
  absl::Status first;
  for (const Match& match : matches) {
    const Endpoint& other = *state_->directory.FindEndpoint(match.id);
    const bool refuses =
        newcomer.publishes ? !match.type_fits && !other.is_filter : !match.agreed.ok();
    if (!refuses) continue;
    ReportMisfit(state_, newcomer, other, match.agreed.status());
    if (first.ok()) first = match.agreed.status();
  }
  return first;
}

void NodeRegistry::TellMisfits(const Endpoint& newcomer, const std::vector<Match>& matches) {
  size_t told = 0;
  for (const Match& match : matches) {
    if (match.agreed.ok()) continue;
    const Endpoint& other = *state_->directory.FindEndpoint(match.id);
    ReportMisfit(state_, newcomer, other, match.agreed.status());
    if (++told > kMostToldToNewcomer) continue;
    TellNewcomer(state_, newcomer, other, match.agreed.status());
  }
}

absl::StatusOr<std::vector<uint64_t>> NodeRegistry::CreateLinks(const Endpoint& newcomer,
                                                                std::vector<Match>* matches) {
  std::vector<uint64_t> made;
  for (Match& match : *matches) {
    if (!match.agreed.ok()) continue;
    const Endpoint& other = *state_->directory.FindEndpoint(match.id);
    const absl::StatusOr<uint64_t> link = newcomer.publishes
                                              ? links_.Create(newcomer, other, *match.agreed)
                                              : links_.Create(other, newcomer, *match.agreed);
    const bool by_filter = newcomer.is_filter || other.is_filter;
    if (by_filter && absl::IsResourceExhausted(link.status())) {
      match.agreed = link.status();
      continue;
    }
    if (!link.ok()) {
      for (const uint64_t link_id : made) links_.Cancel(link_id);
      return link.status();
    }
    made.push_back(*link);
  }
  return made;
}

absl::Status NodeRegistry::Unregister(uint64_t node_id, uint64_t endpoint_id) {
  const Endpoint* endpoint = state_->directory.FindEndpoint(endpoint_id);
  if (endpoint == nullptr || endpoint->node_id != node_id) {
    return absl::NotFoundError(
        fmt::format("this node has no publisher, subscriber, client or server {}", endpoint_id));
  }
  const std::vector<uint64_t> link_ids(endpoint->links.begin(), endpoint->links.end());
  for (const uint64_t link_id : link_ids) {
    // A client publishes on one of its links and receives from the other.
    const Link* link = state_->directory.FindLink(link_id);
    links_.OnSide(link_id, link->publisher.endpoint_id == endpoint_id, SideEvent::kClosed);
  }
  RemoveEndpoint(endpoint_id);
  if (const Node* node = state_->directory.FindNode(node_id)) {
    state_->Tell(v1::DiscoveryEvent::CHANGED, *node);
  }
  return absl::OkStatus();
}

}  // namespace ivmq::control
