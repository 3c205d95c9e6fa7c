// What it costs to find whom a newcomer meets, among as many topics and filters as the second
// argument and the first say. Prints microseconds a newcomer.
//
//   match_bench [--benchmark_repetitions=N]     IVMQ_BENCH_SAMPLES: where each figure is written
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "broker/control/directory.h"
#include "tests/bench/samples.h"

namespace ivmq::control {
namespace {

constexpr int64_t kGroups = 100;

std::string TopicOf(int64_t i) {
  return "plant." + std::to_string(i % kGroups) + ".sensor." + std::to_string(i);
}

Endpoint MakeEndpoint(uint64_t id, bool publishes, std::string topic) {
  Endpoint endpoint;
  endpoint.id = id;
  endpoint.publishes = publishes;
  endpoint.topic = std::move(topic);
  return endpoint;
}

void Fill(Directory* directory, int64_t filters, int64_t topics) {
  uint64_t id = 1;
  for (int64_t i = 0; i < topics; ++i) {
    directory->AddEndpoint(MakeEndpoint(id++, true, TopicOf(i)));
  }
  for (int64_t i = 0; i < filters; ++i) {
    const std::string number = std::to_string(i);
    const std::string kinds[] = {"plant." + number + ".>", "plant.*.sensor." + number,
                                 "*.*.*." + number, "plant." + number + ".*.*"};
    directory->AddEndpoint(MakeEndpoint(id++, false, kinds[i % 4]));
  }
}

void NewPublisher(benchmark::State& state) {
  Directory directory;
  Fill(&directory, state.range(0), state.range(1));
  int64_t i = 0;
  size_t matches = 0;
  for (auto _ : state) {
    matches += directory.FindMatches(MakeEndpoint(0, true, TopicOf(i++))).size();
  }
  state.counters["matches"] =
      static_cast<double>(matches) / static_cast<double>(state.iterations());
}

void NewFilter(benchmark::State& state) {
  Directory directory;
  Fill(&directory, state.range(0), state.range(1));
  int64_t i = 0;
  size_t matches = 0;
  for (auto _ : state) {
    const std::string filter = "plant." + std::to_string(i++ % kGroups) + ".>";
    matches += directory.FindMatches(MakeEndpoint(0, false, filter)).size();
  }
  state.counters["matches"] =
      static_cast<double>(matches) / static_cast<double>(state.iterations());
}

void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({0, 1})->Unit(benchmark::kMicrosecond);
  for (int64_t topics = 10; topics <= 100'000; topics *= 10) benchmark->Args({topics / 10, topics});
}
BENCHMARK(NewPublisher)->Apply(Sizes);
BENCHMARK(NewFilter)->Apply(Sizes);

// Prints, and writes each repetition down.
class Reporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      const bool filter = run.run_name.function_name == "NewFilter";
      const std::string& args = run.run_name.args;
      bench::WriteFigure(
          "scale",
          (filter ? "match_filter_us/" : "match_publisher_us/") + args.substr(args.find('/') + 1),
          run.GetAdjustedCPUTime(), "µs");
    }
  }
};

}  // namespace
}  // namespace ivmq::control

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  ivmq::control::Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return 0;
}
