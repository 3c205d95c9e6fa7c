#include "sdk/wire_text.h"

#include <cstdint>
#include <cstdio>
#include <string>

namespace ivmq::internal {
namespace {

constexpr size_t kLongestBytes = 4096;  // control's own limits are lower and say so better
constexpr size_t kQuotedBytes = 64;

// Bytes of the character that starts at `at`; 0 if it is none.
size_t CharacterBytes(std::string_view text, size_t at) {
  const auto byte = [&](size_t index) { return static_cast<uint8_t>(text[index]); };
  const uint8_t first = byte(at);
  if (first < 0x80) return 1;
  const size_t length = (first & 0xe0) == 0xc0   ? 2
                        : (first & 0xf0) == 0xe0 ? 3
                        : (first & 0xf8) == 0xf0 ? 4
                                                 : 0;
  if (length == 0 || text.size() - at < length) return 0;
  uint32_t value = first & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(at + i) & 0x3f);
  }
  const uint32_t smallest = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  return value < smallest || value > 0x10ffff || surrogate ? 0 : length;
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text.substr(0, kQuotedBytes)) {
    if (c >= ' ' && c <= '~') {
      quoted += c;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof(escaped), "\\x%02x", static_cast<uint8_t>(c));
    quoted += escaped;
  }
  return quoted + (text.size() > kQuotedBytes ? "…\"" : "\"");
}

}  // namespace

Status CheckWireText(std::string_view what, std::string_view text) {
  const std::string name(what);
  if (text.size() > kLongestBytes) {
    return {Code::kInvalidArgument, "a " + name + " of " + std::to_string(text.size()) +
                                        " bytes: " + Quoted(text) + " is far too long"};
  }
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = CharacterBytes(text, at);
    if (bytes == 0) {
      const size_t begin = text.rfind('.', at) + 1;  // npos + 1 is 0
      const std::string_view token = text.substr(begin, text.find('.', at) - begin);
      return {Code::kInvalidArgument,
              name + ": " + Quoted(token) + " is not UTF-8 at byte " + std::to_string(at)};
    }
    at += bytes;
  }
  return {};
}

}  // namespace ivmq::internal
