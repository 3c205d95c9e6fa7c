#ifndef IVMQ_BROKER_CONTROL_ADMIN_SERVICE_H_
#define IVMQ_BROKER_CONTROL_ADMIN_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <set>

#include "broker/control/admin_backend.h"
#include "broker/control/task_queue.h"
#include "ivmq/v1/admin.grpc.pb.h"

namespace ivmq::control {

class AdminWatch;

// Admin over gRPC: every call is answered on the loop's thread, out of the backend. gRPC's threads
// only post. Task queue and backend must outlive all calls.
class AdminService : public v1::Admin::CallbackService {
 public:
  AdminService(TaskQueue* tasks, AdminBackend* backend) : tasks_(tasks), backend_(backend) {}

  grpc::ServerUnaryReactor* ListRealms(grpc::CallbackServerContext* context,
                                       const v1::ListRealmsRequest* request,
                                       v1::ListRealmsResponse* response) override;
  grpc::ServerUnaryReactor* ListPeers(grpc::CallbackServerContext* context,
                                      const v1::ListPeersRequest* request,
                                      v1::ListPeersResponse* response) override;
  grpc::ServerUnaryReactor* ListNodes(grpc::CallbackServerContext* context,
                                      const v1::ListNodesRequest* request,
                                      v1::ListNodesResponse* response) override;
  grpc::ServerUnaryReactor* ListTopics(grpc::CallbackServerContext* context,
                                       const v1::ListTopicsRequest* request,
                                       v1::ListTopicsResponse* response) override;
  grpc::ServerUnaryReactor* ListLinks(grpc::CallbackServerContext* context,
                                      const v1::ListLinksRequest* request,
                                      v1::ListLinksResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(grpc::CallbackServerContext* context,
                                                     const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* EvictNode(grpc::CallbackServerContext* context,
                                      const v1::EvictNodeRequest* request,
                                      v1::EvictNodeResponse* response) override;
  grpc::ServerUnaryReactor* EvictPeer(grpc::CallbackServerContext* context,
                                      const v1::EvictPeerRequest* request,
                                      v1::EvictPeerResponse* response) override;

  // Ends all watches. On the loop's thread.
  void EndWatches();

 private:
  using Finish = std::function<void(absl::Status)>;
  grpc::ServerUnaryReactor* OnLoop(grpc::CallbackServerContext* context,
                                   std::function<void(Finish)> work);

  TaskQueue* const tasks_;
  AdminBackend* const backend_;
  // Of the loop's thread.
  std::set<std::shared_ptr<AdminWatch>> watches_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ADMIN_SERVICE_H_
