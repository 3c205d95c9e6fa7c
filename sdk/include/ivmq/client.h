#ifndef IVMQ_CLIENT_H_
#define IVMQ_CLIENT_H_

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
#include <utility>

namespace ivmq {

namespace internal {
class ClientImpl;
}  // namespace internal

// How long a request may take where nothing else is said.
inline constexpr std::chrono::nanoseconds kRequestTimeout = std::chrono::seconds(5);

struct ClientOptions {
  // Data bytes of the rings to and from each server, as PublisherOptions::ring_bytes. The largest
  // query and the largest reply are an eighth of it, less a head of 24 and 16 bytes.
  size_t ring_bytes = 0;
  // Requests open at once, 1 to 1,048,576; one more is RESOURCE_EXHAUSTED.
  uint32_t max_open = 65536;
  Wait wait = Wait::kAdaptive;
  // Runs the callbacks of CallAsync, one after the other. Without one they run on the one thread
  // that all callbacks of the node share.
  Executor executor = {};
  // Hears of its servers.
  EventHandler on_event = {};
};

// What one client has counted since it was created.
struct ClientCounters {
  uint64_t requests = 0;       // begun
  uint64_t replies = 0;        // of these: the server answered, be it with a failure
  uint64_t aborted = 0;        // the server went away with the request in hand
  uint64_t late_replies = 0;   // came when nobody waited any more (or were never asked for)
  uint64_t corrupt_links = 0;  // servers left because they wrote nonsense
  uint64_t exceptions = 0;     // thrown by callbacks; each is told as kCallbackFailed
  uint32_t open = 0;           // requests under way now
};

// A request that was sent without waiting. Dropping it changes nothing. Any thread; copyable.
class IVMQ_API PendingCall {
 public:
  PendingCall();
  PendingCall(std::weak_ptr<internal::ClientImpl> client, uint64_t id);
  PendingCall(const PendingCall&);
  PendingCall& operator=(const PendingCall&);
  ~PendingCall();
  // The callback is called with CANCELLED, unless it is called with something else already. The
  // server is told.
  void Cancel();

 private:
  std::weak_ptr<internal::ClientImpl> client_;
  uint64_t id_ = 0;
};

// A reply that comes in pieces, as bytes; ReplyReader<T> below adds the type. One thread at a
// time; move-only. Its destructor cancels what has not ended.
class IVMQ_API BytesReplyReader {
 public:
  using Take = std::function<Status(std::span<const std::byte>)>;

  BytesReplyReader(std::shared_ptr<internal::ClientImpl> client, uint64_t id);
  BytesReplyReader(BytesReplyReader&&) noexcept;
  BytesReplyReader& operator=(BytesReplyReader&&) noexcept;
  ~BytesReplyReader();

  // The next piece, or nothing at the stream's good end. TIMEOUT: nothing came in that time, go on
  // asking; every other failure ends the stream: those of BytesClient::Call.
  Result<std::optional<Bytes>> Next(std::chrono::nanoseconds timeout = std::chrono::hours(24));
  // The same without a copy of its own: `take` looks at the bytes, on this thread. True: there was
  // a piece. A failure that `take` returns is returned; the stream goes on.
  Result<bool> Next(std::chrono::nanoseconds timeout, const Take& take);
  // Tells the server that no more is wanted.
  void Cancel();

 private:
  std::shared_ptr<internal::ClientImpl> client_;
  uint64_t id_ = 0;
};

// Sends requests to a service, as bytes; Client<Query, Reply> below adds the types.
//
// Any thread, and several at once: one of the threads that wait reads for all. Each request goes to
// the server with the fewest of ours open. Copyable: copies are the same client, which is closed
// (see Close) when the last one goes; a stream that is read counts as one. Outliving its Node is
// fine; after Node::Close every call says CLOSED.
class IVMQ_API BytesClient {
 public:
  // Fills `out`, exactly the size that was asked for; false abandons the request.
  using Fill = std::function<bool(std::span<std::byte> out)>;
  using Take = BytesReplyReader::Take;
  using Callback = std::function<void(Result<Bytes>)>;

  explicit BytesClient(std::shared_ptr<internal::ClientImpl> impl);
  BytesClient(const BytesClient&);
  BytesClient& operator=(const BytesClient&);
  BytesClient(BytesClient&&) noexcept;
  BytesClient& operator=(BytesClient&&) noexcept;
  ~BytesClient();

  // Sends and waits for the reply; polls for it on this thread.
  //   UNAVAILABLE        nobody serves
  //   DEADLINE_EXCEEDED  no reply in time; or no room in the ring of any server
  //   ABORTED            the server went away with the request in hand
  //   DATA_LOSS          the server wrote nonsense
  //   INVALID_ARGUMENT   larger than max_query_bytes(); both sizes are named
  //   FAILED_PRECONDITION  the service streams its replies, or gave none; or used after fork
  //   RESOURCE_EXHAUSTED too many requests are open
  //   CLOSED             closed, or the node was evicted
  // and whatever the server's handler returned, with its text.
  Result<Bytes> Call(std::span<const std::byte> query,
                     std::chrono::nanoseconds timeout = kRequestTimeout);
  // The same with the query built by `fill` and the reply looked at by `take`, both on this thread.
  Status Call(size_t query_bytes, const Fill& fill, std::chrono::nanoseconds timeout,
              const Take& take);

  // Sends and returns. The callback is called once, where ClientOptions::executor runs it, with
  // what Call would have returned; not called if this fails. It must not block: other callbacks
  // wait. What ends with Close is called back with CLOSED by the thread that closes, before Close
  // returns; or, if that is called while a callback of the client runs and does not wait for it,
  // after that callback, on its thread.
  Result<PendingCall> CallAsync(std::span<const std::byte> query, std::chrono::nanoseconds timeout,
                                Callback callback);
  Result<PendingCall> CallAsync(size_t query_bytes, const Fill& fill,
                                std::chrono::nanoseconds timeout, Callback callback);

  // Sends, and gives out the replies as they come; `timeout` is that of the whole stream. The
  // server is held back when 64 replies or 256 KiB have not been asked for.
  Result<BytesReplyReader> CallStream(std::span<const std::byte> query,
                                      std::chrono::nanoseconds timeout = kRequestTimeout);
  Result<BytesReplyReader> CallStream(size_t query_bytes, const Fill& fill,
                                      std::chrono::nanoseconds timeout);

  // Waits until at least `count` servers are linked: OK, or DEADLINE_EXCEEDED.
  Status WaitForServers(uint32_t count, std::chrono::nanoseconds timeout);
  uint32_t servers() const;
  size_t max_query_bytes() const;
  const std::string& service() const;
  ClientCounters counters() const;

  // Ends all its requests with CLOSED and leaves. Waits for a callback that is under way, unless
  // called inside a handler or callback of the node.
  void Close();

 private:
  std::shared_ptr<internal::ClientImpl> impl_;
};

// A reply of type T that comes in pieces; see BytesReplyReader.
template <class T>
class ReplyReader {
 public:
  explicit ReplyReader(BytesReplyReader bytes) : bytes_(std::move(bytes)) {}

  Result<std::optional<T>> Next(std::chrono::nanoseconds timeout = std::chrono::hours(24)) {
    T value{};
    auto got = bytes_.Next(timeout, [&](std::span<const std::byte> bytes) {
      return Codec<T>::Decode(bytes, &value)
                 ? Status()
                 : Status(Code::kDataLoss, "a reply is not a " + Codec<T>::TypeName());
    });
    if (!got.ok()) return got.status();
    return got.value() ? std::optional<T>(std::move(value)) : std::optional<T>();
  }
  void Cancel() { bytes_.Cancel(); }

 private:
  BytesReplyReader bytes_;
};

// Sends requests of type Query and gets replies of type Reply; see BytesClient for rules and
// errors. DATA_LOSS also where the reply's bytes are not a Reply.
template <class Query, class Reply>
class Client {
 public:
  explicit Client(BytesClient bytes) : bytes_(std::move(bytes)) {}

  Result<Reply> Call(const Query& query, std::chrono::nanoseconds timeout = kRequestTimeout) {
    Reply reply{};
    const Status status =
        bytes_.Call(Codec<Query>::Size(query), FillOf(query), timeout,
                    [&reply](std::span<const std::byte> bytes) { return Decode(bytes, &reply); });
    return status.ok() ? Result<Reply>(std::move(reply)) : Result<Reply>(status);
  }
  Result<PendingCall> CallAsync(const Query& query, std::chrono::nanoseconds timeout,
                                std::function<void(Result<Reply>)> callback) {
    return bytes_.CallAsync(
        Codec<Query>::Size(query), FillOf(query), timeout,
        [callback = std::move(callback)](const Result<Bytes>& got) {
          if (!got.ok()) return callback(got.status());
          Reply reply{};
          const Status status = Decode(got.value(), &reply);
          callback(status.ok() ? Result<Reply>(std::move(reply)) : Result<Reply>(status));
        });
  }
  Result<ReplyReader<Reply>> CallStream(const Query& query,
                                        std::chrono::nanoseconds timeout = kRequestTimeout) {
    auto reader = bytes_.CallStream(Codec<Query>::Size(query), FillOf(query), timeout);
    if (!reader.ok()) return reader.status();
    return ReplyReader<Reply>(std::move(reader).value());
  }
  Status WaitForServers(uint32_t count, std::chrono::nanoseconds timeout) {
    return bytes_.WaitForServers(count, timeout);
  }
  uint32_t servers() const { return bytes_.servers(); }
  size_t max_query_bytes() const { return bytes_.max_query_bytes(); }
  const std::string& service() const { return bytes_.service(); }
  ClientCounters counters() const { return bytes_.counters(); }
  void Close() { bytes_.Close(); }
  // The same client without the types.
  BytesClient& bytes() { return bytes_; }

 private:
  static BytesClient::Fill FillOf(const Query& query) {
    return [&query](std::span<std::byte> out) { return Codec<Query>::Encode(query, out); };
  }
  static Status Decode(std::span<const std::byte> bytes, Reply* reply) {
    if (Codec<Reply>::Decode(bytes, reply)) return {};
    return {Code::kDataLoss, "a reply of " + std::to_string(bytes.size()) + " bytes is not a " +
                                 Codec<Reply>::TypeName()};
  }
  BytesClient bytes_;
};

}  // namespace ivmq

#endif  // IVMQ_CLIENT_H_
