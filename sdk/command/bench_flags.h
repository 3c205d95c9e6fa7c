#ifndef IVMQ_SDK_COMMAND_BENCH_FLAGS_H_
#define IVMQ_SDK_COMMAND_BENCH_FLAGS_H_

#include <CLI/CLI.hpp>

#include "sdk/command/command_line.h"

namespace ivmq::command {

// `bench` and what stands behind it. Both outlive the parsing.
void AddBench(CLI::App* app, CommandLine* line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_FLAGS_H_
