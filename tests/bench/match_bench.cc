// What it costs to find whom a newcomer meets, among as many topics and filters as the second
// argument and the first say. Prints microseconds a newcomer.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "broker/control/directory.h"

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

BENCHMARK(NewPublisher)->Args({0, 1})->Args({1000, 10000})->Unit(benchmark::kMicrosecond);
BENCHMARK(NewFilter)->Args({0, 1})->Args({1000, 10000})->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace ivmq::control

BENCHMARK_MAIN();
