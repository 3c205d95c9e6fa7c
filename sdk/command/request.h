#ifndef IVMQ_SDK_COMMAND_REQUEST_H_
#define IVMQ_SDK_COMMAND_REQUEST_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// Asks a service and prints its replies. Returns the exit status: kFailed where one failed.
int RunRequest(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_REQUEST_H_
