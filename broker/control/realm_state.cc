#include "broker/control/realm_state.h"

#include <optional>
#include <utility>

#include "broker/control/describe.h"
#include "broker/control/ring_reading.h"

namespace ivmq::control {

RealmState::RealmState(std::string realm_name, uint32_t realm_index,
                       transport::RegionInfo region_info,
                       std::shared_ptr<transport::MemfdDevice> region_device, IdSource* id_source)
    : name(std::move(realm_name)),
      index(realm_index),
      info(std::move(region_info)),
      device(std::move(region_device)),
      ids(id_source),
      ledger(Arena(info.arena_offset, info.arena_bytes)),
      ready(&ledger, device->region()) {}

int RealmState::DoorbellFd(uint32_t peer, uint32_t vector) const {
  if (peer == 0) return device->vector_fd(vector);
  const auto found = peers.find(peer);
  if (found == peers.end() || vector >= found->second.doorbells.size()) return -1;
  return found->second.doorbells[vector]->get();
}

void RealmState::NoteReads() {
  for (const auto& [id, link] : directory.links()) {
    const Agreement& agreed = link.agreed;
    const ReadingProgress progress =
        agreed.has_slots() ? ReadKeepLastProgress(device->region(), link.ring_offset, agreed.depth,
                                                  agreed.max_message_bytes)
                           : ReadProgress(device->region(), link.ring_offset, agreed.ring_bytes);
    if (progress.read == link.read && progress.unread) continue;
    Link* const mine = directory.FindLink(id);
    mine->read = progress.read;
    mine->read_at = Clock::now();
  }
}

LinkLook RealmState::LookAt(const Link& link) const {
  const Agreement& agreed = link.agreed;
  return {link.counters, agreed.has_slots()
                             ? ReadKeepLast(device->region(), link.ring_offset, agreed.depth,
                                            agreed.max_message_bytes)
                             : ReadRing(device->region(), link.ring_offset, agreed.ring_bytes)};
}

void RealmState::Tell(v1::DiscoveryEvent::Kind kind, const Peer& peer) const {
  if (feed.empty()) return;
  v1::DiscoveryEvent event;
  event.set_kind(kind);
  *event.mutable_peer() = DescribePeer(peer, directory, name);
  if (kind == v1::DiscoveryEvent::REMOVED) event.mutable_peer()->set_state(v1::Peer::GONE);
  feed.Publish(event);
}

void RealmState::Tell(v1::DiscoveryEvent::Kind kind, const Node& node) const {
  if (feed.empty()) return;
  v1::DiscoveryEvent event;
  event.set_kind(kind);
  *event.mutable_node() = DescribeNode(node, directory, name);
  if (kind == v1::DiscoveryEvent::REMOVED) event.mutable_node()->set_state(v1::Node::GONE);
  feed.Publish(event);
}

void RealmState::Tell(v1::DiscoveryEvent::Kind kind, const Link& link) const {
  if (!feed.empty()) TellLink(kind, DescribeLink(link, name));
}

void RealmState::TellLink(v1::DiscoveryEvent::Kind kind, const v1::Link& link) const {
  if (feed.empty()) return;
  v1::DiscoveryEvent event;
  event.set_kind(kind);
  *event.mutable_link() = link;
  feed.Publish(event);
}

void RealmState::TellTopic(const std::string& topic) const {
  if (feed.empty()) return;
  v1::DiscoveryEvent event;
  if (const Topic* found = directory.FindTopic(topic)) {
    event.set_kind(v1::DiscoveryEvent::CHANGED);
    *event.mutable_topic() = DescribeTopic(topic, *found, directory, name);
  } else {
    event.set_kind(v1::DiscoveryEvent::REMOVED);
    event.mutable_topic()->set_name(topic);
    event.mutable_topic()->set_realm(name);
  }
  feed.Publish(event);
}

void RealmState::TellTopicAdded(const std::string& topic) const {
  const Topic* found = feed.empty() ? nullptr : directory.FindTopic(topic);
  if (found == nullptr) return;
  v1::DiscoveryEvent event;
  event.set_kind(v1::DiscoveryEvent::ADDED);
  *event.mutable_topic() = DescribeTopic(topic, *found, directory, name);
  feed.Publish(event);
}

void RealmState::TellService(const std::string& service, v1::DiscoveryEvent::Kind kind) const {
  if (feed.empty()) return;
  v1::DiscoveryEvent event;
  event.set_kind(kind);
  if (const Service* found = directory.FindService(service)) {
    *event.mutable_service() = DescribeService(service, *found, directory, name);
  } else {
    event.set_kind(v1::DiscoveryEvent::REMOVED);
    event.mutable_service()->set_name(service);
    event.mutable_service()->set_realm(name);
  }
  feed.Publish(event);
}

}  // namespace ivmq::control
