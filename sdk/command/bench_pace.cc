#include "sdk/command/bench_pace.h"

#include <algorithm>
#include <thread>

namespace ivmq::command {
namespace {

constexpr std::chrono::microseconds kSpin{100};  // more than timers are late

}  // namespace

BenchPace::BenchPace(double rate_hz, Wait wait)
    : interval_ns_(1e9 / rate_hz), wait_(wait), start_(BenchClock::now()) {}

BenchClock::time_point BenchPace::Due(uint64_t message) const {
  const double after_ns = static_cast<double>(message) * interval_ns_;
  return start_ + std::chrono::nanoseconds(static_cast<int64_t>(after_ns));
}

uint64_t BenchPace::DueBy(BenchClock::time_point now) const {
  if (now < start_) return 0;
  const std::chrono::nanoseconds passed = now - start_;
  return static_cast<uint64_t>(static_cast<double>(passed.count()) / interval_ns_) + 1;
}

void BenchPace::Await(uint64_t message) const {
  const auto now = BenchClock::now();
  const auto until = std::min(Due(message), now + kBenchLookEvery);
  if (wait_ != Wait::kSpin && until - now > kSpin) std::this_thread::sleep_until(until - kSpin);
  while (BenchClock::now() < until) __builtin_ia32_pause();
}

}  // namespace ivmq::command
