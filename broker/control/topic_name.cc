#include "broker/control/topic_name.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "transport/utf8.h"

namespace ivmq::control {
namespace {

bool IsIdentifier(std::string_view token) {
  if (token.empty() || (token[0] >= '0' && token[0] <= '9')) return false;
  for (const char c : token) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!ok && c != '_') return false;
  }
  return true;
}

// Calls `visit(token, number from 1)` until it returns an error.
template <class Visit>
absl::Status ForEachToken(std::string_view name, Visit visit) {
  size_t begin = 0;
  for (size_t number = 1;; ++number) {
    const size_t dot = name.find('.', begin);
    const std::string_view token = name.substr(begin, dot - begin);
    if (absl::Status status = visit(token, number); !status.ok()) return status;
    if (dot == std::string_view::npos) return absl::OkStatus();
    begin = dot + 1;
  }
}

// What a name is of, and what is allowed.
struct Rule {
  const char* what;
  const char* text;
};

constexpr Rule kTopicRule = {
    "topic",
    "a topic is 1 to 255 bytes of printable UTF-8: tokens separated by single dots, without "
    "wildcards, as in \"camera.front\""};
constexpr Rule kServiceRule = {
    "service",
    "the name of a service is 1 to 255 bytes of printable UTF-8: tokens separated by single dots, "
    "without wildcards, as in \"camera.settings\""};
constexpr Rule kFilterRule = {
    "topic",
    "a topic or filter is 1 to 255 bytes of printable UTF-8: tokens separated by single dots, "
    "where a token may be `*` (any one) and the last `>` (one or more), as in \"camera.*\""};

// Of what every token must be: not empty, and printable. Empty if it is.
std::string WrongWithToken(std::string_view token, size_t number) {
  if (token.empty()) return fmt::format("token {} is empty", number);
  if (IsPrintableUtf8(token)) return "";
  return fmt::format("token {}, {}, is not printable UTF-8", number, Quoted(token));
}

// `wrong(token, number)` says what is wrong with a token, if anything.
template <class Wrong>
absl::Status ValidateTokens(std::string_view text, const Rule& rule, Wrong wrong) {
  if (text.empty()) {
    return absl::InvalidArgumentError(fmt::format("the {} is empty; {}", rule.what, rule.text));
  }
  if (text.size() > kMaxTopicBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{} {} has {} bytes; {}", rule.what, Quoted(text), text.size(), rule.text));
  }
  return ForEachToken(text, [&](std::string_view token, size_t number) {
    std::string problem = WrongWithToken(token, number);
    if (problem.empty()) problem = wrong(token, number);
    if (problem.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{} {}: {}; {}", rule.what, Quoted(text), problem, rule.text));
  });
}

absl::Status ValidateConcrete(std::string_view name, const Rule& rule) {
  return ValidateTokens(name, rule, [](std::string_view token, size_t number) {
    return HasWildcard(token) ? fmt::format("token {}, {}, has a wildcard", number, Quoted(token))
                              : std::string();
  });
}

}  // namespace

bool IsPrintableUtf8(std::string_view text) {
  while (!text.empty()) {
    char32_t character = 0;
    const size_t length = transport::DecodeUtf8(text, &character);
    if (length == 0 || !transport::IsPrintable(character)) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Quoted(std::string_view text) {
  constexpr size_t kLongest = 64;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kLongest)) {
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      quoted += c;
    } else {
      quoted += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    }
  }
  quoted += text.size() > kLongest ? "\"..." : "\"";
  return quoted;
}

absl::Status ValidateTopic(std::string_view topic) { return ValidateConcrete(topic, kTopicRule); }

absl::Status ValidateService(std::string_view service) {
  return ValidateConcrete(service, kServiceRule);
}

absl::Status ValidateFilter(std::string_view filter) {
  const auto last = static_cast<size_t>(std::count(filter.begin(), filter.end(), '.')) + 1;
  return ValidateTokens(filter, kFilterRule, [&](std::string_view token, size_t number) {
    if (!HasWildcard(token) || token == kAnyToken || (token == kRest && number == last)) {
      return std::string();
    }
    if (token == kRest) {
      return fmt::format("token {} of {} is `>`, which may only be the last", number, last);
    }
    return fmt::format("token {}, {}, has a wildcard among other characters", number,
                       Quoted(token));
  });
}

bool HasWildcard(std::string_view text) { return text.find_first_of("*>") != text.npos; }

std::vector<std::string_view> SplitTopic(std::string_view topic) {
  std::vector<std::string_view> tokens;
  (void)ForEachToken(topic, [&](std::string_view token, size_t) {
    tokens.push_back(token);
    return absl::OkStatus();
  });
  return tokens;
}

absl::Status ValidateTypeName(std::string_view type_name) {
  if (type_name.empty()) return absl::OkStatus();
  if (type_name.size() > kMaxTypeNameBytes) {
    return absl::InvalidArgumentError(fmt::format("type name {} has {} bytes; at most {}",
                                                  Quoted(type_name), type_name.size(),
                                                  kMaxTypeNameBytes));
  }
  return ForEachToken(type_name, [&](std::string_view token, size_t number) {
    if (IsIdentifier(token)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("type name {}: part {}, {}, is no identifier; a full protobuf type name is "
                    "expected, as in \"acme.Frame\", or none for bytes",
                    Quoted(type_name), number, Quoted(token)));
  });
}

absl::Status ValidateNodeName(std::string_view name) {
  if (!name.empty() && name.size() <= kMaxNodeNameBytes && IsPrintableUtf8(name)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("node name {} has {} bytes; 1 to {} bytes of printable UTF-8 are allowed",
                  Quoted(name), name.size(), kMaxNodeNameBytes));
}

}  // namespace ivmq::control
