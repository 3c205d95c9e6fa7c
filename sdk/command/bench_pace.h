#ifndef IVMQ_SDK_COMMAND_BENCH_PACE_H_
#define IVMQ_SDK_COMMAND_BENCH_PACE_H_

#include <ivmq/options.h>

#include <chrono>
#include <cstdint>

#include "sdk/command/bench_protocol.h"

namespace ivmq::command {

// When each message of a fixed rate is due, whatever became of those before it. One thread.
class BenchPace {
 public:
  // `wait`: kSpin does not sleep.
  BenchPace(double rate_hz, Wait wait);

  // The first one is due now.
  void Start() { start_ = BenchClock::now(); }
  BenchClock::time_point Due(uint64_t message) const;
  // How many are due at that time, from the start on.
  uint64_t DueBy(BenchClock::time_point now) const;
  // Waits until the message is due, but no longer than kBenchLookEvery. Sleeps so that it wakes a
  // little before, and spins for the rest: a timer is late by more than a message takes.
  void Await(uint64_t message) const;

 private:
  const double interval_ns_;
  const Wait wait_;
  BenchClock::time_point start_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_PACE_H_
