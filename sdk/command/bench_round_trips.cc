#include "sdk/command/bench_round_trips.h"

#include <fmt/core.h>

#include <array>
#include <string>
#include <utility>

#include "sdk/command/latency.h"

namespace ivmq::command {
namespace {

struct Share {
  const char* name;
  const char* field;
  double share;
};
constexpr std::array<Share, 5> kShares{{{"p50", "p50_ns", 0.5},
                                        {"p90", "p90_ns", 0.9},
                                        {"p99", "p99_ns", 0.99},
                                        {"p99.9", "p999_ns", 0.999},
                                        {"p99.99", "p9999_ns", 0.9999}}};

}  // namespace

void RoundTripLoad::Begin() {
  const std::lock_guard lock(mutex_);
  begin_ = interval_begin_ = BenchClock::now();
}

void RoundTripLoad::Add(Back back, std::chrono::nanoseconds time, const BenchCounts& counts) {
  const std::lock_guard lock(mutex_);
  if (back == Back::kGood) now_.Add(time);
  counts_ = counts;
}

void RoundTripLoad::Ended() {
  const std::lock_guard lock(mutex_);
  ended_ = BenchClock::now();
}

void RoundTripLoad::SetUnsent(uint64_t messages) {
  const std::lock_guard lock(mutex_);
  unsent_ = messages;
}

BenchFigures RoundTripLoad::Interval() {
  BenchClock::duration passed{};
  {
    // No longer than it takes: the thread that measures would wait.
    const std::lock_guard lock(mutex_);
    std::swap(now_, spare_);
    const auto now = BenchClock::now();
    passed = now - interval_begin_;
    interval_begin_ = now;
  }
  BenchFigures figures = Figures(spare_, passed);
  before_.Add(spare_);
  spare_.Clear();
  return figures;
}

LatencyHistogram RoundTripLoad::All() const {
  LatencyHistogram all = before_;
  const std::lock_guard lock(mutex_);
  all.Add(now_);
  return all;
}

BenchFigures RoundTripLoad::Total() const {
  const LatencyHistogram all = All();
  BenchClock::duration passed{};
  uint64_t unsent = 0;
  {
    const std::lock_guard lock(mutex_);
    passed = ended_.value_or(BenchClock::now()) - begin_;
    unsent = unsent_;
  }
  BenchFigures figures = Figures(all, passed);
  if (paced_) figures.json += fmt::format(R"(,"unsent":"{}")", unsent);
  if (unsent > 0) figures.text += fmt::format("; {} due and never sent", unsent);
  return figures;
}

Table RoundTripLoad::TotalTable() const {
  Table table({{"ROUND TRIPS"}, {"TIME", Table::Align::kRight}});
  const LatencyHistogram all = All();
  if (all.count() == 0) return table;
  table.Add({"min", DurationText(all.min())});
  for (const Share& share : kShares) {
    // Of fewer it is no other than the longest.
    if (static_cast<double>(all.count()) * (1 - share.share) < 1) break;
    table.Add({share.name, DurationText(all.Percentile(share.share))});
  }
  table.Add({"max", DurationText(all.max())});
  return table;
}

BenchCounts RoundTripLoad::Counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

BenchFigures RoundTripLoad::Figures(const LatencyHistogram& times, BenchClock::duration in) const {
  const double seconds = std::chrono::duration<double>(in).count();
  const double rate = seconds > 0 ? static_cast<double>(times.count()) / seconds : 0;
  BenchFigures figures;
  figures.measured_for = in;
  figures.json =
      fmt::format(R"("messages":"{}","messages_per_second":{:.1f})", times.count(), rate);
  if (times.count() == 0) {
    figures.text = "no round trips";
    return figures;
  }
  figures.text = fmt::format("{:>6} round trips/s  p50 {:>7}  p99 {:>7}  max {:>7}",
                             BenchRateText(rate), DurationText(times.Percentile(0.5)),
                             DurationText(times.Percentile(0.99)), DurationText(times.max()));
  figures.json += fmt::format(R"(,"min_ns":"{}")", times.min().count());
  for (const Share& share : kShares) {
    figures.json +=
        fmt::format(R"(,"{}":"{}")", share.field, times.Percentile(share.share).count());
  }
  figures.json += fmt::format(R"(,"max_ns":"{}")", times.max().count());
  return figures;
}

}  // namespace ivmq::command
