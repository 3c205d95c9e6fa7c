// Messages that say more than their bytes: attributes, trace context, time.

#include <cstdint>
#include <cstring>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/pubsub/inbound_notes.h"
#include "sdk/pubsub/publisher_impl.h"
#include "transport/message_extension.h"

namespace ivmq::internal {

Result<size_t> PublisherImpl::BuildNotes(size_t message_bytes, const PublishOptions& options) {
  transport::AttributeArray attributes;
  transport::MessageExtension extension;
  const size_t count = options.attributes.size();
  if (count > attributes.size()) {
    return Status(Code::kInvalidArgument, std::to_string(count) + " attributes: at most " +
                                              std::to_string(attributes.size()) + " are allowed");
  }
  for (size_t i = 0; i < count; ++i) {
    const Attribute& one = options.attributes[i];
    attributes.at(i) = {one.key, std::as_bytes(std::span(one.value))};
  }
  extension.attributes = std::span(attributes).first(count);
  if (const auto status = transport::CheckAttributes(extension.attributes); !status.ok()) {
    return FromTransport(status);
  }
  if (!options.traceparent.empty() &&
      !ParseTraceParent(options.traceparent, &extension.trace_parent.emplace())) {
    return Status(Code::kInvalidArgument,
                  "a traceparent of " + std::to_string(options.traceparent.size()) +
                      " bytes: 2, 32, 16 and 2 lower-case hex digits with - between are expected");
  }
  if (timestamps_) extension.publish_time = PublishTimeNow();
  const size_t bytes = transport::ExtensionBytes(extension);
  if (bytes + message_bytes > max_message_bytes()) {
    return Status(Code::kInvalidArgument,
                  "a message of " + std::to_string(message_bytes) + " bytes on topic '" + topic_ +
                      "' and the " + std::to_string(bytes) +
                      " that go with it (attributes, trace context, time): at most " +
                      std::to_string(max_message_bytes()) + " in all are allowed" + HowMoreText());
  }
  if (scratch_.empty()) scratch_.resize(max_message_bytes());
  if (bytes > 0) transport::EncodeExtension(extension, std::span(scratch_).first(bytes));
  return bytes;
}

// None while the realm's clock is not known, or not as well as a message can say.
std::optional<transport::PublishTime> PublisherImpl::PublishTimeNow() {
  const auto now = node_->clock()->Now();
  if (!now.has_value() || now->uncertainty.count() > UINT32_MAX) return std::nullopt;
  transport::PublishTime time;
  time.realm_time_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(now->when.time_since_epoch()).count();
  time.uncertainty_ns = static_cast<uint32_t>(now->uncertainty.count());
  return time;
}

Result<Published> PublisherImpl::WriteNoted(std::span<const std::byte> message,
                                            const PublishOptions& options, bool flush) {
  const auto copy = [message](std::span<std::byte> out) {
    if (!message.empty()) std::memcpy(out.data(), message.data(), message.size());
    return true;
  };
  return WriteNotedInPlace(message.size(), copy, options, flush);
}

Result<Published> PublisherImpl::WriteNotedInPlace(size_t bytes, const BytesPublisher::Fill& fill,
                                                   const PublishOptions& options, bool flush) {
  if (forked()) return ForkedStatus();
  const Call call(this);
  if (!Admits(call, bytes)) return RefusedStatus(call, bytes);
  const auto notes = BuildNotes(bytes, options);
  if (!notes.ok()) return notes.status();
  const std::span<std::byte> record = std::span(scratch_).first(*notes + bytes);
  if (!fill(record.subspan(*notes))) return AbandonedStatus();
  return WriteRecord(record, *notes == 0 ? 0 : ringbuf::kFlagExtension, flush);
}

}  // namespace ivmq::internal
