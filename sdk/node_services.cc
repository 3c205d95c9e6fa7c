// The services of a node: its clients and servers.

#include <string>
#include <utility>

#include "sdk/client_cache.h"
#include "sdk/client_impl.h"
#include "sdk/node_impl.h"
#include "sdk/server_impl.h"
#include "sdk/wire_text.h"

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

Result<std::shared_ptr<ClientImpl>> NodeImpl::CreateClient(std::string_view service,
                                                           std::string_view query_type,
                                                           std::string_view reply_type,
                                                           const ClientOptions& options) {
  if (forked()) return ForkedStatus();
  if (Status status = CheckNames(service, query_type, reply_type); !status.ok()) return status;
  auto client = ClientImpl::Make(shared_from_this(), service, options);
  if (!client.ok()) return client;
  v1::NodeRequest request;
  auto* const registration = request.mutable_register_client();
  registration->set_service(std::string(service));
  registration->set_request_type(std::string(query_type));
  registration->set_reply_type(std::string(reply_type));
  registration->set_ring_bytes((*client)->ring_bytes());
  if (const auto id = Register(&request, client->get()); !id.ok()) return id.status();
  return client;
}

Result<std::shared_ptr<ServerImpl>> NodeImpl::CreateServer(
    std::string_view service, std::string_view query_type, std::string_view reply_type,
    BytesServer::Handler handler, const ServerOptions& options, bool serves_itself) {
  if (forked()) return ForkedStatus();
  if (Status status = CheckNames(service, query_type, reply_type); !status.ok()) return status;
  auto server =
      ServerImpl::Make(shared_from_this(), service, std::move(handler), options, serves_itself);
  if (!server.ok()) return server;
  v1::NodeRequest request;
  auto* const registration = request.mutable_register_server();
  registration->set_service(std::string(service));
  registration->set_request_type(std::string(query_type));
  registration->set_reply_type(std::string(reply_type));
  registration->set_ring_bytes((*server)->ring_bytes());
  const bool says = IsToDescribe({query_type, reply_type}, options.descriptors);
  if (says) registration->set_file_descriptor_set(options.descriptors);
  const auto id = Register(&request, server->get());
  if (!id.ok()) return id.status();
  NoteDescribed({query_type, reply_type}, id.value(), says);
  if (Status status = (*server)->Start(); !status.ok()) return status;
  return server;
}

}  // namespace ivmq::internal

namespace ivmq {

Result<BytesClient> Node::CreateBytesClient(std::string_view service, std::string_view query_type,
                                            std::string_view reply_type, ClientOptions options) {
  auto impl = impl_->CreateClient(service, query_type, reply_type, options);
  if (!impl.ok()) return impl.status();
  return BytesClient(std::move(impl).value());
}

Result<BytesClient> Node::CachedClient(std::string_view service, std::string_view query_type,
                                       std::string_view reply_type) {
  return clients_->Get(impl_.get(), service, query_type, reply_type);
}

Result<BytesServer> Node::ServeBytes(std::string_view service, std::string_view query_type,
                                     std::string_view reply_type, BytesServer::Handler handler,
                                     ServerOptions options) {
  auto impl =
      impl_->CreateServer(service, query_type, reply_type, std::move(handler), options, true);
  if (!impl.ok()) return impl.status();
  return BytesServer(std::move(impl).value());
}

Result<BytesServer> Node::CreateBytesServer(std::string_view service, std::string_view query_type,
                                            std::string_view reply_type,
                                            BytesServer::Handler handler, ServerOptions options) {
  auto impl =
      impl_->CreateServer(service, query_type, reply_type, std::move(handler), options, false);
  if (!impl.ok()) return impl.status();
  return BytesServer(std::move(impl).value());
}

}  // namespace ivmq
