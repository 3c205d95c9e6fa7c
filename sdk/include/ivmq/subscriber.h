#ifndef IVMQ_SUBSCRIBER_H_
#define IVMQ_SUBSCRIBER_H_

#include <ivmq/codec.h>
#include <ivmq/export.h>
#include <ivmq/message.h>
#include <ivmq/options.h>
#include <ivmq/status.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace ivmq {

namespace internal {
class SubscriberImpl;
}  // namespace internal

// What one subscriber has counted since it was created.
struct SubscriberCounters {
  uint64_t messages = 0;       // handed to the application
  uint64_t undecodable = 0;    // of these: not a T; Receive said DATA_LOSS
  uint64_t corrupt_links = 0;  // links closed because their publisher wrote nonsense (DATA_LOSS
                               // to operators); the other links go on
};

// Receives the messages of one topic as bytes; Subscriber<T> below adds the type.
//
// One thread at a time (checked in debug builds); may move between threads; Interrupt from any.
// Move-only; its destructor closes it. Outliving its Node is fine: it keeps the attachment; after
// Node::Close every call says CLOSED.
class IVMQ_API BytesSubscriber {
 public:
  using Handler = std::function<void(const BytesMessage&)>;

  BytesSubscriber(BytesSubscriber&&) noexcept;
  BytesSubscriber& operator=(BytesSubscriber&&) noexcept;
  ~BytesSubscriber();

  // The next message, waiting at most `timeout`; zero looks once. Links take turns.
  //   TIMEOUT              nothing came; also after Interrupt
  //   CLOSED               closed; or the node was evicted and nothing is left
  //   FAILED_PRECONDITION  used after fork, or inside a handler of this subscriber
  Result<BytesMessage> Receive(std::chrono::nanoseconds timeout);
  // Hands up to `limit` messages that are there to `handler` and says how many; never waits.
  // An exception of the handler leaves Poll after its message counted as delivered.
  Result<size_t> Poll(size_t limit, const Handler& handler);

  // Becomes readable when there may be messages: for an own poll, epoll or Asio. Level-triggered;
  // Poll or Receive until nothing is left makes it unreadable again. May be readable in vain.
  // Owned by the subscriber: do not read, write or close it.
  int fd();
  // Makes a Receive that waits, or the next one, return TIMEOUT at once. Any thread.
  void Interrupt();

  // Publishers linked now.
  uint32_t publishers() const;
  const std::string& topic() const;
  SubscriberCounters counters() const;

  // Leaves the topic. Messages that were not received are lost to this subscriber.
  void Close();

  // Counts a message that was handed out and was not of its type; for typed adapters.
  void CountUndecodable();

 private:
  friend class Node;
  explicit BytesSubscriber(std::unique_ptr<internal::SubscriberImpl> impl);
  std::unique_ptr<internal::SubscriberImpl> impl_;
};

// Receives messages of one type; see BytesSubscriber for rules and errors.
template <class T>
class Subscriber {
 public:
  explicit Subscriber(BytesSubscriber bytes) : bytes_(std::move(bytes)) {}

  // As BytesSubscriber::Receive; DATA_LOSS where the bytes are not a T (the next call goes on).
  Result<Message<T>> Receive(std::chrono::nanoseconds timeout) {
    auto got = bytes_.Receive(timeout);
    if (!got.ok()) return got.status();
    T value{};
    if (!Codec<T>::Decode(got->bytes, &value)) return Undecodable(got->bytes.size());
    return Message<T>(std::move(value), got->info);
  }
  // As BytesSubscriber::Poll; messages that are not a T are counted and passed over.
  Result<size_t> Poll(size_t limit, const std::function<void(const Message<T>&)>& handler) {
    return bytes_.Poll(limit, [&](const BytesMessage& message) {
      T value{};
      if (Codec<T>::Decode(message.bytes, &value)) {
        handler(Message<T>(std::move(value), message.info));
      } else {
        bytes_.CountUndecodable();
      }
    });
  }
  int fd() { return bytes_.fd(); }
  void Interrupt() { bytes_.Interrupt(); }
  uint32_t publishers() const { return bytes_.publishers(); }
  const std::string& topic() const { return bytes_.topic(); }
  SubscriberCounters counters() const { return bytes_.counters(); }
  void Close() { bytes_.Close(); }
  // The same subscriber without the type.
  BytesSubscriber& bytes() { return bytes_; }

 private:
  Status Undecodable(size_t bytes) {
    bytes_.CountUndecodable();
    return Status(Code::kDataLoss, "a message of " + std::to_string(bytes) + " bytes on topic '" +
                                       bytes_.topic() + "' is not a " + Codec<T>::TypeName());
  }
  BytesSubscriber bytes_;
};

}  // namespace ivmq

#endif  // IVMQ_SUBSCRIBER_H_
