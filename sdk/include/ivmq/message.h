#ifndef IVMQ_MESSAGE_H_
#define IVMQ_MESSAGE_H_

#include <ivmq/export.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ivmq {

// A small note on a message, for tools and frameworks; what belongs together belongs in the
// message.
struct Attribute {
  std::string_view key;
  std::string_view value;
};

// A moment on the realm's clock, which is the host's, as well as this machine knows it.
struct RealmTime {
  std::chrono::system_clock::time_point when;
  // `when` may be wrong by that much either way: 0 on the host; in a guest by what it took to ask,
  // and by 50 us more for each second since. Two things show only when a guest asks again, every
  // ten seconds while it uses times: that the host's clock was set, and that its own stood still
  // for less than two seconds because its VM was paused. After a longer pause, or when control has
  // gone for half a minute, there is no time until it has asked.
  std::chrono::nanoseconds uncertainty{};
};

// How long a message was on its way.
struct Latency {
  std::chrono::nanoseconds value{};
  std::chrono::nanoseconds uncertainty{};  // of both clocks together, either way
};

// What a publisher may say about a message besides its bytes.
struct MessageNotes {
  std::span<const Attribute> attributes;
  std::string_view traceparent;
  std::optional<RealmTime> published;
  std::optional<RealmTime> received;  // only where it says when it was published
};

// Where a message came from.
struct MessageInfo {
  // Topic it was published to. Valid as long as the bytes: until the next call on the subscriber.
  std::string_view topic;
  // Which link brought it; order holds within a link.
  uint64_t link_id = 0;
  // Its number on that link, from 0, those included that were lost.
  uint64_t sequence = 0;
  // Messages this link lost right before this one: exactly those numbered from sequence - gap to
  // sequence - 1. Always 0 on a reliable link. What was lost after the last message that came is
  // not known here before another comes.
  uint64_t gap = 0;
  // Valid as long as the bytes: until the next call on the subscriber. Null: there are none.
  const MessageNotes* notes = nullptr;
  // See type_name().
  const std::string* type = nullptr;

  // Full type name of what is published, as its publisher says; empty: bytes. Valid as long as the
  // topic.
  std::string_view type_name() const {
    return type == nullptr ? std::string_view() : std::string_view(*type);
  }

  std::span<const Attribute> attributes() const {
    return notes == nullptr ? std::span<const Attribute>() : notes->attributes;
  }
  // Empty: there is none.
  std::string_view traceparent() const {
    return notes == nullptr ? std::string_view() : notes->traceparent;
  }
  // Where the publisher has PublisherOptions::timestamps set.
  std::optional<RealmTime> publish_time() const {
    return notes == nullptr ? std::nullopt : notes->published;
  }
  // From its publication until it was taken from the link.
  std::optional<Latency> latency() const {
    if (notes == nullptr || !notes->published || !notes->received) return std::nullopt;
    return Latency{notes->received->when - notes->published->when,
                   notes->received->uncertainty + notes->published->uncertainty};
  }
};

// One received message as bytes: a private copy that no peer can change, in the subscriber's own
// buffer, valid until the next call on the subscriber.
struct BytesMessage {
  std::span<const std::byte> bytes;
  MessageInfo info;

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  uint64_t gap() const { return info.gap; }
};

// One received message, decoded.
template <class T>
class Message {
 public:
  Message(T value, MessageInfo info) : value_(std::move(value)), info_(info) {}
  // `decode` sets the value, in its place: moving one may cost as much as parsing it.
  template <class Decode>
  requires std::invocable<Decode, T*> Message(const MessageInfo& info, Decode&& decode)
      : value_{}, info_(info) {
    std::forward<Decode>(decode)(&value_);
  }

  const T& value() const& { return value_; }
  T&& value() && { return std::move(value_); }
  const MessageInfo& info() const { return info_; }
  uint64_t gap() const { return info_.gap; }

 private:
  T value_;
  MessageInfo info_;
};

}  // namespace ivmq

#endif  // IVMQ_MESSAGE_H_
