#ifndef IVMQ_SDK_COMMAND_PUB_H_
#define IVMQ_SDK_COMMAND_PUB_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// Publishes, and says on stderr how many messages reached how many subscribers. Returns the exit
// status.
int RunPub(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_PUB_H_
