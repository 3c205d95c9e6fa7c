#include "broker/control/link_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "broker/control/check.h"
#include "broker/control/describe.h"
#include "broker/control/event_sink.h"
#include "broker/control/matchmaker.h"
#include "broker/control/topic_name.h"
#include "ringbuf/keep_last_layout.h"
#include "ringbuf/ring_layout.h"
#include "transport/region.h"

namespace ivmq::control {
namespace {

constexpr uint64_t kRingAlignment =
    std::max(alignof(ringbuf::RingDescriptor), alignof(ringbuf::KeepLastDescriptor));

uint64_t BytesOf(const Agreement& agreed) {
  return agreed.has_slots() ? ringbuf::KeepLastBytes(agreed.depth, agreed.max_message_bytes)
                            : ringbuf::RingBytes(agreed.ring_bytes);
}

void Initialize(std::byte* memory, const Agreement& agreed) {
  if (agreed.has_slots()) {
    ringbuf::InitializeKeepLast(memory, agreed.depth, agreed.max_message_bytes);
  } else {
    ringbuf::InitializeRing(memory, agreed.ring_bytes);
  }
}

// Who looks at all topics must not take the memory of those who asked for one.
absl::Status CheckRoomForFilters(const Arena& arena, uint64_t bytes) {
  const uint64_t kept = arena.total_bytes() / 8;
  const uint64_t free = arena.total_bytes() - arena.used_bytes();
  if (free >= bytes + kept) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "no room for a link by a filter: it needs {} bytes, {} of the realm's {} are free and {} of "
      "them are kept for links by topic; keep fewer messages, use a narrower filter or a larger "
      "region",
      bytes, free, arena.total_bytes(), kept));
}

LinkSide SideOf(const Endpoint& endpoint, const Node& node) {
  return {endpoint.id, node.id, node.name, node.peer_id, node.wake_offset};
}

void FillAddress(const LinkSide& side, const ReadyPlace& ready, const Node* node,
                 v1::WakeAddress* address) {
  address->set_wake_offset(side.wake_offset);
  address->set_ready_offset(ready.offset);
  address->set_peer_id(side.peer_id);
  if (node == nullptr) return;
  address->set_vector(node->vector);
  address->set_polls(node->polls);
}

}  // namespace

absl::StatusOr<uint64_t> LinkTable::Create(const Endpoint& publisher, const Endpoint& subscriber,
                                           const Agreement& agreed) {
  if (subscriber.is_filter) {
    absl::Status room = CheckRoomForFilters(state_->ledger.arena(), BytesOf(agreed));
    if (!room.ok()) return room;
  }
  return CreateOf(v1::Link::TOPIC, publisher, subscriber, agreed);
}

absl::StatusOr<LinkTable::Pair> LinkTable::CreatePair(const Endpoint& client,
                                                      const Endpoint& server) {
  const Agreement agreed = AgreeOnService(client, server);
  const absl::StatusOr<uint64_t> request = CreateOf(v1::Link::REQUEST, client, server, agreed);
  if (!request.ok()) return request.status();
  const absl::StatusOr<uint64_t> reply = CreateOf(v1::Link::REPLY, server, client, agreed);
  if (!reply.ok()) {
    Cancel(*request);
    return reply.status();
  }
  state_->directory.FindLink(*request)->pair_id = *reply;
  state_->directory.FindLink(*reply)->pair_id = *request;
  return Pair{*request, *reply};
}

absl::StatusOr<uint64_t> LinkTable::CreateOf(v1::Link::Kind kind, const Endpoint& publisher,
                                             const Endpoint& subscriber, const Agreement& agreed) {
  const Node* from = state_->directory.FindNode(publisher.node_id);
  const Node* to = state_->directory.FindNode(subscriber.node_id);
  IVMQ_CHECK(from != nullptr && to != nullptr);
  Link link;
  link.topic = publisher.topic;
  link.kind = kind;
  link.type_name = kind == v1::Link::REPLY ? publisher.reply_type : publisher.type_name;
  link.publisher = SideOf(publisher, *from);
  link.subscriber = SideOf(subscriber, *to);
  link.agreed = agreed;
  if (absl::Status status = AllocateMemory(&link, from->id, to->id); !status.ok()) return status;
  link.id = state_->ids->Next();
  link.counters.set_link_id(link.id);
  return state_->directory.AddLink(std::move(link))->id;
}

absl::Status LinkTable::AllocateMemory(Link* link, uint64_t publisher_node,
                                       uint64_t subscriber_node) {
  MemoryLedger& ledger = state_->ledger;
  const uint64_t bytes = BytesOf(link->agreed);
  const absl::StatusOr<uint64_t> ring = ledger.Allocate(bytes, kRingAlignment, publisher_node);
  if (!ring.ok()) return ring.status();
  absl::StatusOr<ReadyPlace> consumer = state_->ready.Acquire(subscriber_node, publisher_node);
  if (!consumer.ok()) {
    ledger.Release(*ring, publisher_node);
    return consumer.status();
  }
  absl::StatusOr<ReadyPlace> producer = state_->ready.Acquire(publisher_node, subscriber_node);
  if (!producer.ok()) {
    ledger.Release(consumer->line, publisher_node);
    ledger.Release(consumer->line, subscriber_node);
    state_->ready.Free(subscriber_node, publisher_node, *consumer);
    ledger.Release(*ring, publisher_node);
    return producer.status();
  }
  link->ring_offset = *ring;
  link->consumer_ready = *consumer;
  link->producer_ready = *producer;
  ledger.Hold(*ring, subscriber_node);
  ledger.Hold(link->subscriber.wake_offset, publisher_node);
  ledger.Hold(link->publisher.wake_offset, subscriber_node);
  std::byte* memory =
      transport::CheckedRange(state_->device->region(), *ring, bytes, kRingAlignment);
  IVMQ_CHECK(memory != nullptr);
  Initialize(memory, link->agreed);
  return absl::OkStatus();
}

void LinkTable::ReleaseSide(const Link& link, bool publisher_side) {
  const uint64_t holder = link.side(publisher_side).node_id;
  MemoryLedger& ledger = state_->ledger;
  ledger.Release(link.ring_offset, holder);
  ledger.Release(link.consumer_ready.line, holder);
  ledger.Release(link.producer_ready.line, holder);
  ledger.Release(link.side(!publisher_side).wake_offset, holder);
}

void LinkTable::FreeReadyBytes(const Link& link) {
  const uint64_t publisher = link.publisher.node_id;
  const uint64_t subscriber = link.subscriber.node_id;
  state_->ready.Free(subscriber, publisher, link.consumer_ready);
  state_->ready.Free(publisher, subscriber, link.producer_ready);
}

void LinkTable::Cancel(uint64_t link_id) {
  const Link* link = state_->directory.FindLink(link_id);
  IVMQ_CHECK(link != nullptr);
  ReleaseSide(*link, true);
  ReleaseSide(*link, false);
  FreeReadyBytes(*link);
  state_->directory.RemoveLink(link_id);
}

void LinkTable::Announce(uint64_t link_id) {
  const Link* link = state_->directory.FindLink(link_id);
  IVMQ_CHECK(link != nullptr);
  SendLinkUp(*link, false);
  SendLinkUp(*link, true);
  for (const bool of_publisher : {true, false}) {
    const auto peer = state_->peers.find(link->side(of_publisher).peer_id);
    const bool suspect = peer != state_->peers.end() && peer->second.state == v1::Peer::SUSPECT;
    if (suspect) SendSuspect(*link, !of_publisher, true);
  }
  state_->Tell(v1::DiscoveryEvent::ADDED, *link);
}

void LinkTable::OnSuspect(uint32_t peer_id, bool suspect) {
  for (const auto& [id, link] : state_->directory.links()) {
    if (!IsActive(link.progress.publisher) || !IsActive(link.progress.subscriber)) continue;
    for (const bool of_publisher : {true, false}) {
      if (link.side(of_publisher).peer_id == peer_id) SendSuspect(link, !of_publisher, suspect);
    }
  }
}

void LinkTable::SendSuspect(const Link& link, bool to_publisher, bool suspect) {
  const LinkSide& told = link.side(to_publisher);
  if (told.peer_id == link.side(!to_publisher).peer_id) return;  // it is as suspect itself
  const Node* node = state_->directory.FindNode(told.node_id);
  if (node == nullptr || node->sink == nullptr) return;
  v1::NodeEvent event;
  event.mutable_link_suspect()->set_link_id(link.id);
  event.mutable_link_suspect()->set_suspect(suspect);
  node->sink->Send(event, {});
}

void LinkTable::SendLinkUp(const Link& link, bool publishes) {
  const LinkSide& side = link.side(publishes);
  const LinkSide& other = link.side(!publishes);
  const Node* node = state_->directory.FindNode(side.node_id);
  if (node == nullptr || node->sink == nullptr) return;
  v1::NodeEvent event;
  v1::LinkUp* up = event.mutable_link_up();
  up->set_link_id(link.id);
  up->set_endpoint_id(side.endpoint_id);
  up->set_publishes(publishes);
  up->set_ring_offset(link.ring_offset);
  up->set_ring_capacity(link.agreed.ring_bytes);
  FillAddress(link.subscriber, link.consumer_ready,
              state_->directory.FindNode(link.subscriber.node_id), up->mutable_consumer());
  FillAddress(link.publisher, link.producer_ready,
              state_->directory.FindNode(link.publisher.node_id), up->mutable_producer());
  up->set_topic(link.topic);
  up->set_type_name(link.type_name);
  up->set_pair_link_id(link.pair_id);
  up->set_reliability(link.agreed.reliability);
  up->set_depth(link.agreed.depth);
  up->set_max_message_bytes(link.agreed.max_message_bytes);
  if (publishes) up->set_history(link.agreed.history);
  up->set_other_node_id(other.node_id);
  up->set_other_node(other.node_name);
  up->set_other_peer_id(other.peer_id);
  const v1::WakeAddress& rung = publishes ? up->consumer() : up->producer();
  const int doorbell = side.peer_id == 0 ? state_->DoorbellFd(rung.peer_id(), rung.vector()) : -1;
  up->set_doorbell_fds(doorbell >= 0 ? 1 : 0);
  node->sink->Send(event, std::span<const int>(&doorbell, doorbell >= 0 ? 1 : 0));
}

void LinkTable::SendDown(const Link& link, bool to_publisher) {
  const Node* node = state_->directory.FindNode(link.side(to_publisher).node_id);
  if (node == nullptr || node->sink == nullptr) return;
  v1::NodeEvent event;
  event.mutable_link_down()->set_link_id(link.id);
  event.mutable_link_down()->set_reason(link.progress.down);
  node->sink->Send(event, {});
}

void LinkTable::OnSide(uint64_t link_id, bool publisher_side, SideEvent event) {
  Link* link = state_->directory.FindLink(link_id);
  if (link == nullptr) return;
  const v1::Link::State before = StateOf(link->progress);
  const SideState& state = publisher_side ? link->progress.publisher : link->progress.subscriber;
  const SideState state_before = state;
  const LinkActions actions = Apply(event, publisher_side, &link->progress);
  if (state != state_before && !IsActive(state)) {
    LinkSide& side = publisher_side ? link->publisher : link->subscriber;
    side.left = event;
    // Its farewell may have crossed with the link: of what it never used nothing is uncounted.
    if (event == SideEvent::kClosed && state_before == SideState::kTold) side.counted = true;
    // What it answered when it was last asked is old from now on.
    if (!side.counted && publisher_side) link->counters.set_publisher_answered(false);
    if (!side.counted && !publisher_side) link->counters.set_subscriber_answered(false);
  }
  // While its ring is still there.
  if (actions.over) {
    const LinkLook last = state_->LookAt(*link);
    state_->ended.Add(AuditOf(*link, state_->name, last, last));
  }
  if (actions.tell_ready) {
    const Node* node = state_->directory.FindNode(link->subscriber.node_id);
    v1::NodeEvent ready;
    ready.mutable_link_ready()->set_link_id(link_id);
    if (node != nullptr && node->sink != nullptr) node->sink->Send(ready, {});
  }
  if (actions.tell_other_down) SendDown(*link, !publisher_side);
  if (actions.release_side) ReleaseSide(*link, publisher_side);
  if (actions.over) {
    Forget(link_id);
  } else if (StateOf(link->progress) != before) {
    state_->Tell(v1::DiscoveryEvent::CHANGED, *link);
  }
}

void LinkTable::TakeDown(uint64_t link_id, SideEvent event_of_pair) {
  Link* link = state_->directory.FindLink(link_id);
  if (link == nullptr || !ApplyOfPair(event_of_pair, &link->progress)) return;
  if (IsActive(link->progress.publisher)) SendDown(*link, true);
  if (IsActive(link->progress.subscriber)) SendDown(*link, false);
  state_->Tell(v1::DiscoveryEvent::CHANGED, *link);
}

void LinkTable::Forget(uint64_t link_id) {
  const Link link = *state_->directory.FindLink(link_id);
  FreeReadyBytes(link);
  state_->directory.RemoveLink(link_id);
  // What was quarantined stays to be seen for a while.
  const bool kept = link.progress.quarantined &&
                    (state_->directory.FindEndpoint(link.publisher.endpoint_id) != nullptr ||
                     state_->directory.FindEndpoint(link.subscriber.endpoint_id) != nullptr);
  if (kept) {
    Refusals::Record record{DescribeLink(link, state_->name), link.publisher.endpoint_id,
                            link.subscriber.endpoint_id};
    state_->refusals.Add(std::move(record), [this](const Refusals::Record& oldest) {
      state_->TellLink(v1::DiscoveryEvent::REMOVED, oldest.link);
    });
  } else {
    state_->Tell(v1::DiscoveryEvent::REMOVED, link);
  }
  if (link.kind != v1::Link::TOPIC) {
    if (state_->directory.FindService(link.topic) != nullptr) state_->TellService(link.topic);
    return;
  }
  if (state_->directory.FindTopic(link.topic) != nullptr) state_->TellTopic(link.topic);
  const Endpoint* subscriber = state_->directory.FindEndpoint(link.subscriber.endpoint_id);
  if (subscriber != nullptr && subscriber->is_filter) state_->TellTopic(subscriber->topic);
}

void LinkTable::OnNode(uint64_t link_id, uint64_t node_id, SideEvent event) {
  for (const bool publisher_side : {true, false}) {
    const Link* link = state_->directory.FindLink(link_id);
    if (link != nullptr && link->side(publisher_side).node_id == node_id) {
      OnSide(link_id, publisher_side, event);
    }
  }
}

void LinkTable::OnWord(uint64_t link_id, uint64_t node_id, uint64_t endpoint_id, SideEvent event) {
  const Link* link = state_->directory.FindLink(link_id);
  if (link == nullptr) return;
  for (const bool publisher_side : {true, false}) {
    const LinkSide& side = link->side(publisher_side);
    if (side.node_id != node_id) continue;
    const SideState state = publisher_side ? link->progress.publisher : link->progress.subscriber;
    const bool attaches = event == SideEvent::kAttached;
    const bool meant = endpoint_id != 0 ? side.endpoint_id == endpoint_id
                                        : (attaches ? state == SideState::kTold : IsActive(state));
    if (!meant) continue;
    const uint64_t pair_id = link->pair_id;
    OnSide(link_id, publisher_side, event);
    if (pair_id != 0) TakeDown(pair_id, event);
    return;
  }
}

void LinkTable::OnCorrupt(uint64_t link_id, uint64_t node_id, uint64_t endpoint_id,
                          const std::string& detail) {
  Link* link = state_->directory.FindLink(link_id);
  if (link == nullptr) return;
  if (link->publisher.node_id != node_id && link->subscriber.node_id != node_id) return;
  const v1::Link::State before = StateOf(link->progress);
  const bool is_news = link->detail.empty();
  if (is_news) link->detail = Quoted(detail);
  OnWord(link_id, node_id, endpoint_id, SideEvent::kCorrupt);
  // A change of state has told the detail with it.
  link = state_->directory.FindLink(link_id);
  if (is_news && link != nullptr && StateOf(link->progress) == before) {
    state_->Tell(v1::DiscoveryEvent::CHANGED, *link);
  }
}

void LinkTable::Record(uint64_t node_id, const v1::LinkCounters& counters) {
  Link* link = state_->directory.FindLink(counters.link_id());
  if (link == nullptr) return;
  v1::LinkCounters& kept = link->counters;
  // Counters only grow. A node at both ends reports each side by itself, with zeros for the other.
  if (link->publisher.node_id == node_id) {
    kept.set_published(std::max(kept.published(), counters.published()));
    kept.set_published_bytes(std::max(kept.published_bytes(), counters.published_bytes()));
    kept.set_doorbells(std::max(kept.doorbells(), counters.doorbells()));
    kept.set_full(std::max(kept.full(), counters.full()));
    if (kept.dropped_full() == 0) kept.set_first_dropped_full(counters.first_dropped_full());
    kept.set_last_dropped_full(std::max(kept.last_dropped_full(), counters.last_dropped_full()));
    kept.set_dropped_full(std::max(kept.dropped_full(), counters.dropped_full()));
  }
  if (link->subscriber.node_id == node_id) {
    kept.set_delivered(std::max(kept.delivered(), counters.delivered()));
    kept.set_delivered_bytes(std::max(kept.delivered_bytes(), counters.delivered_bytes()));
    if (kept.overwritten() == 0) kept.set_first_overwritten(counters.first_overwritten());
    kept.set_last_overwritten(std::max(kept.last_overwritten(), counters.last_overwritten()));
    kept.set_overwritten(std::max(kept.overwritten(), counters.overwritten()));
  }
}

void LinkTable::RecordLast(uint64_t node_id, uint64_t endpoint_id,
                           const v1::LinkCounters& counters) {
  Record(node_id, counters);
  Link* link = state_->directory.FindLink(counters.link_id());
  if (link == nullptr) return;
  link->was_asked = true;
  for (LinkSide* side : {&link->publisher, &link->subscriber}) {
    const bool meant = endpoint_id == 0 || side->endpoint_id == endpoint_id;
    if (side->node_id == node_id && meant) side->counted = true;
  }
}

}  // namespace ivmq::control
