#include "tests/bench/two_cores.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;

void PinTo(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) std::abort();
  // With IVMQ_BENCH_REALTIME set, other work on the machine cannot preempt a sample.
  if (std::getenv("IVMQ_BENCH_REALTIME") != nullptr) {  // NOLINT(concurrency-mt-unsafe): no setenv
    sched_param parameters{};
    parameters.sched_priority = 10;
    (void)sched_setscheduler(0, SCHED_FIFO, &parameters);
  }
}

void Unpin() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (int core = 0; core < 2; ++core) CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) std::abort();
  sched_param parameters{};
  (void)sched_setscheduler(0, SCHED_OTHER, &parameters);
}

long Preemptions() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

}  // namespace

const char* PlacementName(Placement placement) {
  return placement == Placement::kNear ? "near" : "far";
}

std::optional<double> RunOnTwoCores(const std::function<void()>& first,
                                    const std::function<void()>& second) {
  Alone<std::atomic<int>> ready{0};
  bool second_ran_through = false;
  std::thread other([&] {
    PinTo(1);
    ready.value.fetch_add(1);
    while (ready.value.load() < 2) {
    }
    const long before = Preemptions();
    second();
    second_ran_through = Preemptions() == before;
  });
  while (ready.value.load() < 1) std::this_thread::yield();
  PinTo(0);
  const long before = Preemptions();
  ready.value.fetch_add(1);
  const auto start = Clock::now();
  first();
  const auto end = Clock::now();
  const bool first_ran_through = Preemptions() == before;
  other.join();
  Unpin();
  if (!first_ran_through || !second_ran_through) return std::nullopt;
  return std::chrono::duration<double, std::nano>(end - start).count();
}

std::optional<double> CacheLineRoundTripNs() {
  constexpr uint64_t kTrips = 5000;
  static Alone<std::atomic<uint64_t>> there{0};
  static Alone<std::atomic<uint64_t>> back{0};
  there.value.store(0);
  back.value.store(0);
  const auto total = RunOnTwoCores(
      [] {
        for (uint64_t i = 1; i <= kTrips; ++i) {
          there.value.store(i, std::memory_order_release);
          while (back.value.load(std::memory_order_acquire) != i) {
          }
        }
      },
      [] {
        for (uint64_t i = 1; i <= kTrips; ++i) {
          while (there.value.load(std::memory_order_acquire) != i) {
          }
          back.value.store(i, std::memory_order_release);
        }
      });
  if (!total) return std::nullopt;
  return *total / kTrips;
}

std::optional<Sample> TakeSample(const std::function<std::optional<double>()>& measure) {
  constexpr double kFarNs = 300;
  for (int attempt = 0; attempt < 200; ++attempt) {
    const auto before = CacheLineRoundTripNs();
    const auto measured = measure();
    const auto after = CacheLineRoundTripNs();
    if (!before || !measured || !after) continue;
    if (*before > 1.25 * *after || *after > 1.25 * *before) continue;
    const double line = (*before + *after) / 2;
    return Sample{line < kFarNs ? Placement::kNear : Placement::kFar, line, *measured};
  }
  return std::nullopt;
}

}  // namespace ivmq::bench
