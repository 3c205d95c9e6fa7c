// Samples as lines of JSON, for report.py.
#ifndef IVMQ_TESTS_BENCH_SAMPLES_H_
#define IVMQ_TESTS_BENCH_SAMPLES_H_

#include <string>

#include "tests/bench/two_cores.h"

namespace ivmq::bench {

// Appends a line to the file that IVMQ_BENCH_SAMPLES names; without it, does nothing. `name` is
// what was measured: words apart by slashes, the last one a size in bytes.
void WriteSample(const std::string& group, const std::string& name, const Sample& sample);

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_SAMPLES_H_
