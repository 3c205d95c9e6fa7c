#ifndef IVMQ_BROKER_KEEPER_COMMAND_LINE_H_
#define IVMQ_BROKER_KEEPER_COMMAND_LINE_H_

#include <optional>
#include <string>

#include "broker/keeper/config.h"

namespace ivmq::broker {

struct CommandLine {
  ConfigText flags;
  std::optional<std::string> config_path;
  // Set when there is nothing to run: help was printed (0), or the flags are wrong and a message
  // is on stderr (2).
  std::optional<int> exit_code;
};

CommandLine ParseCommandLine(int argc, char** argv);

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_COMMAND_LINE_H_
