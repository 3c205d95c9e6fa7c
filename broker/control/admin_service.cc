#include "broker/control/admin_service.h"

#include <string>
#include <utility>

#include "broker/control/admin_watch.h"

namespace ivmq::control {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace

// Request and response live until Finish(), which is called exactly once for each call.
grpc::ServerUnaryReactor* AdminService::OnLoop(grpc::CallbackServerContext* context,
                                               std::function<void(Finish)> work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  tasks_->Post([reactor, work = std::move(work)] {
    work([reactor](absl::Status status) { reactor->Finish(ToGrpc(status)); });
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::ListRealms(grpc::CallbackServerContext* context,
                                                   const v1::ListRealmsRequest* /*request*/,
                                                   v1::ListRealmsResponse* response) {
  return OnLoop(context, [this, response](const Finish& finish) {
    backend_->queries().ListRealms(response);
    finish(absl::OkStatus());
  });
}

grpc::ServerUnaryReactor* AdminService::ListPeers(grpc::CallbackServerContext* context,
                                                  const v1::ListPeersRequest* request,
                                                  v1::ListPeersResponse* response) {
  return OnLoop(context, [this, request, response](const Finish& finish) {
    finish(backend_->queries().ListPeers(request->realm(), response));
  });
}

grpc::ServerUnaryReactor* AdminService::ListNodes(grpc::CallbackServerContext* context,
                                                  const v1::ListNodesRequest* request,
                                                  v1::ListNodesResponse* response) {
  return OnLoop(context, [this, request, response](const Finish& finish) {
    finish(backend_->queries().ListNodes(request->realm(), response));
  });
}

grpc::ServerUnaryReactor* AdminService::ListTopics(grpc::CallbackServerContext* context,
                                                   const v1::ListTopicsRequest* request,
                                                   v1::ListTopicsResponse* response) {
  return OnLoop(context, [this, request, response](const Finish& finish) {
    finish(backend_->queries().ListTopics(request->realm(), response));
  });
}

grpc::ServerUnaryReactor* AdminService::ListLinks(grpc::CallbackServerContext* context,
                                                  const v1::ListLinksRequest* request,
                                                  v1::ListLinksResponse* response) {
  return OnLoop(context, [this, request, response](Finish finish) {
    backend_->queries().ListLinks(*request, response, std::move(finish));
  });
}

grpc::ServerUnaryReactor* AdminService::EvictNode(grpc::CallbackServerContext* context,
                                                  const v1::EvictNodeRequest* request,
                                                  v1::EvictNodeResponse* /*response*/) {
  return OnLoop(context, [this, request](const Finish& finish) {
    finish(backend_->EvictNode(request->node_id()));
  });
}

grpc::ServerUnaryReactor* AdminService::EvictPeer(grpc::CallbackServerContext* context,
                                                  const v1::EvictPeerRequest* request,
                                                  v1::EvictPeerResponse* /*response*/) {
  return OnLoop(context, [this, request](const Finish& finish) {
    finish(backend_->EvictPeer(request->realm(), request->peer_id()));
  });
}

grpc::ServerWriteReactor<v1::WatchResponse>* AdminService::Watch(
    grpc::CallbackServerContext* /*context*/, const v1::WatchRequest* request) {
  // The request does not outlive the call; what is posted may come after its end.
  AdminWatch::Callbacks callbacks;
  callbacks.on_cancel = [this](std::shared_ptr<AdminWatch> watch) {
    tasks_->Post([watch = std::move(watch)] { watch->End(grpc::Status::CANCELLED); });
  };
  callbacks.on_done = [this](std::shared_ptr<AdminWatch> watch) {
    tasks_->Post([this, watch = std::move(watch)] {
      watch->End(grpc::Status::CANCELLED);
      watches_.erase(watch);
    });
  };
  std::shared_ptr<AdminWatch> watch = AdminWatch::Create(std::move(callbacks));
  AdminWatch* reactor = watch.get();
  tasks_->Post([this, watch = std::move(watch), request = *request] {
    watches_.insert(watch);
    watch->Begin(request, backend_->queries());
  });
  return reactor;
}

void AdminService::EndWatches() {
  for (const std::shared_ptr<AdminWatch>& watch : watches_) {
    watch->End(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the daemon stops"));
  }
}

}  // namespace ivmq::control
