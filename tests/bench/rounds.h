// Takes samples of several contenders in turns, so that all meet the same placements of the cores.
#ifndef IVMQ_TESTS_BENCH_ROUNDS_H_
#define IVMQ_TESTS_BENCH_ROUNDS_H_

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/two_cores.h"

namespace ivmq::bench {

struct Case {
  std::string name;  // as WriteSample has it
  // As TakeSample has it. Where it throws Failed, the case is left out from then on.
  std::function<std::optional<double>()> measure;
  int patience = 4;
  // Further members of the line of JSON of the last measurement, see WriteSample.
  std::function<std::string()> more = {};
};

// What all benchmarks take on their command line.
struct Arguments {
  int rounds = 20;     // --rounds N
  double seconds = 0;  // --seconds S: ends in the midst of a round after so long; 0: does not
  bool quick = false;  // --quick: less of what takes long
  std::string filter;  // only cases with it in their names
  std::vector<size_t> sizes;  // --sizes BYTES,BYTES...
};

// Prints the usage and ends the process where they are wrong.
Arguments ParseArguments(int argc, char** argv);

// What main does where children measure: parses the arguments, catches interrupts, and gives back
// what `run` returns; 1, or 130 after an interrupt, where it throws Failed.
int RunMain(int argc, char** argv, int (*run)(const Arguments&));

// Whether one more round is wanted of what is no Case: a figure of fewer than five samples is worth
// nothing, whatever --seconds says. `began`: of the first round.
bool GoesOn(const Arguments& arguments, int rounds_done,
            std::chrono::steady_clock::time_point began);

// Samples by case and placement, and a table of their medians on stdout.
using Taken = std::map<std::pair<std::string, Placement>, std::vector<Sample>>;
void PrintMedians(const Taken& taken);

// Measures each case once a round, in random order; prints each sample and, at the end, the medians
// of each placement. Returns the program's exit status: 0; 1 if a case failed or there is no sample
// at all; 130 if it was interrupted (see child.h).
int RunRounds(const std::string& group, std::vector<Case> cases, const Arguments& arguments);

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_ROUNDS_H_
