#ifndef IVMQ_MESSAGE_H_
#define IVMQ_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ivmq {

// Where a message came from.
struct MessageInfo {
  // Topic it was published to. Valid as long as the subscriber.
  std::string_view topic;
  // Which link brought it; order holds within a link.
  uint64_t link_id = 0;
  // Its number on that link, from 0, without gaps on a reliable link.
  uint64_t sequence = 0;
  // Messages this link lost right before this one; always 0 on a reliable link.
  uint64_t gap = 0;
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
