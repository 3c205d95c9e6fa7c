#ifndef IVMQ_SDK_PUBSUB_INBOUND_NOTES_H_
#define IVMQ_SDK_PUBSUB_INBOUND_NOTES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ivmq/message.h"
#include "transport/message_extension.h"

namespace ivmq::internal {

// What the extension of the message that was handed out last says. One thread at a time.
class InboundNotes {
 public:
  // Reads the block in front of a record; `record` is a private copy, to which the notes refer from
  // now on. On kOk, `*bytes` is the size of the block.
  transport::ExtensionResult Read(std::span<const std::byte> record, size_t* bytes);

  // Messages dropped on the link before this one.
  uint64_t dropped() const { return dropped_; }
  MessageNotes* notes() { return &notes_; }

 private:
  // Memory that is taken with the first extension there is.
  struct Attributes {
    transport::AttributeArray read;
    std::array<Attribute, transport::kMaxAttributes> told;
  };

  uint64_t dropped_ = 0;
  std::unique_ptr<Attributes> attributes_;
  std::array<char, 55> traceparent_{};
  MessageNotes notes_;
};

// The text of a W3C traceparent header, and back. False: it is none.
void FormatTraceParent(const transport::TraceParent& parent, std::span<char, 55> text);
bool ParseTraceParent(std::string_view text, transport::TraceParent* parent);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBSUB_INBOUND_NOTES_H_
