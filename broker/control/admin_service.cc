#include "broker/control/admin_service.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "broker/control/admin_watch.h"
#include "broker/control/completion_thread.h"

namespace ivmq::control {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

using AsyncAdmin = v1::Admin::AsyncService;
using Finish = std::function<void(absl::Status)>;

// One call with one request and one answer; alive while an operation of it is under way.
template <class Request, class Response>
class UnaryCall {
 public:
  using RequestMethod = void (AsyncAdmin::*)(grpc::ServerContext*, Request*,
                                             grpc::ServerAsyncResponseWriter<Response>*,
                                             grpc::CompletionQueue*, grpc::ServerCompletionQueue*,
                                             void*);
  using Handler = std::function<void(const Request&, Response*, Finish)>;

  // Takes the next call of the method that comes, and each after it.
  static void Listen(AsyncAdmin* service, CompletionThread* thread, RequestMethod method,
                     Handler handler) {
    const auto call = std::make_shared<UnaryCall>(thread->token());
    (service->*method)(&call->context_, &call->request_, &call->writer_, thread->queue(),
                       thread->queue(), CompletionThread::NewTag([=](bool ok) {
                         if (!ok) return;  // the server shuts down
                         Listen(service, thread, method, handler);
                         handler(call->request_, &call->response_,
                                 [call](const absl::Status& status) { Answer(call, status); });
                       }));
  }

  explicit UnaryCall(std::shared_ptr<void> token) : token_(std::move(token)), writer_(&context_) {}

 private:
  static void Answer(const std::shared_ptr<UnaryCall>& call, const absl::Status& status) {
    call->writer_.Finish(call->response_, ToGrpc(status),
                         CompletionThread::NewTag([call](bool) {}));
  }

  const std::shared_ptr<void> token_;
  grpc::ServerContext context_;
  Request request_;
  Response response_;
  grpc::ServerAsyncResponseWriter<Response> writer_;
};

template <class Request, class Response>
void Serve(AsyncAdmin* service, CompletionThread* thread,
           typename UnaryCall<Request, Response>::RequestMethod method,
           typename UnaryCall<Request, Response>::Handler handler) {
  UnaryCall<Request, Response>::Listen(service, thread, method, std::move(handler));
}

}  // namespace

void ServeAdmin(AsyncAdmin* service, CompletionThread* thread, AdminBackend* backend) {
  const AdminQueries* queries = &backend->queries();
  Serve<v1::ListRealmsRequest, v1::ListRealmsResponse>(
      service, thread, &AsyncAdmin::RequestListRealms,
      [=](const auto& /*request*/, auto* response, const Finish& finish) {
        queries->ListRealms(response);
        finish(absl::OkStatus());
      });
  Serve<v1::ListPeersRequest, v1::ListPeersResponse>(
      service, thread, &AsyncAdmin::RequestListPeers,
      [=](const auto& request, auto* response, const Finish& finish) {
        finish(queries->ListPeers(request.realm(), response));
      });
  Serve<v1::ListNodesRequest, v1::ListNodesResponse>(
      service, thread, &AsyncAdmin::RequestListNodes,
      [=](const auto& request, auto* response, const Finish& finish) {
        finish(queries->ListNodes(request.realm(), response));
      });
  Serve<v1::ListTopicsRequest, v1::ListTopicsResponse>(
      service, thread, &AsyncAdmin::RequestListTopics,
      [=](const auto& request, auto* response, const Finish& finish) {
        finish(queries->ListTopics(request.realm(), response));
      });
  Serve<v1::ListLinksRequest, v1::ListLinksResponse>(
      service, thread, &AsyncAdmin::RequestListLinks,
      [=](const auto& request, auto* response, Finish finish) {
        queries->ListLinks(request, response, std::move(finish));
      });
  Serve<v1::AuditRequest, v1::AuditResponse>(
      service, thread, &AsyncAdmin::RequestAudit,
      [=](const auto& request, auto* response, Finish finish) {
        queries->Audit(request, response, std::move(finish));
      });
  Serve<v1::EvictNodeRequest, v1::EvictNodeResponse>(
      service, thread, &AsyncAdmin::RequestEvictNode,
      [=](const auto& request, auto* /*response*/, const Finish& finish) {
        finish(backend->EvictNode(request.node_id()));
      });
  Serve<v1::EvictPeerRequest, v1::EvictPeerResponse>(
      service, thread, &AsyncAdmin::RequestEvictPeer,
      [=](const auto& request, auto* /*response*/, const Finish& finish) {
        finish(backend->EvictPeer(request.realm(), request.peer_id()));
      });
  AdminWatch::Listen(service, thread, queries);
}

}  // namespace ivmq::control
