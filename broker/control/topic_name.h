#ifndef IVMQ_BROKER_CONTROL_TOPIC_NAME_H_
#define IVMQ_BROKER_CONTROL_TOPIC_NAME_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

// The only place that says which names are allowed. Any thread.

namespace ivmq::control {

inline constexpr size_t kMaxTopicBytes = 255;
inline constexpr size_t kMaxTypeNameBytes = 255;
inline constexpr size_t kMaxNodeNameBytes = 63;

// A concrete topic: tokens by dots, none of them empty or with a wildcard (`*`, `>`), 1 to 255
// bytes of printable UTF-8. INVALID_ARGUMENT names the token, its place and what is allowed.
absl::Status ValidateTopic(std::string_view topic);
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
