#ifndef IVMQ_SDK_COMMAND_PAYLOAD_SOURCE_H_
#define IVMQ_SDK_COMMAND_PAYLOAD_SOURCE_H_

#include <ivmq/status.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "sdk/command/command_line.h"

namespace ivmq::command {

// The content of a file; "-": of the standard input. NOT_FOUND: it cannot be read, and why.
Result<std::string> ReadWholeFile(const std::string& path);

// What pub and request send, one after the other.
class PayloadSource {
 public:
  // Turns one JSON text into bytes.
  using Encode = std::function<Result<std::string>(const std::string& json)>;

  // `count` absent: one, or all lines. `size_bytes`: what is no line is repeated or cut to it.
  // Fails where the file cannot be read or the JSON of the command line does not fit.
  static Result<PayloadSource> Open(const Payload& payload, std::optional<uint64_t> count,
                                    std::optional<size_t> size_bytes, const Encode& encode);

  // Bytes of each, where they are known before.
  std::optional<size_t> size() const;
  // Null: there are no more. A failure names the line of the standard input.
  Result<const std::string*> Next();

 private:
  enum class Kind { kOne, kLines, kJsonLines };
  PayloadSource(Kind kind, std::optional<uint64_t> left, Encode encode);

  Kind kind_;
  std::optional<uint64_t> left_;
  Encode encode_;
  uint64_t lines_ = 0;
  std::string message_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_PAYLOAD_SOURCE_H_
