#include "ivmq/node.h"

#include <chrono>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/pubsub/publisher_impl.h"
#include "sdk/pubsub/subscriber_impl.h"
#include "sdk/services/client_cache.h"
#include "sdk/services/client_impl.h"
#include "sdk/services/server_impl.h"

namespace ivmq {
namespace {

using internal::NodeImpl;

// What the copies of a Node share beside the attachment, which publishers and others may keep.
struct Copies {
  explicit Copies(std::shared_ptr<NodeImpl> of) : node(std::move(of)) {}
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;
  ~Copies() {
    if (!node->forked()) node->ForgetHandlers();
  }
  const std::shared_ptr<NodeImpl> node;
};

std::shared_ptr<NodeImpl> ForCopies(std::shared_ptr<NodeImpl> impl) {
  NodeImpl* const node = impl.get();
  return {std::make_shared<const Copies>(std::move(impl)), node};
}

}  // namespace

// What is made gets impl_->shared_from_this(), the attachment alone.
Node::Node(std::shared_ptr<internal::NodeImpl> impl)
    : impl_(ForCopies(std::move(impl))), clients_(std::make_shared<internal::ClientCache>()) {}

Result<Node> Node::Open(NodeOptions options) {
  auto impl = internal::NodeImpl::Open(options);
  if (!impl.ok()) return impl.status();
  return Node(std::move(impl).value());
}

Result<BytesPublisher> Node::CreateBytesPublisher(std::string_view topic,
                                                  std::string_view type_name,
                                                  PublisherOptions options) {
  auto impl = internal::PublisherImpl::Create(impl_->shared_from_this(), topic, type_name, options);
  if (!impl.ok()) return impl.status();
  return BytesPublisher(std::move(impl).value());
}

Result<BytesSubscriber> Node::CreateBytesSubscriber(std::string_view topic,
                                                    std::string_view type_name,
                                                    SubscriberOptions options) {
  auto impl =
      internal::SubscriberImpl::Create(impl_->shared_from_this(), topic, type_name, options);
  if (!impl.ok()) return impl.status();
  return BytesSubscriber(std::move(impl).value());
}

Result<BytesClient> Node::CreateBytesClient(std::string_view service, std::string_view query_type,
                                            std::string_view reply_type, ClientOptions options) {
  auto impl = internal::ClientImpl::Create(impl_->shared_from_this(), service, query_type,
                                           reply_type, options, std::chrono::nanoseconds::max());
  if (!impl.ok()) return impl.status();
  return BytesClient(std::move(impl).value());
}

Result<BytesClient> Node::CachedClient(std::string_view service, std::string_view query_type,
                                       std::string_view reply_type,
                                       std::chrono::nanoseconds* timeout) {
  const auto deadline = internal::DeadlineAfter(*timeout);
  auto client = clients_->Get(impl_->shared_from_this(), service, query_type, reply_type, *timeout);
  *timeout = deadline - std::chrono::steady_clock::now();
  return client;
}

Result<BytesServer> Node::ServeBytes(std::string_view service, std::string_view query_type,
                                     std::string_view reply_type, BytesServer::Handler handler,
                                     ServerOptions options) {
  auto impl = internal::ServerImpl::Create(impl_->shared_from_this(), service, query_type,
                                           reply_type, std::move(handler), options, true);
  if (!impl.ok()) return impl.status();
  return BytesServer(std::move(impl).value());
}

Result<BytesServer> Node::CreateBytesServer(std::string_view service, std::string_view query_type,
                                            std::string_view reply_type,
                                            BytesServer::Handler handler, ServerOptions options) {
  auto impl = internal::ServerImpl::Create(impl_->shared_from_this(), service, query_type,
                                           reply_type, std::move(handler), options, false);
  if (!impl.ok()) return impl.status();
  return BytesServer(std::move(impl).value());
}

Status Node::WatchDiscovery(std::function<void(const Discovery&)> handler) {
  return impl_->Watch(std::move(handler));
}

Result<std::string> Node::DescribeType(std::string_view type_name) {
  return impl_->DescribeType(type_name);
}

uint64_t Node::failed_handlers() const { return impl_->failed_handlers(); }
uint64_t Node::left_out_events() const { return impl_->left_out_events(); }
bool Node::connected() const { return impl_->connected(); }
uint64_t Node::id() const { return impl_->id(); }
uint32_t Node::peer_id() const { return impl_->peer_id(); }
const std::string& Node::name() const { return impl_->name(); }
const std::string& Node::realm() const { return impl_->realm(); }
void Node::Close() { impl_->Close(); }

}  // namespace ivmq
