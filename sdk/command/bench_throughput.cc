#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "sdk/command/bench_load.h"
#include "sdk/command/bench_pace.h"
#include "sdk/command/bench_protocol.h"

namespace ivmq::command {
namespace {

// Sends as much as goes, or as the rate says. What is shown is what the server has counted.
class ThroughputLoad final : public BenchLoad {
 public:
  ThroughputLoad(BytesPublisher to, const BenchOptions& options)
      : to_(std::move(to)), size_bytes_(options.size_bytes) {
    if (options.rate_hz) pace_.emplace(*options.rate_hz, options.wait);
  }

  Status Join(std::chrono::nanoseconds /*timeout*/) override { return Status(); }

  Status Send(const BenchStop& stop) override {
    const BytesPublisher::Fill fill = [this](std::span<std::byte> out) {
      FillBenchMessage(sent_, out);
      return true;
    };
    if (pace_) pace_->Start();
    while (!stop.finish.load(std::memory_order_relaxed)) {
      uint64_t until = sent_ + kUnpacedTurn;
      if (pace_) {
        pace_->Await(sent_);
        until = std::min(until, pace_->DueBy(BenchClock::now()));
      }
      while (sent_ < until) {
        Status status = Write(size_bytes_, fill, stop, stop.finish);
        if (status.code() == Code::kCancelled) break;
        if (!status.ok()) return status;
        ++sent_;
      }
      if (pace_) to_.Flush();
    }
    const BytesPublisher::Fill end = [this](std::span<std::byte> out) {
      FillBenchEnd(sent_, out);
      return true;
    };
    const Status status = Write(kBenchEndBytes, end, stop, stop.abandon);
    to_.Flush();
    return status.code() == Code::kCancelled ? Status() : status;
  }

  void OnReport(const v1::BenchReport& report) override {
    const uint64_t age_ns = report.age_ns() - std::min(report.age_ns(), report_.age_ns());
    if (age_ns > 0) rates_.push_back(RateOf(report, report_, age_ns));
    report_ = report;
  }

  BenchFigures Interval() override {
    const uint64_t age_ns = report_.age_ns() - std::min(report_.age_ns(), shown_.age_ns());
    const double rate = RateOf(report_, shown_, age_ns);
    const uint64_t messages = report_.messages() - std::min(report_.messages(), shown_.messages());
    shown_ = report_;
    return Figures(messages, rate);
  }

  BenchFigures Total() const override {
    return Figures(report_.messages(), RateOf(report_, {}, report_.elapsed_ns()));
  }

  Table TotalTable() const override {
    Table table({{"TENTHS OF A SECOND"},
                 {"MESSAGES/S", Table::Align::kRight},
                 {"BYTES/S", Table::Align::kRight}});
    std::vector<double> rates = rates_;
    std::sort(rates.begin(), rates.end());
    if (rates.empty()) return table;
    const auto add = [&](const std::string& name, double share) {
      const double rate = rates[static_cast<size_t>(share * static_cast<double>(rates.size() - 1))];
      table.Add({name, BenchRateText(rate), BenchRateText(rate * Bytes(), "B")});
    };
    add("slowest", 0);
    add("p10", 0.1);
    add("p50", 0.5);
    add("p90", 0.9);
    add("fastest", 1);
    return table;
  }

  BenchCounts Counts() const override {
    return {report_.messages(), report_.lost(), report_.damaged(), report_.misordered()};
  }

 private:
  static constexpr uint64_t kUnpacedTurn = 64;

  // Into the ring, which takes them in batches. CANCELLED: there was no room, and meanwhile
  // `give_up` came.
  Status Write(size_t bytes, const BytesPublisher::Fill& fill, const BenchStop& stop,
               const std::atomic<bool>& give_up) {
    // Only then: a look at the clock takes longer than a message.
    std::optional<BenchClock::time_point> full_since;
    for (;;) {
      const auto done = to_.WriteInPlace(bytes, fill);
      if (done.ok() && done->links > 0) return Status();
      if (done.ok()) return Status(Code::kUnavailable, "the server takes no messages any more");
      if (done.status().code() != Code::kFull) return done.status();
      if (stop.abandon.load() || give_up.load()) return Status(Code::kCancelled, "");
      const auto now = BenchClock::now();
      if (!full_since) full_since = now;
      if (now - *full_since > kBenchPatience) return done.status();
    }
  }

  double Bytes() const { return static_cast<double>(size_bytes_); }

  static double RateOf(const v1::BenchReport& now, const v1::BenchReport& before, uint64_t ns) {
    if (ns == 0 || now.messages() < before.messages()) return 0;
    return static_cast<double>(now.messages() - before.messages()) * 1e9 / static_cast<double>(ns);
  }

  BenchFigures Figures(uint64_t messages, double rate) const {
    return {fmt::format("{:>6} messages/s  {:>7}/s", BenchRateText(rate),
                        BenchRateText(rate * Bytes(), "B")),
            fmt::format(R"("messages":"{}","messages_per_second":{:.1f},"bytes_per_second":{:.1f})",
                        messages, rate, rate * Bytes())};
  }

  // The thread that sends.
  BytesPublisher to_;
  const size_t size_bytes_;
  std::optional<BenchPace> pace_;
  uint64_t sent_ = 0;
  // The thread that prints.
  v1::BenchReport report_;
  v1::BenchReport shown_;
  std::vector<double> rates_;  // between two reports
};

}  // namespace

std::string BenchRateText(double count, const char* unit) {
  constexpr std::array<const char*, 4> kPrefixes = {"", "k", "M", "G"};
  size_t prefix = 0;
  while (count >= 999.5 && prefix + 1 < kPrefixes.size()) {
    count /= 1000;
    ++prefix;
  }
  const std::string unit_text = fmt::format("{}{}", kPrefixes[prefix], unit);
  return fmt::format("{:.3g}{}{}", count, unit_text.empty() ? "" : " ", unit_text);
}

BenchLoadResult MakeThroughputLoad(Node* node, const BenchOptions& options, uint64_t run) {
  PublisherOptions own =
      BenchPublisherOptions(options.size_bytes, options.wait, Block(kBenchLookEvery));
  own.ring_bytes = options.ring_bytes;
  auto to = node->CreateBytesPublisher(BenchTopic(options.server, run), {}, own);
  if (!to.ok()) return to.status();
  return BenchLoadResult(std::make_unique<ThroughputLoad>(std::move(to).value(), options));
}

}  // namespace ivmq::command
