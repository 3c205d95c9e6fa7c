#include "sdk/pubsub/inbound_notes.h"

namespace ivmq::internal {
namespace {

// Writes bytes as lower-case hexadecimal digits; the end of them.
char* WriteHex(std::span<const uint8_t> bytes, char* out) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const uint8_t byte : bytes) {
    *out++ = kDigits[byte >> 4];
    *out++ = kDigits[byte & 15];
  }
  return out;
}

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ReadHex(std::string_view text, std::span<uint8_t> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = DigitOf(text[2 * i]);
    const int low = DigitOf(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

}  // namespace

// https://www.w3.org/TR/trace-context/#traceparent-header: version, trace, parent, flags.
void FormatTraceParent(const transport::TraceParent& parent, std::span<char, 55> text) {
  char* at = WriteHex(std::span(&parent.version, 1), text.data());
  *at++ = '-';
  at = WriteHex(parent.trace_id, at);
  *at++ = '-';
  at = WriteHex(parent.span_id, at);
  *at++ = '-';
  WriteHex(std::span(&parent.flags, 1), at);
}

bool ParseTraceParent(std::string_view text, transport::TraceParent* parent) {
  return text.size() == 55 && text[2] == '-' && text[35] == '-' && text[52] == '-' &&
         ReadHex(text.substr(0), std::span(&parent->version, 1)) &&
         ReadHex(text.substr(3), parent->trace_id) && ReadHex(text.substr(36), parent->span_id) &&
         ReadHex(text.substr(53), std::span(&parent->flags, 1));
}

transport::ExtensionResult InboundNotes::Read(std::span<const std::byte> record, size_t* bytes) {
  dropped_ = 0;
  notes_ = {};
  if (attributes_ == nullptr) attributes_ = std::make_unique<Attributes>();
  transport::MessageExtension extension;
  const auto result = transport::DecodeExtension(record, &attributes_->read, &extension, bytes);
  if (result != transport::ExtensionResult::kOk) return result;
  dropped_ = extension.dropped.value_or(0);
  for (size_t i = 0; i < extension.attributes.size(); ++i) {
    const transport::Attribute& one = extension.attributes[i];
    attributes_->told.at(i) = {one.key,
                               {reinterpret_cast<const char*>(one.value.data()), one.value.size()}};
  }
  notes_.attributes = std::span(attributes_->told).first(extension.attributes.size());
  if (extension.trace_parent.has_value()) {
    FormatTraceParent(*extension.trace_parent, traceparent_);
    notes_.traceparent = {traceparent_.data(), traceparent_.size()};
  }
  if (extension.publish_time.has_value()) {
    const std::chrono::nanoseconds when(extension.publish_time->realm_time_ns);
    notes_.published = {std::chrono::system_clock::time_point(when),
                        std::chrono::nanoseconds(extension.publish_time->uncertainty_ns)};
  }
  return result;
}

}  // namespace ivmq::internal
