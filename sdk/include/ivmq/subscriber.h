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
#include <span>
#include <string>
#include <utility>

namespace ivmq {

namespace internal {
class SubscriberImpl;
// What a callback for one type throws at bytes that are none of it; does not reach the application.
struct NotDecodable {};
}  // namespace internal

// What one subscriber has counted since it was created.
struct SubscriberCounters {
  uint64_t messages = 0;       // handed to the application
  uint64_t undecodable = 0;    // of these: not a T; Receive said DATA_LOSS
  uint64_t dropped_full = 0;   // dropped by a publisher because the link had no room
  uint64_t overwritten = 0;    // overwritten before they were read, on a link that keeps the last
  uint64_t corrupt_links = 0;  // links closed, or not opened, because there was nonsense in them
                               // (DATA_LOSS to operators); the other links go on
};

// One message where it lies in the region, without a copy: its memory is the publisher's again when
// this object goes.
//
// The publisher may write there nevertheless, out of error or malice: the bytes may change between
// two looks at them. Whoever checks something copies it first. Of a link that keeps the last
// messages it is a private copy.
//
// Move-only. While it is there its subscriber takes no other call than Close and Interrupt
// (FAILED_PRECONDITION), keeps its links, and a reliable publisher may be waiting: be brief.
class IVMQ_API BorrowedMessage {
 public:
  BorrowedMessage(BorrowedMessage&&) noexcept = default;
  BorrowedMessage& operator=(BorrowedMessage&& other) noexcept;
  ~BorrowedMessage();

  std::span<const std::byte> bytes() const { return message_.bytes; }
  const MessageInfo& info() const { return message_.info; }
  uint64_t gap() const { return message_.info.gap; }

 private:
  friend class BytesSubscriber;
  BorrowedMessage(std::shared_ptr<internal::SubscriberImpl> from, BytesMessage message)
      : from_(std::move(from)), message_(message) {}
  void Return();
  std::shared_ptr<internal::SubscriberImpl> from_;
  BytesMessage message_;
};

// Receives the messages of one topic, or of all that a filter fits, as bytes; Subscriber<T> below
// adds the type.
//
// One thread at a time; may move between threads; Interrupt from any. Debug builds of ivmq notice a
// second one: its call has no effect and says FAILED_PRECONDITION, naming both. Move-only; its
// destructor closes it. Outliving its Node is fine: it keeps the attachment; after Node::Close
// every call says CLOSED.
class IVMQ_API BytesSubscriber {
 public:
  using Handler = std::function<void(const BytesMessage&)>;

  BytesSubscriber(BytesSubscriber&&) noexcept;
  BytesSubscriber& operator=(BytesSubscriber&&) noexcept;
  ~BytesSubscriber();

  // The next message, waiting at most `timeout`; zero looks once. Links take turns.
  //   TIMEOUT              nothing came; also after Interrupt
  //   CLOSED               closed; or the node was evicted and nothing is left
  //   FAILED_PRECONDITION  used after fork, inside a handler of this subscriber, while a message
  //                        of it is borrowed, by two threads at once (debug builds), or with
  //                        SubscriberOptions::on_message
  Result<BytesMessage> Receive(std::chrono::nanoseconds timeout);
  // Hands up to `limit` messages that are there to `handler` and says how many; never waits.
  // An exception of the handler leaves Poll after its message counted as delivered.
  Result<size_t> Poll(size_t limit, const Handler& handler);

  // As Receive, without the copy.
  Result<BorrowedMessage> Borrow(std::chrono::nanoseconds timeout);

  // Becomes readable when there may be messages: for an own poll, epoll or Asio. Level-triggered;
  // Poll or Receive until nothing is left makes it unreadable again. May be readable in vain.
  // Owned by the subscriber: do not read, write or close it. -1: moved from, or after fork; or
  // asked for the first time inside a handler of this subscriber or while a message of it is
  // borrowed.
  int fd();
  // Makes a Receive that waits, or the next one, return TIMEOUT at once. Any thread.
  void Interrupt();

  // Publishers linked now.
  uint32_t publishers() const;
  const std::string& topic() const;
  SubscriberCounters counters() const;

  // Leaves the topic. Messages that were not received are lost to this subscriber. Waits for a
  // callback that is under way, unless called inside a handler or callback of the node.
  void Close();

  // Counts a message that was handed out and was not of its type; for typed adapters.
  void CountUndecodable();

 private:
  friend class Node;
  friend class WaitSet;
  explicit BytesSubscriber(std::shared_ptr<internal::SubscriberImpl> impl);
  std::shared_ptr<internal::SubscriberImpl> impl_;  // shared with a message that is borrowed
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
    return Decoded(*got);
  }
  // As BytesSubscriber::Poll; messages that are not a T are counted and passed over.
  Result<size_t> Poll(size_t limit, const std::function<void(const Message<T>&)>& handler) {
    return bytes_.Poll(limit, [&](const BytesMessage& message) {
      bool decoded = false;
      const Message<T> typed(message.info,
                             [&](T* value) { decoded = Codec<T>::Decode(message.bytes, value); });
      if (decoded) {
        handler(typed);
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
  Result<Message<T>> Decoded(const BytesMessage& message) {
    bool decoded = false;
    Result<Message<T>> result(std::in_place, message.info,
                              [&](T* value) { decoded = Codec<T>::Decode(message.bytes, value); });
    if (!decoded) result = Undecodable(message.bytes.size());
    return result;
  }
  Status Undecodable(size_t bytes) {
    bytes_.CountUndecodable();
    return Status(Code::kDataLoss, "a message of " + std::to_string(bytes) + " bytes on topic '" +
                                       bytes_.topic() + "' is not a " + Codec<T>::TypeName());
  }
  BytesSubscriber bytes_;
};

}  // namespace ivmq

#endif  // IVMQ_SUBSCRIBER_H_
