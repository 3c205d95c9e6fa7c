#include "sdk/node/wire_text.h"

#include <cstdint>
#include <cstdio>
#include <string>

#include "transport/utf8.h"

namespace ivmq::internal {
namespace {

constexpr size_t kLongestBytes = 4096;  // control's own limits are lower and say so better
constexpr size_t kQuotedBytes = 64;

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
    char32_t character = 0;
    const size_t bytes = transport::DecodeUtf8(text.substr(at), &character);
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
