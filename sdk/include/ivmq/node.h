#ifndef IVMQ_NODE_H_
#define IVMQ_NODE_H_

#include <ivmq/client.h>
#include <ivmq/codec.h>
#include <ivmq/event.h>
#include <ivmq/export.h>
#include <ivmq/options.h>
#include <ivmq/publisher.h>
#include <ivmq/server.h>
#include <ivmq/status.h>
#include <ivmq/subscriber.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ivmq {

namespace internal {
class ClientCache;
class NodeImpl;
}  // namespace internal

// This process as a member of a realm: attached to the daemon of its machine (ivmqd on a host,
// ivmq-agent in a guest; the call is the same).
//
// Any thread. Copyable: copies share one attachment, which ends when the last copy and the last
// publisher, subscriber, client and server are gone, or at Close. One background thread keeps the
// session. If the daemon goes away, links that exist go on carrying messages; Create then fails
// with UNAVAILABLE. After fork the child's copy answers FAILED_PRECONDITION and touches no memory.
class IVMQ_API Node {
 public:
  // Attaches. UNAVAILABLE: no daemon, with the paths that were tried; DEADLINE_EXCEEDED: it does
  // not answer; FAILED_PRECONDITION: the region is of another layout version or not ivmq's.
  static Result<Node> Open(NodeOptions options = {});

  // Starts publishing. `topic`: tokens by dots, no wildcards, 1 to 255 bytes of printable UTF-8,
  // else INVALID_ARGUMENT naming the token. FAILED_PRECONDITION: a subscriber of the topic takes
  // another type; both names are told. RESOURCE_EXHAUSTED: no memory left in the region.
  template <class T = Bytes>
  auto CreatePublisher(std::string_view topic, PublisherOptions options = {}) {
    if constexpr (std::is_same_v<T, Bytes>) {
      return CreateBytesPublisher(topic, {}, std::move(options));
    } else {
      if constexpr (requires { Codec<T>::Descriptors(); }) {
        if (options.descriptors.empty()) {
          options.descriptors = internal::KeptDescriptors(Codec<T>::Descriptors());
        }
      }
      auto bytes = CreateBytesPublisher(topic, Codec<T>::TypeName(), std::move(options));
      return bytes.ok() ? Result<Publisher<T>>(Publisher<T>(std::move(bytes).value()))
                        : Result<Publisher<T>>(bytes.status());
    }
  }

  // Starts receiving. Returns when every publisher registered by then has attached: whatever they
  // publish later is delivered. Errors as CreatePublisher's, and DEADLINE_EXCEEDED naming the
  // publishers that have not attached in time (nothing stays registered then).
  template <class T = Bytes>
  auto CreateSubscriber(std::string_view topic, const SubscriberOptions& options = {}) {
    if constexpr (std::is_same_v<T, Bytes>) {
      return CreateBytesSubscriber(topic, {}, options);
    } else {
      auto bytes = CreateBytesSubscriber(topic, Codec<T>::TypeName(), options);
      return bytes.ok() ? Result<Subscriber<T>>(Subscriber<T>(std::move(bytes).value()))
                        : Result<Subscriber<T>>(bytes.status());
    }
  }

  // The same with a callback instead of Receive and Poll: see SubscriberOptions::on_message.
  // Messages that are not a T are counted and passed over.
  template <class T>
  Result<Subscriber<T>> CreateSubscriber(std::string_view topic,
                                         std::function<void(const Message<T>&)> on_message,
                                         SubscriberOptions options = {}) {
    options.on_message = [handler = std::move(on_message)](const BytesMessage& message) {
      bool decoded = false;
      const Message<T> typed(message.info,
                             [&](T* value) { decoded = Codec<T>::Decode(message.bytes, value); });
      if (!decoded) throw internal::NotDecodable();
      handler(typed);
    };
    return CreateSubscriber<T>(topic, options);
  }

  // The same with the type named at run time; an empty name takes any type (subscriber) or has
  // none (publisher).
  Result<BytesPublisher> CreateBytesPublisher(std::string_view topic, std::string_view type_name,
                                              PublisherOptions options = {});
  Result<BytesSubscriber> CreateBytesSubscriber(std::string_view topic, std::string_view type_name,
                                                SubscriberOptions options = {});

  // Asks a service, by a client that the node keeps for this service and these types from the first
  // request on; it keeps the 128 that were asked last. `timeout` is for all, the making of that
  // client included. Errors are those of CreateClient and of BytesClient::Call.
  template <class Reply, class Query>
  Result<Reply> Request(std::string_view service, const Query& query,
                        std::chrono::nanoseconds timeout = kRequestTimeout) {
    auto client =
        CachedClient(service, Codec<Query>::TypeName(), Codec<Reply>::TypeName(), &timeout);
    if (!client.ok()) return client.status();
    return Client<Query, Reply>(std::move(client).value()).Call(query, timeout);
  }
  // Makes a client of its own. `service`: as a publisher's topic; INVALID_ARGUMENT also for a
  // filter. FAILED_PRECONDITION: a server takes or gives other types; all names are told. That
  // nobody serves is no error here.
  template <class Query = Bytes, class Reply = Bytes>
  auto CreateClient(std::string_view service, const ClientOptions& options = {}) {
    auto bytes =
        CreateBytesClient(service, Codec<Query>::TypeName(), Codec<Reply>::TypeName(), options);
    if constexpr (std::is_same_v<Query, Bytes> && std::is_same_v<Reply, Bytes>) {
      return bytes;
    } else {
      using Typed = Client<Query, Reply>;
      return bytes.ok() ? Result<Typed>(Typed(std::move(bytes).value()))
                        : Result<Typed>(bytes.status());
    }
  }

  // Serves until the server that it returns is closed: the handler runs on the executor of the
  // options, else on the one thread that all callbacks of the node share. Errors as CreateClient's.
  // The handler is one of
  //   Reply(const Query&)   Result<Reply>(const Query&)   either with a ServerContext& behind it
  //   Status(const Query&, ReplyStream<Reply>&)           for replies in pieces
  // What it throws reaches the client as INTERNAL. A failure it returns reaches it with its text.
  template <class Query, class Reply, class Handler>
  Result<Server> Serve(std::string_view service, Handler handler, ServerOptions options = {}) {
    return ServeBytes(service, Codec<Query>::TypeName(), Codec<Reply>::TypeName(),
                      internal::AdaptHandler<Query, Reply>(std::move(handler)),
                      internal::WithDescriptors<Query, Reply>(std::move(options)));
  }
  // The same without a thread of its own: the caller's threads serve by Server::Run or RunOnce,
  // which takes the least time.
  template <class Query, class Reply, class Handler>
  Result<Server> CreateServer(std::string_view service, Handler handler,
                              ServerOptions options = {}) {
    return CreateBytesServer(service, Codec<Query>::TypeName(), Codec<Reply>::TypeName(),
                             internal::AdaptHandler<Query, Reply>(std::move(handler)),
                             internal::WithDescriptors<Query, Reply>(std::move(options)));
  }

  // The same with the types named at run time; an empty name takes any type (what comes: queries of
  // a server, replies of a client) or has none (what goes).
  Result<BytesClient> CreateBytesClient(std::string_view service, std::string_view query_type,
                                        std::string_view reply_type, ClientOptions options = {});
  Result<BytesServer> ServeBytes(std::string_view service, std::string_view query_type,
                                 std::string_view reply_type, BytesServer::Handler handler,
                                 ServerOptions options = {});
  Result<BytesServer> CreateBytesServer(std::string_view service, std::string_view query_type,
                                        std::string_view reply_type, BytesServer::Handler handler,
                                        ServerOptions options = {});

  // Something of the realm came, changed or went.
  struct Discovery {
    enum class Kind { kAdded, kChanged, kRemoved, kSnapshotDone };
    enum class Subject { kNone, kPeer, kNode, kTopic, kService };
    Kind kind = Kind::kAdded;
    Subject subject = Subject::kNone;
    uint64_t id = 0;           // peer ID or node ID; 0 for a topic or service
    std::string name;          // of a node, topic or service
    std::string detail;        // type of a topic or of requests; state of a peer or node
    std::string reply_type;    // of a service
    uint32_t peer_id = 0;      // of a node
    uint32_t publishers = 0;   // of a topic or node
    uint32_t subscribers = 0;  // of a topic or node
    uint32_t clients = 0;      // of a service or node
    uint32_t servers = 0;      // of a service or node
  };
  // Tells all that exists, then kSnapshotDone; all along also what comes, changes and goes, until
  // the node closes or its last copy is gone. The handler runs on the node's own thread: it must
  // not block. Once a node: ALREADY_EXISTS. UNAVAILABLE: the daemon is gone; DEADLINE_EXCEEDED: it
  // does not answer; CLOSED; FAILED_PRECONDITION: on the node's own thread, or after fork. After a
  // failure the handler is not called, and it may be tried again.
  Status WatchDiscovery(std::function<void(const Discovery&)> handler);

  // What a type looks like, as a publisher or server of it has told: a serialized
  // google.protobuf.FileDescriptorSet, which is a peer's word. NOT_FOUND: nobody has.
  Result<std::string> DescribeType(std::string_view type_name);

  // How often an event or discovery handler threw.
  uint64_t failed_handlers() const;
  // Events that nobody was told of, because 65,536 waited for a handler that did not return.
  uint64_t left_out_events() const;
  // False once the daemon is gone or the node was evicted or closed.
  bool connected() const;
  uint64_t id() const;       // unique while the daemon lives
  uint32_t peer_id() const;  // of this machine; 0 on the host
  const std::string& name() const;
  const std::string& realm() const;

  // Closes all publishers, subscribers, clients and servers and leaves. Idempotent. Waits for a
  // handler that is under way, unless called inside a handler or callback of the node.
  void Close();

 private:
  explicit Node(std::shared_ptr<internal::NodeImpl> impl);
  // Takes from *timeout what it took.
  Result<BytesClient> CachedClient(std::string_view service, std::string_view query_type,
                                   std::string_view reply_type, std::chrono::nanoseconds* timeout);

  std::shared_ptr<internal::NodeImpl> impl_;
  std::shared_ptr<internal::ClientCache> clients_;  // of Request
};

}  // namespace ivmq

#endif  // IVMQ_NODE_H_
