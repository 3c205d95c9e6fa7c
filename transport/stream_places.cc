#include <atomic>
#include <string>
#include <utility>

#include "transport/stream.h"

namespace ivmq::transport {

StreamPlaces LoadStreamPlaces(const PeerEntry& entry) {
  // relaxed: ordered by the caller's acquire of accepted_hello. Pairs with the release there.
  constexpr auto kOrder = std::memory_order_relaxed;
  StreamPlaces places;
  places.to_control_ring_offset = entry.to_control_ring_offset.load(kOrder);
  places.to_agent_ring_offset = entry.to_agent_ring_offset.load(kOrder);
  places.ring_bytes = entry.stream_ring_bytes.load(kOrder);
  places.agent_wake_offset = entry.agent_wake_offset.load(kOrder);
  places.control_wake_offset = entry.control_wake_offset.load(kOrder);
  places.to_control_ready_offset = entry.to_control_ready_offset.load(kOrder);
  places.to_control_space_offset = entry.to_control_space_offset.load(kOrder);
  places.to_agent_ready_offset = entry.to_agent_ready_offset.load(kOrder);
  places.to_agent_space_offset = entry.to_agent_space_offset.load(kOrder);
  return places;
}

void StoreStreamPlaces(const StreamPlaces& places, PeerEntry* entry) {
  // relaxed: ordered by the caller's release of accepted_hello. Pairs with the acquire there.
  constexpr auto kOrder = std::memory_order_relaxed;
  entry->to_control_ring_offset.store(places.to_control_ring_offset, kOrder);
  entry->to_agent_ring_offset.store(places.to_agent_ring_offset, kOrder);
  entry->stream_ring_bytes.store(places.ring_bytes, kOrder);
  entry->agent_wake_offset.store(places.agent_wake_offset, kOrder);
  entry->control_wake_offset.store(places.control_wake_offset, kOrder);
  entry->to_control_ready_offset.store(places.to_control_ready_offset, kOrder);
  entry->to_control_space_offset.store(places.to_control_space_offset, kOrder);
  entry->to_agent_ready_offset.store(places.to_agent_ready_offset, kOrder);
  entry->to_agent_space_offset.store(places.to_agent_space_offset, kOrder);
}

Result<StreamLinks> OpenStream(std::shared_ptr<Device> device, const StreamPlaces& places,
                               const StreamOptions& options, const Doorbell& other) {
  const bool is_control = options.side == StreamSide::kControl;
  const bool agent_polls = is_control && options.other_polls;
  LinkAddress to_control;
  to_control.link_id = options.stream_id;
  to_control.ring_offset = places.to_control_ring_offset;
  to_control.ring_capacity = places.ring_bytes;
  to_control.consumer.wake_offset = places.control_wake_offset;
  to_control.consumer.ready_offset = places.to_control_ready_offset;
  to_control.producer.wake_offset = places.agent_wake_offset;
  to_control.producer.ready_offset = places.to_control_space_offset;
  to_control.producer.polls = agent_polls;

  LinkAddress to_agent;
  to_agent.link_id = options.stream_id;
  to_agent.ring_offset = places.to_agent_ring_offset;
  to_agent.ring_capacity = places.ring_bytes;
  to_agent.consumer.wake_offset = places.agent_wake_offset;
  to_agent.consumer.ready_offset = places.to_agent_ready_offset;
  to_agent.consumer.polls = agent_polls;
  to_agent.producer.wake_offset = places.control_wake_offset;
  to_agent.producer.ready_offset = places.to_agent_space_offset;

  Result<LinkWriter> out = LinkWriter::Open(device, is_control ? to_agent : to_control, other);
  if (!out.ok()) return out.status();
  Result<LinkReader> in =
      LinkReader::Open(std::move(device), is_control ? to_control : to_agent, other);
  if (!in.ok()) return in.status();
  return StreamLinks{std::move(out).value(), std::move(in).value()};
}

}  // namespace ivmq::transport
