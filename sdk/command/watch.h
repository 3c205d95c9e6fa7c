#ifndef IVMQ_SDK_COMMAND_WATCH_H_
#define IVMQ_SDK_COMMAND_WATCH_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// Prints what exists, then what comes, changes and goes, until Ctrl-C. Returns the exit status.
int RunWatch(const CommandLine& line);

// evict node, evict peer.
int RunEvict(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_WATCH_H_
