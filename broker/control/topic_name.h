#ifndef IVMQ_BROKER_CONTROL_TOPIC_NAME_H_
#define IVMQ_BROKER_CONTROL_TOPIC_NAME_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

// The only place that says which names are allowed. Any thread.

namespace ivmq::control {

inline constexpr size_t kMaxTopicBytes = 255;
inline constexpr size_t kMaxTypeNameBytes = 255;
inline constexpr size_t kMaxNodeNameBytes = 63;

// A concrete topic: tokens by dots, none of them empty or with a wildcard (`*`, `>`), 1 to 255
// bytes of printable UTF-8. INVALID_ARGUMENT names the token, its place and what is allowed.
absl::Status ValidateTopic(std::string_view topic);
// The name of a service: the same.
absl::Status ValidateService(std::string_view service);
// A topic, or a filter: a token `*` stands for any one token, a last token `>` for one or more. As
// in NATS, but a wildcard among other characters of a token is refused: no topic has such a token,
// so a filter with one would wait for nothing.
absl::Status ValidateFilter(std::string_view filter);
// Whether a valid filter is more than a topic.
bool HasWildcard(std::string_view text);
std::vector<std::string_view> SplitTopic(std::string_view topic);

inline constexpr std::string_view kAnyToken = "*";
inline constexpr std::string_view kRest = ">";

// A full protobuf type name, or empty for bytes.
absl::Status ValidateTypeName(std::string_view type_name);
// 1 to 63 bytes of printable UTF-8.
absl::Status ValidateNodeName(std::string_view name);

// Valid UTF-8 without control characters, U+FFFE, U+FFFF and noncharacters beyond.
bool IsPrintableUtf8(std::string_view text);
// For messages: what is not printable ASCII as \xNN, cut at 64 bytes.
std::string Quoted(std::string_view text);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_TOPIC_NAME_H_
