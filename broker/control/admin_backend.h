#ifndef IVMQ_BROKER_CONTROL_ADMIN_BACKEND_H_
#define IVMQ_BROKER_CONTROL_ADMIN_BACKEND_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "broker/control/admin_queries.h"

namespace ivmq::control {

// What the Admin service can have done. One thread, the loop's.
class AdminBackend {
 public:
  virtual ~AdminBackend() = default;
  virtual const AdminQueries& queries() const = 0;
  // NOT_FOUND; FAILED_PRECONDITION for one that is out already; INVALID_ARGUMENT for peer 0.
  virtual absl::Status EvictNode(uint64_t node_id) = 0;
  virtual absl::Status EvictPeer(const std::string& realm, uint32_t peer_id) = 0;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ADMIN_BACKEND_H_
