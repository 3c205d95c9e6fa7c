#include "broker/control/snapshot.h"

#include "broker/control/describe.h"

namespace ivmq::control {
namespace {

// The first with a higher ID, and the very first if there is none to be higher than.
template <class Book>
auto Behind(const Book& book, const std::optional<uint64_t>& id) {
  return id ? book.upper_bound(static_cast<typename Book::key_type>(*id)) : book.begin();
}

}  // namespace

bool Snapshot::TellNext(const Listener& listener) {
  v1::DiscoveryEvent event;
  event.set_kind(v1::DiscoveryEvent::ADDED);
  while (part_ != Part::kEnd) {
    if (Next(&event)) {
      listener(event);
      return true;
    }
    part_ = static_cast<Part>(static_cast<int>(part_) + 1);
    id_.reset();
    name_.clear();
  }
  return false;
}

bool Snapshot::Next(v1::DiscoveryEvent* event) {
  const Directory& directory = state_->directory;
  switch (part_) {
    case Part::kPeers:
      return interest_.peers && NextPeer(event->mutable_peer());
    case Part::kNodes: {
      const auto node = Behind(directory.nodes(), id_);
      if (!interest_.nodes || node == directory.nodes().end()) return false;
      *event->mutable_node() = DescribeNode(node->second, directory, state_->name);
      id_ = node->first;
      return true;
    }
    case Part::kTopics: {
      const auto topic = directory.topics().upper_bound(name_);
      if (!interest_.topics || topic == directory.topics().end()) return false;
      *event->mutable_topic() = DescribeTopic(topic->first, topic->second, directory, state_->name);
      name_ = topic->first;
      return true;
    }
    case Part::kServices: {
      const auto service = directory.services().upper_bound(name_);
      if (!interest_.topics || service == directory.services().end()) return false;
      *event->mutable_service() =
          DescribeService(service->first, service->second, directory, state_->name);
      name_ = service->first;
      return true;
    }
    case Part::kLinks:
      return interest_.links && NextLink(event->mutable_link());
    case Part::kEnd:
      break;
  }
  return false;
}

// Both books as one, as a peer can be put out meanwhile.
bool Snapshot::NextPeer(v1::Peer* peer) {
  const Peer* next = nullptr;
  for (const PeerBook* book : {&state_->peers, &state_->put_out}) {
    const auto first = Behind(*book, id_);
    if (first != book->end() && (next == nullptr || first->first < next->id)) {
      next = &first->second;
    }
  }
  if (next == nullptr) return false;
  *peer = DescribePeer(*next, state_->directory, state_->name);
  id_ = next->id;
  return true;
}

// The records too: a link that is quarantined becomes one in the end.
bool Snapshot::NextLink(v1::Link* link) {
  const auto first = Behind(state_->directory.links(), id_);
  const v1::Link* record = nullptr;
  for (const Refusals::Record& each : state_->refusals.records()) {
    const uint64_t id = each.link.link_id();
    if (id_ && id <= *id_) continue;
    if (record == nullptr || id < record->link_id()) record = &each.link;
  }
  const bool is_link = first != state_->directory.links().end();
  if (record != nullptr && (!is_link || record->link_id() < first->first)) {
    *link = *record;
  } else if (is_link) {
    *link = DescribeLink(first->second, state_->name);
  } else {
    return false;
  }
  id_ = link->link_id();
  return true;
}

bool Snapshot::HasPassed(const v1::DiscoveryEvent& change) const {
  const auto passed = [this](Part part, uint64_t id) {
    return part_ > part || (part_ == part && id_ && id <= *id_);
  };
  switch (change.subject_case()) {
    case v1::DiscoveryEvent::kPeer:
      return passed(Part::kPeers, change.peer().peer_id());
    case v1::DiscoveryEvent::kNode:
      return passed(Part::kNodes, change.node().node_id());
    case v1::DiscoveryEvent::kTopic:
      return part_ > Part::kTopics || (part_ == Part::kTopics && change.topic().name() <= name_);
    case v1::DiscoveryEvent::kService:
      return part_ > Part::kServices ||
             (part_ == Part::kServices && change.service().name() <= name_);
    case v1::DiscoveryEvent::kLink:
      return passed(Part::kLinks, change.link().link_id());
    case v1::DiscoveryEvent::SUBJECT_NOT_SET:
      break;
  }
  return true;
}

v1::DiscoveryEvent SnapshotDone() {
  v1::DiscoveryEvent event;
  event.set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
  return event;
}

}  // namespace ivmq::control
