#ifndef IVMQ_BROKER_CONTROL_MATCHMAKER_H_
#define IVMQ_BROKER_CONTROL_MATCHMAKER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/control/agreement.h"
#include "broker/control/directory.h"
#include "ivmq/v1/control.pb.h"

// Who fits whom, and what they agree on. Pure. Any thread.

namespace ivmq::control {

inline constexpr uint32_t kMaxDepth = 65536;
inline constexpr uint32_t kMaxHistory = 65536;

// INVALID_ARGUMENT, saying what was asked and what is allowed, for wishes beyond the bounds of
// qos.proto.
absl::Status ValidateQos(const v1::Qos& qos, bool publishes);

// OK, or FAILED_PRECONDITION naming both nodes and both types. A subscriber without a type takes
// anything as bytes; otherwise the two types must be the same.
absl::Status Fits(const Endpoint& publisher, const Node& publisher_node, const Endpoint& subscriber,
                  const Node& subscriber_node);

// OK, or FAILED_PRECONDITION naming both nodes and what differs. A server without a request type
// takes any request as bytes, a client without a reply type any reply; otherwise the types must be
// the same.
absl::Status FitsService(const Endpoint& client, const Node& client_node, const Endpoint& server,
                         const Node& server_node);

// What their link will be, by the table of qos.proto; or FAILED_PRECONDITION, naming both nodes and
// what each said. REQUIRES: both wishes are valid.
absl::StatusOr<Agreement> Agree(const Endpoint& publisher, const Node& publisher_node,
                                const Endpoint& subscriber, const Node& subscriber_node);
// Both links of a client and a server: reliable, the ring as large as the larger wish.
Agreement AgreeOnService(const Endpoint& client, const Endpoint& server);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_MATCHMAKER_H_
