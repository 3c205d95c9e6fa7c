#ifndef IVMQ_BROKER_CONTROL_SNAPSHOT_H_
#define IVMQ_BROKER_CONTROL_SNAPSHOT_H_

#include <functional>

#include "broker/control/change_feed.h"
#include "broker/control/realm_state.h"

namespace ivmq::control {

// Tells all that exists in a realm and is of interest, as ADDED events. One thread, the state's.
void TellSnapshot(const RealmState& state, const Interest& interest,
                  const std::function<void(const v1::DiscoveryEvent&)>& listener);
// The event that ends a snapshot.
v1::DiscoveryEvent SnapshotDone();

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_SNAPSHOT_H_
