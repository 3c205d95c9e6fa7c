#ifndef IVMQ_SDK_COMMAND_REPLY_H_
#define IVMQ_SDK_COMMAND_REPLY_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// Serves a service until Ctrl-C, or for so many requests. Returns the exit status.
int RunReply(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_REPLY_H_
