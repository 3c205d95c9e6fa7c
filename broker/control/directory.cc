#include "broker/control/directory.h"

#include <utility>

#include "broker/control/check.h"

namespace ivmq::control {
namespace {

template <class Map>
auto* FindIn(Map& map, uint64_t id) {
  const auto found = map.find(id);
  return found == map.end() ? nullptr : &found->second;
}

template <class T>
T* Insert(std::map<uint64_t, T>* map, T thing) {
  const uint64_t id = thing.id;
  const auto [at, added] = map->emplace(id, std::move(thing));
  IVMQ_CHECK(added);
  return &at->second;
}

}  // namespace

Node* Directory::AddNode(Node node) { return Insert(&nodes_, std::move(node)); }
Node* Directory::FindNode(uint64_t id) { return FindIn(nodes_, id); }
Endpoint* Directory::FindEndpoint(uint64_t id) { return FindIn(endpoints_, id); }
Link* Directory::FindLink(uint64_t id) { return FindIn(links_, id); }

void Directory::RemoveNode(uint64_t id) {
  const Node* node = FindNode(id);
  IVMQ_CHECK(node == nullptr || node->endpoints.empty());
  nodes_.erase(id);
}

Endpoint* Directory::AddEndpoint(Endpoint endpoint) {
  Endpoint* added = Insert(&endpoints_, std::move(endpoint));
  Topic& topic = topics_[added->topic];
  (added->publishes ? topic.publishers : topic.subscribers).insert(added->id);
  if (Node* node = FindNode(added->node_id)) node->endpoints.insert(added->id);
  return added;
}

void Directory::RemoveEndpoint(uint64_t id) {
  const auto found = endpoints_.find(id);
  if (found == endpoints_.end()) return;
  const Endpoint endpoint = std::move(found->second);
  endpoints_.erase(found);
  Topic& topic = topics_.at(endpoint.topic);
  (endpoint.publishes ? topic.publishers : topic.subscribers).erase(id);
  if (Node* node = FindNode(endpoint.node_id)) node->endpoints.erase(id);
  DropTopicIfEmpty(endpoint.topic);
}

Link* Directory::AddLink(Link link) {
  Link* added = Insert(&links_, std::move(link));
  for (const LinkSide* side : {&added->publisher, &added->subscriber}) {
    if (Endpoint* endpoint = FindEndpoint(side->endpoint_id)) endpoint->links.insert(added->id);
    if (Node* node = FindNode(side->node_id)) node->links.insert(added->id);
  }
  return added;
}

void Directory::RemoveLink(uint64_t id) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  const Link link = std::move(found->second);
  links_.erase(found);
  for (const LinkSide* side : {&link.publisher, &link.subscriber}) {
    if (Endpoint* endpoint = FindEndpoint(side->endpoint_id)) endpoint->links.erase(id);
    if (Node* node = FindNode(side->node_id)) node->links.erase(id);
  }
}

const Topic* Directory::FindTopic(std::string_view name) const {
  const auto found = topics_.find(name);
  return found == topics_.end() ? nullptr : &found->second;
}

uint32_t Directory::LinksOf(const Topic& topic) const {
  uint32_t links = 0;
  for (const uint64_t publisher : topic.publishers) {
    for (const uint64_t id : endpoints_.at(publisher).links) {
      links += endpoints_.count(links_.at(id).subscriber.endpoint_id) != 0 ? 1 : 0;
    }
  }
  return links;
}

std::string Directory::TypeOf(const Topic& topic) const {
  for (const std::set<uint64_t>* side : {&topic.publishers, &topic.subscribers}) {
    for (const uint64_t id : *side) {
      if (const std::string& type = endpoints_.at(id).type_name; !type.empty()) return type;
    }
  }
  return "";
}

void Directory::DropTopicIfEmpty(const std::string& name) {
  const auto found = topics_.find(name);
  if (found == topics_.end()) return;
  const Topic& topic = found->second;
  if (topic.publishers.empty() && topic.subscribers.empty()) topics_.erase(found);
}

}  // namespace ivmq::control
