#include "sdk/command/payload_text.h"

#include <absl/strings/escaping.h>
#include <fmt/core.h>

#include <algorithm>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

constexpr size_t kShownBytes = 32;

// Every line of it is printable.
bool IsPrintableText(std::string_view text) {
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (!IsPrintableUtf8(text.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string ForPeople(const ReceivedPayload& payload) {
  if (payload.json) return *payload.json;
  const std::string_view data = payload.text();
  if (IsPrintableUtf8(data)) {
    return payload.type.empty() ? std::string(data) : fmt::format("<{}> {}", payload.type, data);
  }
  const std::string_view shown = data.substr(0, kShownBytes);
  return fmt::format("<{}{}{}> {}{}", payload.type, payload.type.empty() ? "" : ", ",
                     CountOf(data.size(), "byte"), absl::BytesToHexString(ToAbsl(shown)),
                     shown.size() < data.size() ? "…" : "");
}

std::string ForPrograms(const ReceivedPayload& payload) {
  const std::string_view data = payload.text();
  std::string members = fmt::format("\"bytes\":{}", data.size());
  if (!payload.type.empty()) members += ",\"type\":" + JsonString(payload.type);
  if (payload.json) return members + ",\"message\":" + *payload.json;
  if (IsPrintableText(data)) return members + ",\"text\":" + JsonString(data);
  return members + ",\"base64\":\"" + absl::Base64Escape(ToAbsl(data)) + '"';
}

std::string LinesForPeople(const ReceivedPayload& payload) {
  std::string_view data = payload.text();
  if (payload.json || !payload.type.empty() || !IsPrintableText(data)) return ForPeople(payload);
  if (data.ends_with('\n')) data.remove_suffix(1);
  return std::string(data);
}

}  // namespace ivmq::command
