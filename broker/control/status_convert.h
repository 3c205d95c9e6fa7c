#ifndef IVMQ_BROKER_CONTROL_STATUS_CONVERT_H_
#define IVMQ_BROKER_CONTROL_STATUS_CONVERT_H_

#include "absl/status/status.h"
#include "transport/status.h"

namespace ivmq::control {

// The codes have the same numbers everywhere (google.rpc.Code).
inline absl::Status ToAbsl(const transport::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.code()), status.message());
}

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_STATUS_CONVERT_H_
