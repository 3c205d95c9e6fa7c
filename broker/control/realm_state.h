#ifndef IVMQ_BROKER_CONTROL_REALM_STATE_H_
#define IVMQ_BROKER_CONTROL_REALM_STATE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "broker/control/audit.h"
#include "broker/control/change_feed.h"
#include "broker/control/directory.h"
#include "broker/control/memory_ledger.h"
#include "broker/control/peer_book.h"
#include "broker/control/ready_bytes.h"
#include "broker/control/refusals.h"
#include "broker/control/type_book.h"
#include "ivmq/v1/discovery.pb.h"
#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::control {

// IDs of nodes, agents, publishers, subscribers and links: unique over all realms while the daemon
// lives. 0 is nobody.
class IdSource {
 public:
  uint64_t Next() { return next_++; }

 private:
  uint64_t next_ = 1;
};

// The books of one realm and its memory. Shared by those who keep them (LinkTable, NodeRegistry,
// PeerWatch); they all run on the control loop's thread.
struct RealmState {
  RealmState(std::string realm_name, uint32_t realm_index, transport::RegionInfo region_info,
             std::shared_ptr<transport::MemfdDevice> region_device, IdSource* id_source);

  // The eventfd that rings a vector of a peer, borrowed; -1 if there is none.
  int DoorbellFd(uint32_t peer, uint32_t vector) const;

  // The counters as they were last told, and the ring as it is.
  LinkLook LookAt(const Link& link) const;
  // Once a second: sees which subscribers have read since.
  void NoteReads();

  // Tell the watchers. Cost nothing while nobody watches.
  void Tell(v1::DiscoveryEvent::Kind kind, const Peer& peer) const;
  void Tell(v1::DiscoveryEvent::Kind kind, const Node& node) const;
  void Tell(v1::DiscoveryEvent::Kind kind, const Link& link) const;
  void TellLink(v1::DiscoveryEvent::Kind kind, const v1::Link& link) const;
  // CHANGED, or REMOVED if there is no such topic any more.
  void TellTopic(const std::string& topic) const;
  void TellTopicAdded(const std::string& topic) const;
  // ADDED or CHANGED, or REMOVED if there is no such service any more.
  void TellService(const std::string& service,
                   v1::DiscoveryEvent::Kind kind = v1::DiscoveryEvent::CHANGED) const;

  // Constant after construction.
  const std::string name;
  const uint32_t index;
  const transport::RegionInfo info;
  const std::shared_ptr<transport::MemfdDevice> device;
  IdSource* const ids;

  MemoryLedger ledger;
  ReadyBytes ready;
  Directory directory;
  PeerBook peers;
  PeerBook put_out;  // evicted, and alive for all we know; nobody meets them any more
  Refusals refusals;
  EndedLinks ended;
  TypeBook types;
  ChangeFeed feed;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_REALM_STATE_H_
