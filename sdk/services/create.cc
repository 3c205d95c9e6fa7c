// How clients and servers come to be: made, and registered with control.

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "sdk/node/node_impl.h"
#include "sdk/node/wire_text.h"
#include "sdk/services/client_impl.h"
#include "sdk/services/server_impl.h"

namespace ivmq::internal {
namespace {

// A service has a name, not a filter: nobody could say whose reply came back.
Status CheckServiceName(std::string_view service) {
  if (Status status = CheckWireText("service", service); !status.ok()) return status;
  for (size_t begin = 0; begin <= service.size();) {
    const size_t end = std::min(service.find('.', begin), service.size());
    const std::string_view token = service.substr(begin, end - begin);
    if (token == "*" || token == ">") {
      return {Code::kInvalidArgument, "service '" + std::string(service) +
                                          "': requests go to one service, not to a filter ('" +
                                          std::string(token) + "')"};
    }
    begin = end + 1;
  }
  return {};
}

Status CheckNames(std::string_view service, std::string_view query_type,
                  std::string_view reply_type) {
  Status status = CheckServiceName(service);
  if (status.ok()) status = CheckWireText("query type name", query_type);
  if (status.ok()) status = CheckWireText("reply type name", reply_type);
  return status;
}

}  // namespace

Result<std::shared_ptr<ClientImpl>> ClientImpl::Create(
    const std::shared_ptr<NodeImpl>& node, std::string_view service, std::string_view query_type,
    std::string_view reply_type, const ClientOptions& options, std::chrono::nanoseconds timeout) {
  if (node->forked()) return ForkedStatus();
  if (Status status = CheckNames(service, query_type, reply_type); !status.ok()) return status;
  auto client = Make(node, service, options);
  if (!client.ok()) return client;
  v1::NodeRequest request;
  auto* const registration = request.mutable_register_client();
  registration->set_service(std::string(service));
  registration->set_request_type(std::string(query_type));
  registration->set_reply_type(std::string(reply_type));
  registration->set_ring_bytes((*client)->ring_bytes());
  const auto id = node->Register(&request, client->get(), nullptr, timeout);
  if (!id.ok()) return id.status();
  return client;
}

Result<std::shared_ptr<ServerImpl>> ServerImpl::Create(
    const std::shared_ptr<NodeImpl>& node, std::string_view service, std::string_view query_type,
    std::string_view reply_type, BytesServer::Handler handler, const ServerOptions& options,
    bool serves_itself) {
  if (node->forked()) return ForkedStatus();
  if (Status status = CheckNames(service, query_type, reply_type); !status.ok()) return status;
  auto server = Make(node, service, std::move(handler), options, serves_itself);
  if (!server.ok()) return server;
  v1::NodeRequest request;
  auto* const registration = request.mutable_register_server();
  registration->set_service(std::string(service));
  registration->set_request_type(std::string(query_type));
  registration->set_reply_type(std::string(reply_type));
  registration->set_ring_bytes((*server)->ring_bytes());
  const NodeImpl::Types types{
      {query_type, reply_type}, options.descriptors, registration->mutable_file_descriptor_set()};
  const auto id = node->Register(&request, server->get(), &types);
  if (!id.ok()) return id.status();
  if (Status status = (*server)->Start(); !status.ok()) return status;
  return server;
}

}  // namespace ivmq::internal
