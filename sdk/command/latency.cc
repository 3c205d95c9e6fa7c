#include "sdk/command/latency.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

constexpr const char* kWhyUntimed =
    " (published without timestamps, or before the clocks were compared)";

}  // namespace

void LatencyFigures::Add(const BytesMessage& message) {
  lost += message.gap();
  const auto latency = message.info.latency();
  if (!latency) {
    ++untimed;
    return;
  }
  times.Add(latency->value);
  uncertainty = std::max(uncertainty, latency->uncertainty);
}

void LatencyFigures::Add(const LatencyFigures& other) {
  times.Add(other.times);
  uncertainty = std::max(uncertainty, other.uncertainty);
  untimed += other.untimed;
  lost += other.lost;
}

void LatencyFigures::Clear() {
  times.Clear();
  uncertainty = {};
  untimed = 0;
  lost = 0;
}

std::string LatencyFigures::ForPeople() const {
  std::string text = CountOf(messages(), "message");
  if (times.count() > 0) {
    text += fmt::format(": min {}, p50 {}, p99 {}, p99.9 {}, max {}, each ±{}",
                        DurationText(times.min()), DurationText(times.Percentile(0.5)),
                        DurationText(times.Percentile(0.99)), DurationText(times.Percentile(0.999)),
                        DurationText(times.max()), DurationText(uncertainty));
  }
  if (untimed > 0)
    text += fmt::format("; {} without a time{}", untimed, times.count() > 0 ? kWhyUntimed : "");
  if (lost > 0) text += fmt::format("; {} lost", lost);
  return text;
}

std::string LatencyFigures::ForPrograms() const {
  return fmt::format(
      R"("messages":"{}","untimed":"{}","lost":"{}","min_ns":"{}","p50_ns":"{}","p99_ns":"{}",)"
      R"("p999_ns":"{}","max_ns":"{}","uncertainty_ns":"{}")",
      messages(), untimed, lost, times.min().count(), times.Percentile(0.5).count(),
      times.Percentile(0.99).count(), times.Percentile(0.999).count(), times.max().count(),
      uncertainty.count());
}

std::string DurationText(std::chrono::nanoseconds time) {
  const double ns = static_cast<double>(time.count());
  const double size = std::fabs(ns);
  if (size < 1e3) return fmt::format("{} ns", time.count());
  if (size < 1e6) return fmt::format("{:.3g} us", ns / 1e3);
  if (size < 1e9) return fmt::format("{:.3g} ms", ns / 1e6);
  return fmt::format("{:.3g} s", ns / 1e9);
}

}  // namespace ivmq::command
