#include "broker/control/snapshot.h"

#include "broker/control/describe.h"

namespace ivmq::control {

void TellSnapshot(const RealmState& state, const Interest& interest,
                  const std::function<void(const v1::DiscoveryEvent&)>& listener) {
  v1::DiscoveryEvent event;
  event.set_kind(v1::DiscoveryEvent::ADDED);
  if (interest.peers) {
    for (const PeerBook* book : {&state.peers, &state.put_out}) {
      for (const auto& [id, peer] : *book) {
        *event.mutable_peer() = DescribePeer(peer, state.directory, state.name);
        listener(event);
      }
    }
  }
  if (interest.nodes) {
    for (const auto& [id, node] : state.directory.nodes()) {
      *event.mutable_node() = DescribeNode(node, state.directory, state.name);
      listener(event);
    }
  }
  if (interest.topics) {
    for (const auto& [name, topic] : state.directory.topics()) {
      *event.mutable_topic() = DescribeTopic(name, topic, state.directory, state.name);
      listener(event);
    }
  }
  if (interest.topics) {
    for (const auto& [name, service] : state.directory.services()) {
      *event.mutable_service() = DescribeService(name, service, state.directory, state.name);
      listener(event);
    }
  }
  if (interest.links) {
    for (const auto& [id, link] : state.directory.links()) {
      *event.mutable_link() = DescribeLink(link, state.name);
      listener(event);
    }
    for (const Refusals::Record& record : state.refusals.records()) {
      *event.mutable_link() = record.link;
      listener(event);
    }
  }
}

v1::DiscoveryEvent SnapshotDone() {
  v1::DiscoveryEvent event;
  event.set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
  return event;
}

}  // namespace ivmq::control
