#ifndef IVMQ_SDK_COMMAND_SUB_H_
#define IVMQ_SDK_COMMAND_SUB_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// Prints messages as they come. Returns the exit status.
int RunSub(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_SUB_H_
