#ifndef IVMQ_BROKER_CONTROL_SNAPSHOT_H_
#define IVMQ_BROKER_CONTROL_SNAPSHOT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "broker/control/change_feed.h"
#include "broker/control/realm_state.h"

namespace ivmq::control {

// Tells all that exists in a realm and is of interest, one thing after the other, each as it is
// when its turn comes. The realm may change in between: who passes on those changes that are of
// things told already, and drops the others, ends with what is there. Holds no more than a place in
// the realm's books. One thread, the state's; the state must outlive it.
class Snapshot {
 public:
  using Listener = std::function<void(const v1::DiscoveryEvent&)>;

  Snapshot(const RealmState* state, const Interest& interest)
      : state_(state), interest_(interest) {}

  // Tells the next thing, as ADDED. False: there is none.
  bool TellNext(const Listener& listener);
  // Whether the place of what has changed was passed. What is behind it will be told as it is then,
  // or not at all if it is gone.
  bool HasPassed(const v1::DiscoveryEvent& change) const;

 private:
  enum class Part { kPeers, kNodes, kTopics, kServices, kLinks, kEnd };

  // Fills in what comes next of a part. False: the part is over.
  bool Next(v1::DiscoveryEvent* event);
  bool NextPeer(v1::Peer* peer);
  bool NextLink(v1::Link* link);

  const RealmState* const state_;
  const Interest interest_;
  Part part_ = Part::kPeers;
  // What was told last of the part, if anything: topics and services by name, all else by ID.
  std::optional<uint64_t> id_;
  std::string name_;
};

// The event that ends a snapshot.
v1::DiscoveryEvent SnapshotDone();

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_SNAPSHOT_H_
