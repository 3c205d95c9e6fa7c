// Samples as lines of JSON, for the report.
#ifndef IVMQ_TESTS_BENCH_SAMPLES_H_
#define IVMQ_TESTS_BENCH_SAMPLES_H_

#include <string>

#include "tests/bench/two_cores.h"

namespace ivmq::bench {

// Appends a line to the file that IVMQ_BENCH_SAMPLES names; without it, does nothing. `name` is
// what was measured: words apart by slashes, the last one a size in bytes. `more`: further members
// of the JSON object, each with a comma in front.
void WriteSample(const std::string& group, const std::string& name, const Sample& sample,
                 const std::string& more = "");

// The same of a figure that has no placement of cores, in `unit`.
void WriteFigure(const std::string& group, const std::string& name, double value,
                 const std::string& unit);

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_SAMPLES_H_
