#ifndef IVMQ_SDK_COMMAND_BENCH_PROTOCOL_H_
#define IVMQ_SDK_COMMAND_BENCH_PROTOCOL_H_

#include <ivmq/ivmq.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "ivmq/v1/bench.pb.h"
#include "sdk/command/bench_message.h"

// What both sides of `ivmq bench` agree on; see ivmq/v1/bench.proto.
namespace ivmq::command {

using BenchClock = std::chrono::steady_clock;

inline constexpr std::chrono::milliseconds kBenchReportEvery{100};
// How long nothing may happen before it is called a failure.
inline constexpr std::chrono::seconds kBenchPatience{5};
// How long a thread that measures may wait without looking whether it is to stop.
inline constexpr std::chrono::milliseconds kBenchLookEvery{100};

std::string BenchService(const std::string& server);
std::string BenchTopic(const std::string& server, uint64_t run);
// Of the way back, of latency.
std::string BenchBackTopic(const std::string& server, uint64_t run);

// INVALID_ARGUMENT: a run that no client of this version asks for.
Status CheckBenchRun(const v1::BenchRun& run);
Wait BenchWait(v1::BenchRun::Wait wait);
v1::BenchRun::Wait BenchWait(Wait wait);
const char* BenchWaitName(Wait wait);
const char* BenchKindName(v1::BenchRun::Kind kind);

// How publishers of a run are made: `reliability` of messages of this size, and of the last one.
PublisherOptions BenchPublisherOptions(size_t message_bytes, Wait wait, Reliability reliability);

// What has come, told by the thread that measures to the one that reports.
class BenchTally {
 public:
  void Set(const BenchCounts& counts, BenchClock::time_point now);
  v1::BenchReport Report() const;

 private:
  mutable std::mutex mutex_;
  BenchCounts counts_;            // guarded by mutex_, as the others
  BenchClock::time_point first_;  // without a meaning until something has come
  BenchClock::time_point last_;
  bool any_ = false;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_PROTOCOL_H_
