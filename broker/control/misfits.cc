#include "broker/control/misfits.h"

#include <string>
#include <utility>

#include "broker/control/event_sink.h"

namespace ivmq::control {
namespace {

// `endpoint_id`: as the one that is told knows itself.
void TellRefused(RealmState* state, const Endpoint& told, uint64_t endpoint_id,
                 const Endpoint& other, const absl::Status& why) {
  const Node& node = *state->directory.FindNode(told.node_id);
  if (node.sink == nullptr) return;
  v1::NodeEvent event;
  v1::LinkRefused* refused = event.mutable_link_refused();
  refused->set_endpoint_id(endpoint_id);
  refused->set_topic(told.publishes ? told.topic : other.topic);
  refused->set_reason(std::string(why.message()));
  refused->set_other_node(state->directory.FindNode(other.node_id)->name);
  node.sink->Send(event, {});
}

}  // namespace

void ReportMisfit(RealmState* state, const Endpoint& newcomer, const Endpoint& other,
                  const absl::Status& why) {
  const Endpoint& from = newcomer.publishes ? newcomer : other;
  const Endpoint& to = newcomer.publishes ? other : newcomer;
  const Node& publisher = *state->directory.FindNode(from.node_id);
  const Node& subscriber = *state->directory.FindNode(to.node_id);
  Refusals::Record record;
  record.endpoint_id = other.id;
  record.other_endpoint_id = newcomer.id;
  const uint64_t id = state->ids->Next();
  record.link.set_link_id(id);
  record.link.set_realm(state->name);
  record.link.set_topic(from.topic);
  record.link.set_kind(from.of_service ? v1::Link::REQUEST : v1::Link::TOPIC);
  record.link.set_publisher_node_id(publisher.id);
  record.link.set_publisher_node(publisher.name);
  record.link.set_publisher_peer_id(publisher.peer_id);
  record.link.set_subscriber_node_id(subscriber.id);
  record.link.set_subscriber_node(subscriber.name);
  record.link.set_subscriber_peer_id(subscriber.peer_id);
  record.link.set_state(v1::Link::REFUSED);
  record.link.set_reason(std::string(why.message()));
  const Refusals::Record& added =
      state->refusals.Add(std::move(record), [state](const Refusals::Record& oldest) {
        state->TellLink(v1::DiscoveryEvent::REMOVED, oldest.link);
      });
  // One who tries again stands in the record of the first time.
  const bool is_new = added.link.link_id() == id;
  state->TellLink(is_new ? v1::DiscoveryEvent::ADDED : v1::DiscoveryEvent::CHANGED, added.link);
  TellRefused(state, other, other.id, newcomer, why);
}

void TellNewcomer(RealmState* state, const Endpoint& newcomer, const Endpoint& other,
                  const absl::Status& why) {
  TellRefused(state, newcomer, 0, other, why);
}

void ForgetMisfits(RealmState* state, uint64_t endpoint_id) {
  state->refusals.RemoveEndpoint(endpoint_id, [&](const Refusals::Record& record) {
    state->TellLink(v1::DiscoveryEvent::REMOVED, record.link);
  });
}

}  // namespace ivmq::control
