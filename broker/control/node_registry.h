#ifndef IVMQ_BROKER_CONTROL_NODE_REGISTRY_H_
#define IVMQ_BROKER_CONTROL_NODE_REGISTRY_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/control/event_sink.h"
#include "broker/control/link_table.h"
#include "broker/control/realm_state.h"

namespace ivmq::control {

// A process as the keeper, or the agent of its guest, vouches for it.
struct Origin {
  uint32_t peer_id = 0;
  int32_t pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t start_time = 0;
  uint32_t vector = 0;
  bool polls = false;
  uint64_t agent_nonce = 0;  // of the agent that vouches; 0 on the host
  uint64_t connection_id = 0;
};

// Nodes, their publishers and subscribers, and how they come and go; how clients and servers go,
// too (they come through ServiceRegistry). One thread; the state must
// outlive it.
class NodeRegistry {
 public:
  static constexpr size_t kMaxEndpointsPerNode = 4096;
  // Of control's memory, that the endpoints of a machine take: some 150,000 with names of three
  // tokens.
  static constexpr uint64_t kMaxBookBytesPerPeer = 256 << 20;

  explicit NodeRegistry(RealmState* state, uint64_t max_book_bytes = kMaxBookBytesPerPeer)
      : state_(state), max_book_bytes_(max_book_bytes), links_(state) {}

  struct NewNode {
    Origin origin;
    std::string name;
    std::string sdk_version;
    EventSink* sink = nullptr;
  };
  // INVALID_ARGUMENT, RESOURCE_EXHAUSTED.
  absl::StatusOr<const Node*> AddNode(NewNode node);

  // How a node leaves:
  //   kClosed      it said goodbye: it touches nothing any more
  //   kDied        it is proven dead; also for one that was lost before
  //   kLost, kEvicted   its session ended and proves nothing: it becomes DETACHED
  // In any case it has no session afterwards. Harmless for a node that is not there.
  void Leave(uint64_t node_id, SideEvent how);
  // The same for all nodes of a peer.
  void LeaveAll(uint32_t peer_id, SideEvent how);
  // A process is proven dead: every node that it was is, also where its session ended before.
  void ProcessDied(const Origin& process);

  struct NewEndpoint {
    uint64_t node_id = 0;
    bool publishes = false;
    std::string topic;
    std::string type_name;
    v1::Qos qos;
    std::string file_descriptor_set = {};
  };
  struct Registered {
    uint64_t endpoint_id = 0;
    uint32_t links = 0;
  };
  // Registers, links with all that is there and fits, tells both sides of each link, and of each
  // pair that does not fit (LinkRefused). Or changes nothing: INVALID_ARGUMENT,
  // RESOURCE_EXHAUSTED, or FAILED_PRECONDITION for a subscriber of one topic that fits none of its
  // publishers, and for a publisher that does not fit the type of a subscriber of its very topic;
  // then only those are told that were there. REQUIRES: the node is online.
  absl::StatusOr<Registered> Register(NewEndpoint wish);
  // NOT_FOUND if it is not one of the node's.
  absl::Status Unregister(uint64_t node_id, uint64_t endpoint_id);

  // RESOURCE_EXHAUSTED for a node that has as many endpoints as are allowed, or a machine whose
  // endpoints take as much memory as is allowed.
  absl::Status CheckRoom(const Node& node, const Endpoint& newcomer) const;

  LinkTable* links() { return &links_; }

 private:
  void RemoveEndpoint(uint64_t endpoint_id);
  void RemoveEndpoints(uint64_t node_id);
  void RemoveRefusalsOfNode(uint64_t node_id);
  // Whom the newcomer meets.
  struct Match {
    uint64_t id = 0;
    absl::StatusOr<Agreement> agreed;
    bool type_fits = true;
  };
  std::vector<Match> FindMatches(const Endpoint& newcomer);
  // Why it cannot be registered, if it cannot; those that it is refused for are told.
  absl::Status CheckMatches(const Endpoint& newcomer, const std::vector<Match>& matches);
  std::set<std::string> OtherTexts(const Endpoint& endpoint);
  void TellOtherText(const Endpoint& newcomer, uint64_t link_id);
  void TellMisfits(const Endpoint& newcomer, const std::vector<Match>& matches);
  // With none at all on failure. A match by a filter for which there is no room agrees no more.
  absl::StatusOr<std::vector<uint64_t>> CreateLinks(const Endpoint& newcomer,
                                                    std::vector<Match>* matches);

  RealmState* const state_;
  const uint64_t max_book_bytes_;
  LinkTable links_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_NODE_REGISTRY_H_
