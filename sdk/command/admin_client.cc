#include "sdk/command/admin_client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include "ivmq/v1/admin.grpc.pb.h"
#include "transport/unix_socket.h"

namespace ivmq::command {
namespace {

using transport::Code;
using transport::Result;
using transport::Status;

constexpr std::chrono::seconds kConnectWithin{5};
constexpr std::chrono::seconds kAnswerWithin{10};
constexpr const char* kNameAnother =
    "is it another of ivmqd's sockets? Name the one that its --admin-socket says";

Status Explain(const grpc::Status& status, const std::string& path) {
  const Code code = static_cast<Code>(status.error_code());
  switch (code) {
    case Code::kUnavailable:
      return Status(code, "ivmqd at " + path + " took the connection but does not answer (" +
                              status.error_message() +
                              "): its control process is gone; restart ivmqd");
    case Code::kDeadlineExceeded:
      return Status(code, "ivmqd at " + path + " does not answer within " +
                              std::to_string(kAnswerWithin.count()) + " s; look into its log");
    case Code::kUnimplemented:
      return Status(
          code, "ivmqd at " + path + " does not know this request: it is older than this command");
    case Code::kUnknown:
    case Code::kInternal:
      return Status(code, path + " does not answer as ivmqd's admin socket does (" +
                              status.error_message() + "); " + kNameAnother);
    default:
      return Status(code, status.error_message());
  }
}

Status ExplainConnect(const Status& status, const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return status;  // says so
  switch (status.code()) {
    case Code::kNotFound:
    case Code::kUnavailable:
      return Status(status.code(),
                    "ivmqd does not listen at " + path +
                        ": on a host start it (systemctl start ivmqd), or give --admin-socket or "
                        "IVMQ_ADMIN_SOCKET; in a guest there is none: ask on the host");
    case Code::kPermissionDenied:
      return Status(status.code(), "no permission for " + path +
                                       ": run as the user of ivmqd, or start ivmqd with "
                                       "--socket-group of a group of this user");
    case Code::kFailedPrecondition:
      return Status(status.code(), path + " is no admin socket; " + kNameAnother);
    default:  // names the path
      return status;
  }
}

}  // namespace

struct AdminClient::Impl {
  std::string path;
  std::unique_ptr<v1::Admin::Stub> stub;
  std::mutex mutex;
  grpc::ClientContext* watching = nullptr;  // guarded by mutex
  bool cancelled = false;                   // guarded by mutex

  template <class Request, class Response>
  Result<Response> Call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                        const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kAnswerWithin);
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return Explain(status, path);
    return response;
  }
};

AdminClient::AdminClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminClient::~AdminClient() = default;

Result<std::unique_ptr<AdminClient>> AdminClient::Connect(const std::string& socket_path) {
  Result<transport::UniqueFd> socket =
      transport::ConnectUnix(socket_path, transport::UnixSocketType::kStream,
                             std::chrono::steady_clock::now() + kConnectWithin);
  if (!socket.ok()) return ExplainConnect(socket.status(), socket_path);
  auto impl = std::make_unique<Impl>();
  impl->path = socket_path;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // a realm may have many links
  impl->stub = v1::Admin::NewStub(grpc::CreateCustomInsecureChannelFromFd(
      "ivmqd", std::move(socket).value().Release(), arguments));
  return std::unique_ptr<AdminClient>(new AdminClient(std::move(impl)));
}

Result<v1::ListRealmsResponse> AdminClient::ListRealms() {
  return impl_->Call(&v1::Admin::Stub::ListRealms, v1::ListRealmsRequest());
}

Result<v1::ListPeersResponse> AdminClient::ListPeers(const std::string& realm) {
  v1::ListPeersRequest request;
  request.set_realm(realm);
  return impl_->Call(&v1::Admin::Stub::ListPeers, request);
}

Result<v1::ListNodesResponse> AdminClient::ListNodes(const std::string& realm) {
  v1::ListNodesRequest request;
  request.set_realm(realm);
  return impl_->Call(&v1::Admin::Stub::ListNodes, request);
}

Result<v1::ListTopicsResponse> AdminClient::ListTopics(const std::string& realm) {
  v1::ListTopicsRequest request;
  request.set_realm(realm);
  return impl_->Call(&v1::Admin::Stub::ListTopics, request);
}

Result<v1::ListLinksResponse> AdminClient::ListLinks(const std::string& realm,
                                                     const std::string& topic) {
  v1::ListLinksRequest request;
  request.set_realm(realm);
  request.set_topic(topic);
  return impl_->Call(&v1::Admin::Stub::ListLinks, request);
}

Result<v1::AuditResponse> AdminClient::Audit(const std::string& realm, const std::string& topic) {
  v1::AuditRequest request;
  request.set_realm(realm);
  request.set_topic(topic);
  return impl_->Call(&v1::Admin::Stub::Audit, request);
}

Status AdminClient::EvictNode(uint64_t node_id) {
  v1::EvictNodeRequest request;
  request.set_node_id(node_id);
  return impl_->Call(&v1::Admin::Stub::EvictNode, request).status();
}

Status AdminClient::EvictPeer(const std::string& realm, uint32_t peer_id) {
  v1::EvictPeerRequest request;
  request.set_realm(realm);
  request.set_peer_id(peer_id);
  return impl_->Call(&v1::Admin::Stub::EvictPeer, request).status();
}

Status AdminClient::Watch(const std::string& realm, const WatchOptions& what,
                          const std::function<void(const v1::DiscoveryEvent&)>& on_event) {
  grpc::ClientContext context;
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->cancelled) return Status();
    impl_->watching = &context;
  }
  v1::WatchRequest request;
  request.set_realm(realm);
  request.set_peers(what.peers);
  request.set_nodes(what.nodes);
  request.set_topics(what.topics);
  request.set_links(what.links);
  const auto reader = impl_->stub->Watch(&context, request);
  v1::WatchResponse response;
  while (reader->Read(&response)) on_event(response.event());
  const grpc::Status status = reader->Finish();
  const std::lock_guard lock(impl_->mutex);
  impl_->watching = nullptr;
  if (impl_->cancelled || status.ok()) return Status();
  return Explain(status, impl_->path);
}

void AdminClient::Cancel() {
  const std::lock_guard lock(impl_->mutex);
  impl_->cancelled = true;
  if (impl_->watching != nullptr) impl_->watching->TryCancel();
}

}  // namespace ivmq::command
