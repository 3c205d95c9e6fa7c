#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
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
      : to_(std::move(to)), size_bytes_(options.size_bytes), batch_(options.batch) {
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
        if (batch_ != 0 && ++unflushed_ == batch_) Flush();
      }
      if (pace_) Flush();
    }
    if (pace_) {
      const uint64_t due = pace_->DueBy(BenchClock::now());
      // What the last turn would have sent is no sign.
      if (due - std::min(due, sent_) > due / 100 + 1) unsent_.store(due - sent_);
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
    report_ = report;
    // A stretch without reports, as while the server stands still, is as many tenths as it is long.
    const uint64_t age_ns = report.age_ns() - std::min(report.age_ns(), tenth_.age_ns());
    const auto tenths = static_cast<size_t>(
        std::llround(static_cast<double>(age_ns) / static_cast<double>(kTenth.count())));
    if (tenths == 0) return;
    rates_.insert(rates_.end(), std::min(tenths, kTenthsAtMost), RateOf(report, tenth_, age_ns));
    tenth_ = report;
  }

  BenchFigures Interval() override {
    const uint64_t age_ns = report_.age_ns() - std::min(report_.age_ns(), shown_.age_ns());
    const double rate = RateOf(report_, shown_, age_ns);
    const uint64_t messages = report_.messages() - std::min(report_.messages(), shown_.messages());
    shown_ = report_;
    return Figures(messages, rate, age_ns);
  }

  BenchFigures Total() const override {
    BenchFigures figures = Figures(report_.messages(), RateOf(report_, {}, report_.elapsed_ns()),
                                   report_.elapsed_ns());
    const uint64_t unsent = unsent_.load();
    if (pace_) figures.json += fmt::format(R"(,"unsent":"{}")", unsent);
    if (unsent > 0) figures.text += fmt::format("; {} due and never sent", unsent);
    const std::vector<double> rates = SortedRates();
    for (const Share& share : kShares) {
      if (rates.empty()) break;
      figures.json += fmt::format(R"(,"{}_messages_per_second":{:.1f})", share.name,
                                  AtShare(rates, share.share));
    }
    return figures;
  }

  Table TotalTable() const override {
    Table table({{"TENTHS OF A SECOND"},
                 {"MESSAGES/S", Table::Align::kRight},
                 {"BYTES/S", Table::Align::kRight}});
    const std::vector<double> rates = SortedRates();
    for (const Share& share : kShares) {
      if (rates.empty()) break;
      const double rate = AtShare(rates, share.share);
      table.Add({share.name, BenchRateText(rate), BenchRateText(rate * Bytes(), "B")});
    }
    return table;
  }

  BenchCounts Counts() const override {
    return {report_.messages(), report_.lost(), report_.damaged(), report_.misordered()};
  }

 private:
  struct Share {
    const char* name;
    double share;
  };
  static constexpr std::array<Share, 5> kShares{
      {{"slowest", 0}, {"p10", 0.1}, {"p50", 0.5}, {"p90", 0.9}, {"fastest", 1}}};
  static constexpr uint64_t kUnpacedTurn = 64;
  static constexpr std::chrono::nanoseconds kTenth = kBenchReportEvery;
  static constexpr size_t kTenthsAtMost = 100;  // of one stretch: kBenchPatience is shorter

  // Of the tenths of a second.
  std::vector<double> SortedRates() const {
    std::vector<double> rates = rates_;
    std::sort(rates.begin(), rates.end());
    return rates;
  }
  static double AtShare(const std::vector<double>& sorted, double share) {
    return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))];
  }

  void Flush() {
    to_.Flush();
    unflushed_ = 0;
  }

  // Into the ring, which makes them visible in batches by itself, too. CANCELLED: there was no
  // room, and meanwhile `give_up` came.
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

  BenchFigures Figures(uint64_t messages, double rate, uint64_t ns) const {
    return {fmt::format("{:>6} messages/s  {:>7}/s", BenchRateText(rate),
                        BenchRateText(rate * Bytes(), "B")),
            fmt::format(R"("messages":"{}","messages_per_second":{:.1f},"bytes_per_second":{:.1f})",
                        messages, rate, rate * Bytes()),
            std::chrono::nanoseconds(ns)};
  }

  // The thread that sends.
  BytesPublisher to_;
  const size_t size_bytes_;
  const uint64_t batch_;
  uint64_t unflushed_ = 0;
  std::optional<BenchPace> pace_;
  uint64_t sent_ = 0;
  std::atomic<uint64_t> unsent_{0};  // due and not sent, as the rate is not reached
  // The thread that prints.
  v1::BenchReport report_;
  v1::BenchReport tenth_;  // at which the last full tenth of a second ended
  v1::BenchReport shown_;
  std::vector<double> rates_;  // of tenths of a second
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
