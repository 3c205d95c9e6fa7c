#ifndef IVMQ_PUBLISHER_H_
#define IVMQ_PUBLISHER_H_

#include <ivmq/codec.h>
#include <ivmq/export.h>
#include <ivmq/options.h>
#include <ivmq/status.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace ivmq {

namespace internal {
class PublisherImpl;
}  // namespace internal

// What a publish did.
struct Published {
  // Links the message was written to: subscribers that will get it. 0 with none.
  uint32_t links = 0;
  // Links without room that drop the newest: their subscribers are told how many they missed.
  uint32_t dropped = 0;
};

// What one publisher has counted since it was created.
struct PublisherCounters {
  uint64_t messages = 0;      // accepted by Publish
  uint64_t written = 0;       // written to a link, one count for each link
  uint64_t full = 0;          // publishes that failed with FULL
  uint64_t dropped_full = 0;  // dropped on a link without room, one count for each link
  uint64_t overwritten = 0;  // overwritten unread on a link that keeps the last, one count for each
                             // link: what its subscriber has noticed so far, and says
  uint64_t doorbells = 0;    // system calls or exits to wake a subscriber
  uint64_t corrupt_links = 0;  // links closed, or not opened, because there was nonsense in them
  uint64_t untaken = 0;  // not taken by subscribers that closed or died: of each link the last
                         // ones; of those that wrote nonsense, at most so many. The event kGone
                         // and Drain name the subscriber
};

// What one link of a publisher has lost. Sequences are those of MessageInfo::sequence.
struct PublisherLink {
  uint64_t link_id = 0;
  std::string node;        // at the other end
  uint32_t peer_id = 0;    // its
  uint64_t published = 0;  // to this link, from sequence 0 on, those included that it has lost
  // There was no room (DropNewest): exactly so many, the first and the last of them. What lies
  // between was dropped or written; Published::dropped says it of each message, and the gaps of
  // its subscriber which they were.
  uint64_t dropped_full = 0;
  uint64_t first_dropped = 0;
  uint64_t last_dropped = 0;
  // Overwritten unread (KeepLast), by the subscriber's word: all before sequence `published`.
  uint64_t overwritten = 0;
};

// Publishes messages as bytes to one topic; Publisher<T> below adds the type.
//
// One thread at a time; may move between threads. Debug builds of ivmq notice a second one: its
// call has no effect and says FAILED_PRECONDITION, naming both. Move-only; its destructor closes
// it: what was published is still delivered. Outliving its Node is fine: it keeps the attachment;
// after Node::Close every call says CLOSED.
class IVMQ_API BytesPublisher {
 public:
  // Fills `out`, exactly the size that was asked for; false abandons the message.
  using Fill = std::function<bool(std::span<std::byte> out)>;

  BytesPublisher(BytesPublisher&&) noexcept;
  BytesPublisher& operator=(BytesPublisher&&) noexcept;
  ~BytesPublisher();

  // Writes one message to every link and wakes who sleeps. All links or none:
  //   FULL               a reliable link has no room by the deadline; the message names the
  //                      fullest one
  //   INVALID_ARGUMENT   larger than max_message_bytes(); both sizes are named
  //   FAILED_PRECONDITION  used after fork, inside `fill`, or by two threads at once (debug builds)
  //   CLOSED             closed, or the node was evicted
  //   ABORTED            `fill` gave the message up, or the codec of a Publisher<T> did
  Result<Published> Publish(std::span<const std::byte> message);
  // With attributes and a trace context, which count as part of the message's size.
  Result<Published> Publish(std::span<const std::byte> message, const PublishOptions& options);
  // The same without waking anybody, for batches: what was written becomes visible at the next
  // Flush or Publish, or earlier. Never holds back more than the ring's own batch limit.
  Result<Published> Write(std::span<const std::byte> message);
  // Makes all written messages visible and wakes who sleeps.
  void Flush();

  // The same with the message built by `fill`: where it will be read, if that pays and there is one
  // link, or else in a buffer of the publisher. What it finds there means nothing, so it has to
  // write every byte; it starts on a multiple of 8.
  Result<Published> PublishInPlace(size_t bytes, const Fill& fill);
  Result<Published> PublishInPlace(size_t bytes, const Fill& fill, const PublishOptions& options);
  Result<Published> WriteInPlace(size_t bytes, const Fill& fill);

  // Flushes and waits until every subscriber has taken all that was published: OK, or
  // DEADLINE_EXCEEDED naming those that have not, and how much. A subscriber has taken a message
  // when it asked for the next one; links that keep the last messages do not count. ABORTED, once:
  // the others have, but subscribers closed, died or wrote nonsense since the last Drain before
  // they had taken all; the first 8 are named, each with how many it had not taken (after nonsense:
  // at most), the others counted. Inside a handler of the same node it looks once.
  Status Drain(std::chrono::nanoseconds timeout);

  // Waits until at least `count` subscribers are linked: OK, or DEADLINE_EXCEEDED saying how many
  // there are.
  Status WaitForSubscribers(uint32_t count, std::chrono::nanoseconds timeout);
  // Subscribers linked now.
  uint32_t subscribers() const;

  // As the options say: largest message that fits every link there is or may come.
  size_t max_message_bytes() const;
  const std::string& topic() const;
  PublisherCounters counters() const;
  // Of each link there is now. What those lost that have gone stays in counters(), and, link by
  // link, in `ivmq audit`. Any thread.
  std::vector<PublisherLink> links() const;

  // Flushes and leaves the topic. Subscribers still get what was published.
  void Close();

 private:
  friend class Node;
  explicit BytesPublisher(std::unique_ptr<internal::PublisherImpl> impl);
  std::unique_ptr<internal::PublisherImpl> impl_;
};

// Publishes messages of one type; see BytesPublisher for rules and errors.
template <class T>
class Publisher {
 public:
  explicit Publisher(BytesPublisher bytes) : bytes_(std::move(bytes)) {}

  Result<Published> Publish(const T& message) {
    return bytes_.PublishInPlace(Codec<T>::Size(message), [&message](std::span<std::byte> out) {
      return Codec<T>::Encode(message, out);
    });
  }
  Result<Published> Publish(const T& message, const PublishOptions& options) {
    return bytes_.PublishInPlace(
        Codec<T>::Size(message),
        [&message](std::span<std::byte> out) { return Codec<T>::Encode(message, out); }, options);
  }
  Result<Published> Write(const T& message) {
    return bytes_.WriteInPlace(Codec<T>::Size(message), [&message](std::span<std::byte> out) {
      return Codec<T>::Encode(message, out);
    });
  }
  void Flush() { bytes_.Flush(); }
  Status Drain(std::chrono::nanoseconds timeout) { return bytes_.Drain(timeout); }
  Status WaitForSubscribers(uint32_t count, std::chrono::nanoseconds timeout) {
    return bytes_.WaitForSubscribers(count, timeout);
  }
  uint32_t subscribers() const { return bytes_.subscribers(); }
  size_t max_message_bytes() const { return bytes_.max_message_bytes(); }
  const std::string& topic() const { return bytes_.topic(); }
  PublisherCounters counters() const { return bytes_.counters(); }
  std::vector<PublisherLink> links() const { return bytes_.links(); }
  void Close() { bytes_.Close(); }
  // The same publisher without the type.
  BytesPublisher& bytes() { return bytes_; }

 private:
  BytesPublisher bytes_;
};

}  // namespace ivmq

#endif  // IVMQ_PUBLISHER_H_
