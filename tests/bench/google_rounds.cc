#include "tests/bench/google_rounds.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "tests/bench/samples.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

void TakeOne(benchmark::State& state, const std::string& group, const Case& one, Taken* taken) {
  std::optional<Sample> sample;
  for (auto _ : state) {
    sample = TakeSample(one.measure, one.patience);
    if (!sample) {
      state.SkipWithError("the machine was never calm enough for a sample");
      break;
    }
    state.SetIterationTime(sample->ns * 1e-9);
  }
  if (!sample) return;
  state.SetLabel(PlacementName(sample->placement));
  state.counters["line_ns"] = sample->line_ns;
  WriteSample(group, one.name, *sample, one.more ? one.more() : "");
  (*taken)[{one.name, sample->placement}].push_back(*sample);
}

}  // namespace

bool HasGoogleArguments(int argc, char** argv) {
  return std::any_of(argv + 1, argv + argc, [](const char* argument) {
    return std::string_view(argument).starts_with("--benchmark_");
  });
}

int RunGoogleBenchmarks(const std::string& group, const std::vector<Case>& cases, int argc,
                        char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Taken taken;
  for (const Case& one : cases) {
    benchmark::RegisterBenchmark(
        (group + "/" + one.name).c_str(),
        [&](benchmark::State& state) { TakeOne(state, group, one, &taken); })
        ->Iterations(1)
        ->UseManualTime();
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  if (!taken.empty()) PrintMedians(taken);
  return taken.empty() ? 1 : 0;
}

}  // namespace ivmq::bench
