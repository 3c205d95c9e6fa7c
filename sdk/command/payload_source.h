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
  // Lines end when `stop_fd` becomes readable.
  // Fails where the file cannot be read or the JSON of the command line does not fit.
  static Result<PayloadSource> Open(const Payload& payload, std::optional<uint64_t> count,
                                    std::optional<size_t> size_bytes, int stop_fd,
                                    const Encode& encode);

  // Bytes of each, where they are known before.
  std::optional<size_t> size() const;
  // Null: there are no more. A failure names the line of the standard input that does not fit.
  Result<const std::string*> Next();

 private:
  enum class Kind { kOne, kLines, kJsonLines };
  PayloadSource(Kind kind, std::optional<uint64_t> left, int stop_fd, Encode encode);
  // False: there is none.
  Result<bool> ReadLine(std::string* line);

  Kind kind_;
  std::optional<uint64_t> left_;
  int stop_fd_;
  Encode encode_;
  std::string read_;  // of the standard input
  size_t begin_ = 0;  // of what was not given out as a line
  uint64_t lines_ = 0;
  std::string message_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_PAYLOAD_SOURCE_H_
