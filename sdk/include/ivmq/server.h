#ifndef IVMQ_SERVER_H_
#define IVMQ_SERVER_H_

#include <ivmq/codec.h>
#include <ivmq/export.h>
#include <ivmq/options.h>
#include <ivmq/status.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ivmq {

namespace internal {
class ServerImpl;
struct ServerJob;
}  // namespace internal

struct ServerOptions {
  // Data bytes of the rings to and from each client, at least, as PublisherOptions::ring_bytes. The
  // largest reply is an eighth of it, less a head of 16 bytes.
  size_t ring_bytes = 0;
  // Only of Serve: runs handlers. It is given a function to call once, on any thread, and must not
  // call it before it returns. Without one they run on the one thread that all callbacks of the
  // node share, one at a time: a handler that takes long, or that asks another service of this very
  // node, needs an executor.
  Executor executor = {};
  // Handlers given to the executor at once.
  uint32_t max_concurrent = 16;
  // How long one Write waits, at most, for a client that asks for no more replies, whatever
  // deadline that client gave: so long it can keep the thread of a handler from others. Above zero.
  // The stream as a whole has no bound but that deadline, as in gRPC: who takes each reply in time,
  // if only just, keeps the thread until there are no more. A handler that is not to be held so
  // long looks at a clock between its writes, and returns.
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(60);
  // How a thread in Run or RunOnce waits.
  Wait wait = Wait::kAdaptive;
  // As PublisherOptions::descriptors, of requests and replies. Filled in by Serve and CreateServer
  // where the codecs of both know them, each file once.
  std::string descriptors = {};
  // Hears of its clients.
  EventHandler on_event = {};
};

// What one server has counted since it was created.
struct ServerCounters {
  uint64_t requests = 0;       // handed to the handler
  uint64_t cancelled = 0;      // given up by the client before they were, or the client was gone
  uint64_t expired = 0;        // past their deadline before they were
  uint64_t refused = 0;        // too many of one client were waiting
  uint64_t exceptions = 0;     // thrown by the handler: the client got INTERNAL; each is told as
                               // kCallbackFailed
  uint64_t corrupt_links = 0;  // clients left because they wrote nonsense
  uint32_t running = 0;        // handlers now
  uint32_t waiting = 0;        // requests read and not begun
};

// What a handler may know of its request. Valid until the handler returns; any thread.
class IVMQ_API ServerContext {
 public:
  // Whether nobody waits for the reply any more: the client cancelled, closed or died, the deadline
  // is past, a Write has waited in vain, or the server is closed. Looks at what has come.
  bool cancelled() const;
  std::chrono::steady_clock::time_point deadline() const;
  // Name of the client's node, as it says.
  const std::string& client() const;
  // Full type name of the query, as the client says; empty: bytes.
  const std::string& query_type() const;

 protected:
  ServerContext(internal::ServerImpl* server, internal::ServerJob* job)
      : server_(server), job_(job) {}
  internal::ServerImpl* const server_;
  internal::ServerJob* const job_;
};

// A request as bytes, and the way to answer it.
class IVMQ_API BytesServerCall : public ServerContext {
 public:
  // Fills `out`, exactly the size that was asked for; false abandons the reply.
  using Fill = std::function<bool(std::span<std::byte> out)>;

  // Internal.
  BytesServerCall(internal::ServerImpl* server, internal::ServerJob* job)
      : ServerContext(server, job) {}

  // A private copy.
  std::span<const std::byte> query() const;
  // The reply, sent when the handler returns OK. RESOURCE_EXHAUSTED: too large for the client's
  // ring, both sizes are named.
  Status Reply(size_t bytes, const Fill& fill);
  Status Reply(std::span<const std::byte> reply);
  // One reply of several, sent at once. Waits while the client has not asked for enough of those
  // before. CANCELLED: it wants no more; ABORTED: it is gone, or `fill` said false;
  // DEADLINE_EXCEEDED: its deadline is past, or it took nothing for ServerOptions::write_timeout;
  // RESOURCE_EXHAUSTED as Reply; CLOSED. After a failure nothing more goes through: every later
  // Write says the same, and so does the end of the stream where the handler returns OK.
  Status Write(size_t bytes, const Fill& fill);
  Status Write(std::span<const std::byte> piece);
};

// Serves a service, as bytes; Node::Serve and Node::CreateServer add the types.
//
// Any thread. Copyable: copies are the same server, which is closed (see Close) when the last one
// goes. Clients that have a request in its hands then get ABORTED at once.
class IVMQ_API BytesServer {
 public:
  // Answers with `call`, or returns what the client shall get instead. What it throws the client
  // gets as INTERNAL; OK without a Reply or Write ends a stream of none, and is FAILED_PRECONDITION
  // to who asked for one reply.
  using Handler = std::function<Status(BytesServerCall& call)>;

  explicit BytesServer(std::shared_ptr<internal::ServerImpl> impl);
  BytesServer(const BytesServer&);
  BytesServer& operator=(const BytesServer&);
  BytesServer(BytesServer&&) noexcept;
  BytesServer& operator=(BytesServer&&) noexcept;
  ~BytesServer();

  // Waits for a request and runs the handler on this thread: OK when one was served. TIMEOUT:
  // nothing came, or Interrupt(). CLOSED. Several threads may serve at once.
  Status RunOnce(std::chrono::nanoseconds timeout);
  // RunOnce until Interrupt() (TIMEOUT) or Close() (CLOSED).
  Status Run();
  // Makes one Run or RunOnce that waits, or the next one, return. Any thread.
  void Interrupt();

  uint32_t clients() const;
  const std::string& service() const;
  ServerCounters counters() const;

  // Leaves the service, tells running handlers that they are cancelled and waits for them; inside a
  // handler or callback of this node it does not wait.
  void Close();

 private:
  std::shared_ptr<internal::ServerImpl> impl_;
};

using Server = BytesServer;

// The replies of one request that come one after the other; see BytesServerCall::Write.
template <class Reply>
class ReplyStream {
 public:
  explicit ReplyStream(BytesServerCall& call) : call_(call) {}
  Status Write(const Reply& reply) {
    return call_.Write(Codec<Reply>::Size(reply), [&reply](std::span<std::byte> out) {
      return Codec<Reply>::Encode(reply, out);
    });
  }
  const ServerContext& context() const { return call_; }

 private:
  BytesServerCall& call_;
};

namespace internal {

template <class Reply>
Status ReplyWith(BytesServerCall& call, const Reply& reply) {
  return call.Reply(Codec<Reply>::Size(reply), [&reply](std::span<std::byte> out) {
    return Codec<Reply>::Encode(reply, out);
  });
}
template <class Reply>
Status ReplyWith(BytesServerCall& call, const Result<Reply>& reply) {
  return reply.ok() ? ReplyWith(call, reply.value()) : reply.status();
}

// Of two serialized sets one that has each file of both once; where one of them cannot be taken
// apart, one behind the other, which is a set as well. Any thread.
IVMQ_API std::string MergeDescriptorSets(std::string first, std::string_view second);

// What a codec says of its own accord is no mistake of the caller's: too large, it is left out.
inline std::string KeptDescriptors(std::string set) {
  return set.size() <= kMaxDescriptorBytes ? std::move(set) : std::string();
}

// What T looks like; nothing where it has a name, but its codec does not say.
template <class T>
std::optional<std::string> DescriptorsOf() {
  std::string descriptors;
  if constexpr (requires { Codec<T>::Descriptors(); }) descriptors = Codec<T>::Descriptors();
  if (descriptors.empty() && !Codec<T>::TypeName().empty()) return std::nullopt;
  return descriptors;
}

template <class Query, class Reply>
ServerOptions WithDescriptors(ServerOptions options) {
  if (!options.descriptors.empty()) return options;
  auto query = DescriptorsOf<Query>();
  const auto reply = DescriptorsOf<Reply>();
  if (!query || !reply) return options;
  options.descriptors = KeptDescriptors(MergeDescriptorSets(std::move(*query), *reply));
  return options;
}

// Reply(const Query&), Result<Reply>(const Query&), either with a ServerContext& behind it, or
// Status(const Query&, ReplyStream<Reply>&).
template <class Query, class Reply, class Handler>
BytesServer::Handler AdaptHandler(Handler handler) {
  return [handler = std::move(handler)](BytesServerCall& call) mutable -> Status {
    Query query{};
    if (!Codec<Query>::Decode(call.query(), &query)) {
      return Status(Code::kDataLoss, "a query of " + std::to_string(call.query().size()) +
                                         " bytes is not a " + Codec<Query>::TypeName());
    }
    const Query& asked = query;
    ServerContext& context = call;
    if constexpr (std::is_invocable_r_v<Status, Handler&, const Query&, ReplyStream<Reply>&>) {
      ReplyStream<Reply> stream(call);
      return handler(asked, stream);
    } else if constexpr (std::is_invocable_v<Handler&, const Query&, ServerContext&>) {
      static_cast<void>(context);
      return ReplyWith<Reply>(call, handler(asked, context));
    } else {
      static_cast<void>(context);
      return ReplyWith<Reply>(call, handler(asked));
    }
  };
}

}  // namespace internal
}  // namespace ivmq

#endif  // IVMQ_SERVER_H_
