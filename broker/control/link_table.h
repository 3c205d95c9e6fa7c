#ifndef IVMQ_BROKER_CONTROL_LINK_TABLE_H_
#define IVMQ_BROKER_CONTROL_LINK_TABLE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "broker/control/link_lifecycle.h"
#include "broker/control/realm_state.h"
#include "ivmq/v1/control.pb.h"

namespace ivmq::control {

// Makes links, tells both sides, and takes their memory back when both have let go of it (the
// rules are link_lifecycle's). One thread. The state must outlive it.
class LinkTable {
 public:
  explicit LinkTable(RealmState* state) : state_(state) {}

  // Allocates ring (or slots) and ready bytes and enters the link into the books; nobody is told as
  // yet. RESOURCE_EXHAUSTED as Arena::Allocate(), and for a filter where less than an eighth of the
  // arena would stay free; nothing is changed then. REQUIRES: both endpoints' nodes are online.
  absl::StatusOr<uint64_t> Create(const Endpoint& publisher, const Endpoint& subscriber,
                                  const Agreement& agreed);
  struct Pair {
    uint64_t request_link = 0;
    uint64_t reply_link = 0;
  };
  // The same for the two links of a client and a server, each of which knows the other.
  absl::StatusOr<Pair> CreatePair(const Endpoint& client, const Endpoint& server);
  // Takes back a link that nobody was told of.
  void Cancel(uint64_t link_id);
  // LinkUp to both sides; and LinkSuspect where the other side's peer is suspect.
  void Announce(uint64_t link_id);
  // The peer shows no sign of life, or does again: tells the other side of each of its links.
  void OnSuspect(uint32_t peer_id, bool suspect);

  // Something happened on one side. Harmless for links that are over.
  void OnSide(uint64_t link_id, bool publisher_side, SideEvent event);
  // The same for whichever sides of the link that node is.
  void OnNode(uint64_t link_id, uint64_t node_id, SideEvent event);
  // What a node said of a link. `endpoint_id` names the side; with 0 the node's only one, or the
  // first that is still active where it is both. Nothing happens if the node is no side of it.
  void OnWord(uint64_t link_id, uint64_t node_id, uint64_t endpoint_id, SideEvent event);
  // `detail` is what the node said it found; cut to a line.
  void OnCorrupt(uint64_t link_id, uint64_t node_id, uint64_t endpoint_id,
                 const std::string& detail);
  // Takes the figures of those sides of the link that node is.
  void Record(uint64_t node_id, const v1::LinkCounters& counters);
  // The same, of a side that will tell no more; `endpoint_id` as in OnWord().
  void RecordLast(uint64_t node_id, uint64_t endpoint_id, const v1::LinkCounters& counters);

 private:
  absl::StatusOr<uint64_t> CreateOf(v1::Link::Kind kind, const Endpoint& publisher,
                                    const Endpoint& subscriber, const Agreement& agreed);
  void TakeDown(uint64_t link_id, SideEvent event_of_pair);
  absl::Status AllocateMemory(Link* link, uint64_t publisher_node, uint64_t subscriber_node);
  void ReleaseSide(const Link& link, bool publisher_side);
  void FreeReadyBytes(const Link& link);
  void SendLinkUp(const Link& link, bool publishes);
  void SendDown(const Link& link, bool to_publisher);
  void SendSuspect(const Link& link, bool to_publisher, bool suspect);
  void Forget(uint64_t link_id);

  RealmState* const state_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_LINK_TABLE_H_
