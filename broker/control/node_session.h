#ifndef IVMQ_BROKER_CONTROL_NODE_SESSION_H_
#define IVMQ_BROKER_CONTROL_NODE_SESSION_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "broker/control/event_sink.h"
#include "broker/control/link_lifecycle.h"
#include "broker/control/node_registry.h"
#include "broker/control/realm.h"
#include "broker/control/snapshot.h"
#include "ivmq/v1/control.pb.h"

namespace ivmq::control {

inline constexpr uint32_t kSessionProtocolVersion = 2;
inline constexpr size_t kMaxTypesWanted = 256;  // requests of a session that wait

// What a process says to control and is answered, whatever carries it. Every request that cannot
// be met is answered with a Failure; nothing that a process says can do more than end its own node.
// One thread, the loop's. Realm and sink must outlive it.
class NodeSession {
 public:
  NodeSession(Realm* realm, EventSink* sink, const Origin& origin)
      : realm_(realm), sink_(sink), origin_(origin) {}
  // REQUIRES: Leave() was called, or there never was a node.
  ~NodeSession();
  NodeSession(const NodeSession&) = delete;
  NodeSession& operator=(const NodeSession&) = delete;

  void Handle(const v1::NodeRequest& request);
  // The carrier or the keeper says how it ended; may be called again as more becomes known.
  void Leave(SideEvent how);
  // The sink has room again: what was too much for it goes on.
  void OnRoom();

  // 0 before hello and after goodbye.
  uint64_t node_id() const { return node_id_; }

 private:
  void OnHello(uint64_t request_id, const v1::Hello& hello);
  void OnRegister(uint64_t request_id, NodeRegistry::NewEndpoint wish);
  void OnRegisterService(uint64_t request_id, ServiceRegistry::NewEndpoint wish);
  void OnUnregister(uint64_t request_id, const v1::Unregister& unregister);
  void OnLinkClosed(const v1::LinkClosed& closed);
  void OnLinkCorrupt(const v1::LinkCorrupt& corrupt);
  void OnCounters(uint64_t request_id, const v1::Counters& counters);
  void OnWatch(uint64_t request_id, const v1::Watch& watch);
  void TellSnapshot();
  void TellDiscovery(const v1::DiscoveryEvent& event);
  void OnDescribeType(uint64_t request_id, const v1::DescribeType& describe);
  void SendType(uint64_t request_id, const std::string& type_name);
  void OnReadClock(uint64_t request_id);
  void OnGoodbye(uint64_t request_id);
  void StopWatching();

  // True if the node is registered and online; otherwise the request was answered.
  bool RequireNode(uint64_t request_id);
  void Fail(uint64_t request_id, const absl::Status& status);
  void AnswerDone(uint64_t request_id);
  void Send(const v1::NodeEvent& event) { sink_->Send(event, {}); }

  Realm* const realm_;
  EventSink* const sink_;
  const Origin origin_;
  uint64_t node_id_ = 0;
  bool has_left_ = false;
  uint64_t watch_id_ = 0;
  std::optional<Snapshot> snapshot_;  // what the watch has still to tell of before changes only
  // Requests for descriptions of types, which are large: told one after the other as they are read.
  std::deque<std::pair<uint64_t, std::string>> types_wanted_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_NODE_SESSION_H_
