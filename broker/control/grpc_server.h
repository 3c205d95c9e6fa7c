#ifndef IVMQ_BROKER_CONTROL_GRPC_SERVER_H_
#define IVMQ_BROKER_CONTROL_GRPC_SERVER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "broker/control/admin_backend.h"
#include "broker/control/agent_streams.h"
#include "transport/event_loop.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// The two gRPC servers: Admin for operators' connections, Control for agents'. Neither listens:
// every connection is handed in as a descriptor, so each knows whose it is, and an agent cannot
// call Admin. Keeps gRPC's headers out of everything else.
// Thread: the loop's. Loop, backend and realms must outlive it.
class GrpcServer {
 public:
  struct Parts {
    transport::EventLoop* loop = nullptr;
    AdminBackend* backend = nullptr;
    const RealmMap* realms = nullptr;
  };
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Parts& parts);
  // Ends all calls. Runs the loop meanwhile, as they end on it.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // Take the connection; closed when the other side closes it.
  void AddAdmin(transport::UniqueFd connection);
  void AddAgent(transport::UniqueFd connection, const AgentKey& key);

 private:
  struct Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_GRPC_SERVER_H_
