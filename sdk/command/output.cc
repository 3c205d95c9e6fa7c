#include "sdk/command/output.h"

#include <fmt/core.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace ivmq::command {
namespace {

// Bytes of the UTF-8 character at the start of `text`, its code point in *point; 0 if there is
// none (overlong forms and surrogates included).
size_t DecodeUtf8(std::string_view text, char32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t length = 0;
  if (byte(0) < 0x80) {
    *point = byte(0);
    return 1;
  }
  if ((byte(0) & 0xe0) == 0xc0) {
    length = 2;
  } else if ((byte(0) & 0xf0) == 0xe0) {
    length = 3;
  } else if ((byte(0) & 0xf8) == 0xf0) {
    length = 4;
  } else {
    return 0;
  }
  if (text.size() < length) return 0;
  char32_t value = byte(0) & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    return 0;
  }
  *point = value;
  return length;
}

}  // namespace

void PrintLine(std::string_view line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) == line.size() &&
      std::fputc('\n', stdout) != EOF && std::fflush(stdout) == 0) {
    return;
  }
  const int error = errno;
  if (error == EPIPE) std::_Exit(kDone);
  Complain("cannot write the output: " + std::generic_category().message(error));
  std::_Exit(kFailed);
}

void Complain(std::string_view message) {
  fmt::print(stderr, "ivmq: {}\n", message);
  std::fflush(stderr);
}

std::string JsonString(std::string_view text) {
  std::string json = "\"";
  while (!text.empty()) {
    char32_t point = 0;
    const size_t length = DecodeUtf8(text, &point);
    if (length == 0) {
      json += "\xef\xbf\xbd";
    } else if (point == '"' || point == '\\') {
      json += '\\';
      json += static_cast<char>(point);
    } else if (point < 0x20 || point == 0x7f) {
      json += fmt::format("\\u{:04x}", static_cast<unsigned>(point));
    } else {
      json += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return json + '"';
}

std::string ToJsonLine(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    Complain("cannot print a message as JSON: " + status.ToString());
    return "{}";
  }
  return json;
}

bool IsPrintableUtf8(std::string_view text) {
  while (!text.empty()) {
    char32_t point = 0;
    const size_t length = DecodeUtf8(text, &point);
    const bool control = (point < 0x20 && point != '\t') || (point >= 0x7f && point < 0xa0);
    if (length == 0 || control) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string HumanBytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  const bool whole = std::fabs(bytes - std::round(bytes)) < 0.05;
  return whole ? fmt::format("{:.0f} {}", bytes, kUnits[unit])
               : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string CountOf(uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string HumanDuration(uint64_t milliseconds) {
  const uint64_t seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h {}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d {}h", seconds / 86400, seconds / 3600 % 24);
}

}  // namespace ivmq::command
