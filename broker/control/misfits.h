#ifndef IVMQ_BROKER_CONTROL_MISFITS_H_
#define IVMQ_BROKER_CONTROL_MISFITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "broker/control/directory.h"
#include "broker/control/realm_state.h"

// What is told of two that meet and do not fit. One thread, the books'.

namespace ivmq::control {

// Of so many misfits a newcomer is told: as many as are kept for operators. The other sides are
// told in any case.
inline constexpr size_t kMostToldToNewcomer = Refusals::kKept;

// Records that they do not fit, for operators, and tells the one that was there. `newcomer` has
// the ID 0 if it is not registered.
void ReportMisfit(RealmState* state, const Endpoint& newcomer, const Endpoint& other,
                  const absl::Status& why);
// Tells a newcomer whose registration is about to be answered.
void TellNewcomer(RealmState* state, const Endpoint& newcomer, const Endpoint& other,
                  const absl::Status& why);
// The records of the endpoint go.
void ForgetMisfits(RealmState* state, uint64_t endpoint_id);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_MISFITS_H_
