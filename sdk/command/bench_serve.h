#ifndef IVMQ_SDK_COMMAND_BENCH_SERVE_H_
#define IVMQ_SDK_COMMAND_BENCH_SERVE_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// `ivmq bench serve`: takes part in runs of clients, one after the other, until Ctrl-C; what to
// exit with.
int RunBenchServe(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_SERVE_H_
