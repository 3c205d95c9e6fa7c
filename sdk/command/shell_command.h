#ifndef IVMQ_SDK_COMMAND_SHELL_COMMAND_H_
#define IVMQ_SDK_COMMAND_SHELL_COMMAND_H_

#include <ivmq/status.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace ivmq::command {

// A command that the shell runs once for each input. Its standard error is ours.
struct ShellCommand {
  std::string command;
  std::vector<std::string> environment;  // besides ours: "NAME=value"
  size_t output_bytes_max = 0;
};

// Runs it with `input` on its standard input; its standard output. Asks `give_up` a few times a
// second, and kills it and its children (its process group) when that says true. They are also
// killed when this process dies meanwhile, however it does.
//   CANCELLED           given up
//   RESOURCE_EXHAUSTED  it wrote more than it may
//   INTERNAL            it could not be started, ended with another status than 0, or was killed
// REQUIRES: SIGPIPE is ignored; not in the command.
Result<std::string> RunShellCommand(const ShellCommand& command, std::span<const std::byte> input,
                                    const std::function<bool()>& give_up);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_SHELL_COMMAND_H_
