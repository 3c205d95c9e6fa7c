#ifndef IVMQ_TESTS_CONTROL_ADMIN_CLIENT_H_
#define IVMQ_TESTS_CONTROL_ADMIN_CLIENT_H_

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "ivmq/v1/admin.grpc.pb.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// An operator. Throws where a list fails that has no reason to.
class AdminClient {
 public:
  explicit AdminClient(transport::UniqueFd connection)
      : channel_(grpc::CreateInsecureChannelFromFd("admin", connection.Release())),
        stub_(v1::Admin::NewStub(channel_)) {}

  v1::Admin::Stub* stub() { return stub_.get(); }

  v1::Realm Realm() {
    grpc::ClientContext context;
    v1::ListRealmsResponse response;
    Must(stub_->ListRealms(&context, {}, &response));
    return response.realms(0);
  }
  v1::ListPeersResponse Peers() {
    grpc::ClientContext context;
    v1::ListPeersResponse response;
    Must(stub_->ListPeers(&context, {}, &response));
    return response;
  }
  v1::ListNodesResponse Nodes() {
    grpc::ClientContext context;
    v1::ListNodesResponse response;
    Must(stub_->ListNodes(&context, {}, &response));
    return response;
  }
  v1::ListTopicsResponse Topics() {
    grpc::ClientContext context;
    v1::ListTopicsResponse response;
    Must(stub_->ListTopics(&context, {}, &response));
    return response;
  }
  v1::ListLinksResponse Links() {
    grpc::ClientContext context;
    v1::ListLinksResponse response;
    Must(stub_->ListLinks(&context, {}, &response));
    return response;
  }
  v1::AuditResponse Audit(const std::string& topic = "") {
    grpc::ClientContext context;
    v1::AuditRequest request;
    request.set_topic(topic);
    v1::AuditResponse response;
    Must(stub_->Audit(&context, request, &response));
    return response;
  }
  grpc::Status EvictNode(uint64_t node_id) {
    grpc::ClientContext context;
    v1::EvictNodeRequest request;
    request.set_node_id(node_id);
    v1::EvictNodeResponse response;
    return stub_->EvictNode(&context, request, &response);
  }
  grpc::Status EvictPeer(const std::string& realm, uint32_t peer_id) {
    grpc::ClientContext context;
    v1::EvictPeerRequest request;
    request.set_realm(realm);
    request.set_peer_id(peer_id);
    v1::EvictPeerResponse response;
    return stub_->EvictPeer(&context, request, &response);
  }

 private:
  static void Must(const grpc::Status& status) {
    if (!status.ok()) throw std::runtime_error(status.error_message());
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Admin::Stub> stub_;
};

}  // namespace ivmq::control

#endif  // IVMQ_TESTS_CONTROL_ADMIN_CLIENT_H_
