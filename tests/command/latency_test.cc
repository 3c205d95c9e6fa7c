#include "sdk/command/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <random>
#include <vector>

namespace ivmq::command {
namespace {

using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""us;

TEST(LatencyHistogramTest, HasNoPercentilesOfNothing) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.Percentile(0.99), 0ns);
  EXPECT_EQ(histogram.min(), 0ns);
}

TEST(LatencyHistogramTest, TakesTheSmallestAndTheLargest) {
  LatencyHistogram histogram;
  histogram.Add(-5ns);
  EXPECT_EQ(histogram.Percentile(1), -5ns);
  histogram.Add(std::chrono::nanoseconds::max());
  EXPECT_EQ(histogram.Percentile(0.5), -5ns);
  EXPECT_EQ(histogram.Percentile(1), std::chrono::nanoseconds::max());
  EXPECT_EQ(histogram.min(), -5ns);
  EXPECT_EQ(histogram.max(), std::chrono::nanoseconds::max());
}

TEST(LatencyHistogramTest, HidesNotThatAllAreBelowZero) {
  LatencyHistogram histogram;
  histogram.Add(std::chrono::nanoseconds::min());
  histogram.Add(-5ns);
  EXPECT_EQ(histogram.min(), std::chrono::nanoseconds::min());
  EXPECT_EQ(histogram.max(), -5ns);
  EXPECT_EQ(histogram.Percentile(0.5), std::chrono::nanoseconds::min());
  EXPECT_EQ(histogram.Percentile(1), -5ns);
  LatencyHistogram sum;
  sum.Add(histogram);
  EXPECT_EQ(sum.max(), -5ns);
  sum.Add(LatencyHistogram());
  EXPECT_EQ(sum.max(), -5ns);
}

TEST(LatencyHistogramTest, IsExactForShortTimesAndLittleAboveForOthers) {
  const unsigned seed = std::random_device()();
  std::cout << "seed " << seed << '\n';
  std::mt19937_64 random(seed);
  LatencyHistogram histogram;
  std::vector<int64_t> times;
  for (int i = 0; i < 10'000; ++i) {
    const auto time = static_cast<int64_t>(random() >> (1 + random() % 63));
    times.push_back(random() % 2 == 0 ? time : -time);
    histogram.Add(std::chrono::nanoseconds(times.back()));
  }
  std::sort(times.begin(), times.end());
  for (const double share : {0.0001, 0.1, 0.5, 0.99, 0.999, 1.0}) {
    const auto place = static_cast<size_t>(std::ceil(share * 10'000)) - 1;
    const double exact = static_cast<double>(times[place]);
    const double size = std::fabs(exact);
    const double told = static_cast<double>(histogram.Percentile(share).count());
    EXPECT_GE(told, exact) << share;
    EXPECT_LE(told, exact + (size < 256 ? 0 : size / 128)) << share;
  }
}

TEST(LatencyHistogramTest, AddsUpAndStartsAnew) {
  LatencyHistogram sum;
  LatencyHistogram one;
  one.Add(7ns);
  sum.Add(one);
  sum.Add(one);
  EXPECT_EQ(sum.count(), 2u);
  EXPECT_EQ(sum.min(), 7ns);
  EXPECT_EQ(sum.max(), 7ns);
  sum.Clear();
  EXPECT_EQ(sum.count(), 0u);
  EXPECT_EQ(sum.min(), 0ns);
  EXPECT_EQ(sum.Percentile(1), 0ns);
}

TEST(LatencyFiguresTest, SaysWhatItKnowsAndHowFarThatMayBeOff) {
  LatencyFigures figures;
  EXPECT_EQ(figures.ForPeople(), "0 messages");
  BytesMessage untimed;
  untimed.info.gap = 3;
  figures.Add(untimed);
  EXPECT_EQ(figures.ForPeople(), "1 message; 1 without a time; 3 lost");
  MessageNotes notes;
  notes.published = RealmTime{{}, 2us};
  notes.received = RealmTime{std::chrono::system_clock::time_point(100us), 3us};
  BytesMessage timed;
  timed.info.notes = &notes;
  figures.Add(timed);
  EXPECT_EQ(
      figures.ForPeople(),
      "2 messages: min 100 us, p50 100 us, p99 100 us, p99.9 100 us, max 100 us, each ±5 us; "
      "1 without a time (published without timestamps, or before the clocks were compared); 3 "
      "lost");
  EXPECT_EQ(figures.ForPrograms(),
            R"("messages":"2","untimed":"1","lost":"3","min_ns":"100000","p50_ns":"100000",)"
            R"("p99_ns":"100000","p999_ns":"100000","max_ns":"100000","uncertainty_ns":"5000")");
}

TEST(LatencyFiguresTest, WritesTimesForPeople) {
  EXPECT_EQ(DurationText(0ns), "0 ns");
  EXPECT_EQ(DurationText(999ns), "999 ns");
  EXPECT_EQ(DurationText(12'345ns), "12.3 us");
  EXPECT_EQ(DurationText(-12'345ns), "-12.3 us");
  EXPECT_EQ(DurationText(4'560us), "4.56 ms");
  EXPECT_EQ(DurationText(std::chrono::seconds(2)), "2 s");
}

}  // namespace
}  // namespace ivmq::command
