#ifndef IVMQ_SDK_COMMAND_PAYLOAD_TEXT_H_
#define IVMQ_SDK_COMMAND_PAYLOAD_TEXT_H_

#include <ivmq/codec.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ivmq::command {

// What was received, to be shown.
struct ReceivedPayload {
  std::span<const std::byte> bytes;
  std::string_view type;            // empty: bytes
  std::optional<std::string> json;  // what they say, where the type is known

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

// One line: JSON; text as it is; what is none as its size and its first bytes. The name of a type
// that is not known stands in front.
std::string ForPeople(const ReceivedPayload& payload);
// Members of a JSON object: "bytes", "type" unless it is empty, and one of "message" (JSON),
// "text" (printable UTF-8, several lines of it included), "base64".
std::string ForPrograms(const ReceivedPayload& payload);
// As ForPeople, but for texts of several lines, which stay what they are; without the end of the
// last one.
std::string LinesForPeople(const ReceivedPayload& payload);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_PAYLOAD_TEXT_H_
