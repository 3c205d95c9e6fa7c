#ifndef IVMQ_BROKER_CONTROL_MATCHMAKER_H_
#define IVMQ_BROKER_CONTROL_MATCHMAKER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/control/directory.h"
#include "ivmq/v1/control.pb.h"

// Who fits whom, and what they agree on. Pure. Any thread.

namespace ivmq::control {

inline constexpr uint64_t kDefaultRingBytes = 64 << 10;

// INVALID_ARGUMENT for a reliability that this version does not have, or a ring wish that is
// neither 0 nor a power of two from 4 KiB to 16 MiB.
absl::Status ValidateQos(const v1::Qos& qos);

// OK, or FAILED_PRECONDITION naming both nodes and both types. A subscriber without a type takes
// anything as bytes; otherwise the two types must be the same.
absl::Status Fits(const Endpoint& publisher, const Node& publisher_node, const Endpoint& subscriber,
                  const Node& subscriber_node);

// OK, or FAILED_PRECONDITION naming both nodes and what differs. A server without a request type
// takes any request as bytes, a client without a reply type any reply; otherwise the types must be
// the same.
absl::Status FitsService(const Endpoint& client, const Node& client_node, const Endpoint& server,
                         const Node& server_node);

// The larger wish; without any, 64 KiB. REQUIRES: both wishes are valid.
uint64_t AgreedRingBytes(const Endpoint& publisher, const Endpoint& subscriber);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_MATCHMAKER_H_
