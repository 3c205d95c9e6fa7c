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
    if (!added->type_name.empty()) {
      topics_.at(added->topic).typed.emplace(!added->publishes, added->id);
    }
  }
  if (Node* node = FindNode(added->node_id)) node->endpoints.insert(added->id);
  CountBytes(*added, true);
  return added;
}

void Directory::RemoveEndpoint(uint64_t id) {
  const auto found = endpoints_.find(id);
  if (found == endpoints_.end()) return;
  for (const uint64_t link_id : found->second.links) Count(links_.at(link_id), false);
  const Endpoint endpoint = std::move(found->second);
  endpoints_.erase(found);
  PlaceOf(endpoint).erase(id);
  if (!endpoint.of_service) {
    (endpoint.publishes ? publishers_ : subscribers_).Erase(endpoint.topic, id);
    topics_.at(endpoint.topic).typed.erase({!endpoint.publishes, id});
  }
  if (Node* node = FindNode(endpoint.node_id)) node->endpoints.erase(id);
  CountBytes(endpoint, false);
  DropIfEmpty(endpoint);
}

uint64_t Directory::BookBytesOf(const Endpoint& endpoint) {
  // Of a tree, with what the allocator adds, beside what it holds.
  constexpr uint64_t kTreeNode = 48;
  // The endpoint, its name, and its ID at its node, its name, its type and in the trie.
  constexpr uint64_t kTrees = 6;
  uint64_t bytes = sizeof(Endpoint) + sizeof(Topic) + kTrees * kTreeNode;
  // Its own copy and those of the books of names and of types.
  bytes += 2 * endpoint.topic.size() + 3 * (endpoint.type_name.size() + endpoint.reply_type.size());
  if (!endpoint.of_service) {
    const auto dots = std::count(endpoint.topic.begin(), endpoint.topic.end(), '.');
    bytes += (1 + static_cast<uint64_t>(dots)) * TopicTrie::kLevelBytes;
  }
  return bytes;
}

uint64_t Directory::BookBytesOfPeer(uint32_t peer_id) const {
  const auto found = book_bytes_.find(peer_id);
  return found == book_bytes_.end() ? 0 : found->second;
}

void Directory::CountBytes(const Endpoint& endpoint, bool begins) {
  const Node* node = FindNode(endpoint.node_id);
  if (node == nullptr) return;
  uint64_t& bytes = book_bytes_[node->peer_id];
  bytes = begins ? bytes + BookBytesOf(endpoint) : bytes - BookBytesOf(endpoint);
  if (bytes == 0) book_bytes_.erase(node->peer_id);
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
  Count(*added, true);
  return added;
}

void Directory::RemoveLink(uint64_t id) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Count(found->second, false);
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

// Each link of a topic is also one of its publishers'; the links of a filter are its subscribers'.
Directory::Extent Directory::ExtentOf(const Topic& topic) {
  Extent extent;
  extent.publishers = static_cast<uint32_t>(topic.publishers.size());
  extent.subscribers = static_cast<uint32_t>(topic.subscribers.size());
  (topic.publishers.empty() ? extent.publishers : extent.subscribers) +=
      static_cast<uint32_t>(topic.by_filter.size());
  extent.links = topic.links;
  return extent;
}

void Directory::Count(const Link& link, bool begins) {
  const Endpoint* publisher = FindEndpoint(link.publisher.endpoint_id);
  const Endpoint* subscriber = FindEndpoint(link.subscriber.endpoint_id);
  if (publisher == nullptr || subscriber == nullptr) return;
  const uint32_t change = begins ? 1 : -1;
  if (publisher->of_service) {
    services_.at(publisher->topic).links += change;
    return;
  }
  topics_.at(publisher->topic).links += change;
  if (publisher->topic == subscriber->topic) return;
  topics_.at(subscriber->topic).links += change;
  for (const auto& [topic, other] :
       {std::pair(&publisher->topic, subscriber), std::pair(&subscriber->topic, publisher)}) {
    std::map<uint64_t, uint32_t>& by_filter = topics_.at(*topic).by_filter;
    const auto entry = by_filter.try_emplace(other->id, 0).first;
    entry->second += change;
    if (entry->second == 0) by_filter.erase(entry);
  }
}

std::string Directory::TypeOf(const Topic& topic) const {
  return topic.typed.empty() ? "" : endpoints_.at(topic.typed.begin()->second).type_name;
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
