#include "sdk/command/bench_protocol.h"

#include <fmt/core.h>

#include <algorithm>

namespace ivmq::command {
namespace {

uint64_t NanosecondsOf(BenchClock::duration time) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(time).count());
}

}  // namespace

std::string BenchService(const std::string& server) { return "ivmq.bench." + server; }

std::string BenchTopic(const std::string& server, uint64_t run) {
  return fmt::format("{}.{:016x}", BenchService(server), run);
}

std::string BenchBackTopic(const std::string& server, uint64_t run) {
  return BenchTopic(server, run) + ".back";
}

Status CheckBenchRun(const v1::BenchRun& run) {
  if (run.message_bytes() < kBenchBytesMin || run.message_bytes() > kBenchBytesMax) {
    return Status(Code::kInvalidArgument,
                  fmt::format("messages of {} bytes; {} to {} can be measured", run.message_bytes(),
                              kBenchBytesMin, kBenchBytesMax));
  }
  return Status();
}

Wait BenchWait(v1::BenchRun::Wait wait) {
  if (wait == v1::BenchRun::SPIN) return Wait::kSpin;
  return wait == v1::BenchRun::BLOCK ? Wait::kBlock : Wait::kAdaptive;
}

v1::BenchRun::Wait BenchWait(Wait wait) {
  if (wait == Wait::kSpin) return v1::BenchRun::SPIN;
  return wait == Wait::kBlock ? v1::BenchRun::BLOCK : v1::BenchRun::ADAPTIVE;
}

const char* BenchWaitName(Wait wait) {
  if (wait == Wait::kSpin) return "spin";
  return wait == Wait::kBlock ? "block" : "adaptive";
}

const char* BenchKindName(v1::BenchRun::Kind kind) {
  if (kind == v1::BenchRun::THROUGHPUT) return "throughput";
  return kind == v1::BenchRun::LATENCY ? "latency" : "request";
}

PublisherOptions BenchPublisherOptions(size_t message_bytes, Wait wait, Reliability reliability) {
  PublisherOptions options;
  options.reliability = reliability;
  options.max_message_bytes = std::max(message_bytes, kBenchEndBytes);
  options.wait = wait;
  return options;
}

void BenchTally::Set(const BenchCounts& counts, BenchClock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!any_) first_ = now;
  any_ = true;
  last_ = now;
  counts_ = counts;
}

v1::BenchReport BenchTally::Report() const {
  const std::lock_guard lock(mutex_);
  v1::BenchReport report;
  report.set_messages(counts_.messages);
  report.set_lost(counts_.lost);
  report.set_damaged(counts_.damaged);
  report.set_misordered(counts_.misordered);
  if (!any_) return report;
  report.set_elapsed_ns(NanosecondsOf(last_ - first_));
  report.set_age_ns(NanosecondsOf(BenchClock::now() - first_));
  return report;
}

}  // namespace ivmq::command
