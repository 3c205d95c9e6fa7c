#ifndef IVMQ_SDK_COMMAND_BENCH_H_
#define IVMQ_SDK_COMMAND_BENCH_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// `ivmq bench throughput`, `latency` and `request`: a run with a server, with figures each second
// and at the end; what to exit with.
int RunBench(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_H_
