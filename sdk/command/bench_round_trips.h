#ifndef IVMQ_SDK_COMMAND_BENCH_ROUND_TRIPS_H_
#define IVMQ_SDK_COMMAND_BENCH_ROUND_TRIPS_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

#include "sdk/command/bench_load.h"
#include "sdk/command/bench_protocol.h"
#include "sdk/command/latency_histogram.h"

namespace ivmq::command {

// What runs have in common that time each message until it, or its answer, is back: the figures.
// Threads as BenchLoad.
class RoundTripLoad : public BenchLoad {
 public:
  explicit RoundTripLoad(const BenchOptions& options) : paced_(options.rate_hz.has_value()) {}

  void OnReport(const v1::BenchReport& /*report*/) override {}
  BenchFigures Interval() override;
  BenchFigures Total() const override;
  Table TotalTable() const override;
  BenchCounts Counts() const override;

 protected:
  // For the thread that sends.
  void Begin();
  // `bad`: it was not as it should be, so its time says nothing.
  enum class Back { kGood, kBad };
  void Add(Back back, std::chrono::nanoseconds time, const BenchCounts& counts);
  // Messages that were due at the end and had not been sent, because those before them took so
  // long.
  void SetUnsent(uint64_t messages);
  // Sends no more and waits for none.
  void Ended();

 private:
  LatencyHistogram All() const;
  BenchFigures Figures(const LatencyHistogram& times, BenchClock::duration in) const;

  const bool paced_;
  mutable std::mutex mutex_;
  LatencyHistogram now_;  // guarded by mutex_, as the next five: since the last Interval
  BenchCounts counts_;
  uint64_t unsent_ = 0;
  BenchClock::time_point begin_;
  std::optional<BenchClock::time_point> ended_;
  BenchClock::time_point interval_begin_;
  // The thread that prints.
  LatencyHistogram before_;  // all until then
  LatencyHistogram spare_;   // empty
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_ROUND_TRIPS_H_
