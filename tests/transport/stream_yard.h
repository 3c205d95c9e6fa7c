#ifndef IVMQ_TESTS_TRANSPORT_STREAM_YARD_H_
#define IVMQ_TESTS_TRANSPORT_STREAM_YARD_H_

#include <sys/socket.h>

#include <optional>
#include <stdexcept>
#include <utility>

#include "tests/transport/link_yard.h"
#include "transport/stream.h"

namespace ivmq::transport {

// Control as peer 0 and an agent as peer 1, and places for streams between them.
class StreamYard {
 public:
  // One side of a stream before a pump has it: `near` is the application's end.
  struct Side {
    UniqueFd near;
    UniqueFd far;
    std::optional<StreamLinks> links;
  };

  StreamPlaces MakeStream(uint64_t ring_bytes) {
    const LinkAddress to_control = links.MakeLink(agent, control, ring_bytes);
    const LinkAddress to_agent = links.MakeLink(control, agent, ring_bytes);
    StreamPlaces places;
    places.to_control_ring_offset = to_control.ring_offset;
    places.to_agent_ring_offset = to_agent.ring_offset;
    places.ring_bytes = ring_bytes;
    places.agent_wake_offset = agent.wake_offset;
    places.control_wake_offset = control.wake_offset;
    places.to_control_ready_offset = to_control.consumer.ready_offset;
    places.to_control_space_offset = to_control.producer.ready_offset;
    places.to_agent_ready_offset = to_agent.consumer.ready_offset;
    places.to_agent_space_offset = to_agent.producer.ready_offset;
    return places;
  }

  Side OpenSide(StreamSide which, const StreamPlaces& places) {
    const bool is_control = which == StreamSide::kControl;
    const YardNode& node = is_control ? control : agent;
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      throw std::runtime_error("no socketpair");
    }
    Side side{UniqueFd(pair[0]), UniqueFd(pair[1]), std::nullopt};
    const Doorbell other = LocalRealm::Must(node.device->OpenDoorbell(is_control ? 1 : 0, 0));
    side.links = LocalRealm::Must(OpenStream(node.device, places, {which, 1, false}, other));
    return side;
  }

  LinkYard links{8 << 20};
  YardNode control = links.MakeNode(links.host);
  YardNode agent = links.MakeNode(links.realm.AddPeer(1));
};

}  // namespace ivmq::transport

#endif  // IVMQ_TESTS_TRANSPORT_STREAM_YARD_H_
