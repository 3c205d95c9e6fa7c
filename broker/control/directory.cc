#include "broker/control/directory.h"

#include <algorithm>
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
  PlaceOf(*added).insert(added->id);
  if (!added->of_service) {
    (added->publishes ? publishers_ : subscribers_).Insert(added->topic, added->id);
  }
  if (Node* node = FindNode(added->node_id)) node->endpoints.insert(added->id);
  return added;
}

void Directory::RemoveEndpoint(uint64_t id) {
  const auto found = endpoints_.find(id);
  if (found == endpoints_.end()) return;
  const Endpoint endpoint = std::move(found->second);
  endpoints_.erase(found);
  PlaceOf(endpoint).erase(id);
  if (!endpoint.of_service) {
    (endpoint.publishes ? publishers_ : subscribers_).Erase(endpoint.topic, id);
  }
  if (Node* node = FindNode(endpoint.node_id)) node->endpoints.erase(id);
  DropIfEmpty(endpoint);
}

std::set<uint64_t>& Directory::PlaceOf(const Endpoint& endpoint) {
  if (endpoint.of_service) {
    Service& service = services_[endpoint.topic];
    return endpoint.publishes ? service.clients : service.servers;
  }
  Topic& topic = topics_[endpoint.topic];
  return endpoint.publishes ? topic.publishers : topic.subscribers;
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

const Service* Directory::FindService(std::string_view name) const {
  const auto found = services_.find(name);
  return found == services_.end() ? nullptr : &found->second;
}

uint32_t Directory::LinksOf(const Service& service) const {
  uint32_t links = 0;
  for (const uint64_t client : service.clients) {
    for (const uint64_t id : endpoints_.at(client).links) {
      const Link& link = links_.at(id);
      const bool both = endpoints_.count(link.publisher.endpoint_id) != 0 &&
                        endpoints_.count(link.subscriber.endpoint_id) != 0;
      links += both ? 1 : 0;
    }
  }
  return links;
}

std::vector<uint64_t> Directory::FindMatches(const Endpoint& endpoint) const {
  std::vector<uint64_t> ids;
  if (endpoint.publishes) {
    subscribers_.FindFor(endpoint.topic, &ids);
  } else {
    publishers_.FindPassing(endpoint.topic, &ids);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Directory::Extent Directory::ExtentOf(const Topic& topic) const {
  std::set<uint64_t> publishers = topic.publishers;
  std::set<uint64_t> subscribers = topic.subscribers;
  // A topic that somebody publishes has all its links there; a filter has them at its subscribers.
  const std::set<uint64_t>& owners = publishers.empty() ? topic.subscribers : topic.publishers;
  Extent extent;
  for (const uint64_t owner : owners) {
    for (const uint64_t id : endpoints_.at(owner).links) {
      const Link& link = links_.at(id);
      const uint64_t publisher = link.publisher.endpoint_id;
      const uint64_t subscriber = link.subscriber.endpoint_id;
      if (endpoints_.count(publisher) == 0 || endpoints_.count(subscriber) == 0) continue;
      publishers.insert(publisher);
      subscribers.insert(subscriber);
      ++extent.links;
    }
  }
  extent.publishers = static_cast<uint32_t>(publishers.size());
  extent.subscribers = static_cast<uint32_t>(subscribers.size());
  return extent;
}

std::string Directory::TypeOf(const Topic& topic) const {
  for (const std::set<uint64_t>* side : {&topic.publishers, &topic.subscribers}) {
    for (const uint64_t id : *side) {
      if (const std::string& type = endpoints_.at(id).type_name; !type.empty()) return type;
    }
  }
  return "";
}

void Directory::DropIfEmpty(const Endpoint& endpoint) {
  if (endpoint.of_service) {
    const auto found = services_.find(endpoint.topic);
    if (found == services_.end()) return;
    const Service& service = found->second;
    if (service.clients.empty() && service.servers.empty()) services_.erase(found);
    return;
  }
  const auto found = topics_.find(endpoint.topic);
  if (found == topics_.end()) return;
  const Topic& topic = found->second;
  if (topic.publishers.empty() && topic.subscribers.empty()) topics_.erase(found);
}

}  // namespace ivmq::control
