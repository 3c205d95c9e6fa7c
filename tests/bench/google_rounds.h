// The cases of a benchmark as Google Benchmarks, for those who use its flags, filters and formats.
#ifndef IVMQ_TESTS_BENCH_GOOGLE_ROUNDS_H_
#define IVMQ_TESTS_BENCH_GOOGLE_ROUNDS_H_

#include <string>
#include <vector>

#include "tests/bench/rounds.h"

namespace ivmq::bench {

// Whether an argument is one of Google Benchmark's own.
bool HasGoogleArguments(int argc, char** argv);

// Registers each case as `group`/name and runs what the arguments say. A repetition is one sample
// as TakeSample has it, that is with a calibration before and after it; its label tells the
// placement, a counter the cache-line round trip. As RunRounds, prints the medians of each
// placement at the end, which Google Benchmark's own aggregates mix, writes each sample down, and
// returns the program's exit status; 2 for arguments that are none.
int RunGoogleBenchmarks(const std::string& group, const std::vector<Case>& cases, int argc,
                        char** argv);

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_GOOGLE_ROUNDS_H_
