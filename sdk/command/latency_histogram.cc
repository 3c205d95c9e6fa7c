#include "sdk/command/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ivmq::command {
namespace {

// A time of b significant bits lies in one of 128 buckets of its own length; below 256 ns each
// nanosecond has its bucket.
constexpr int kBucketBits = 7;
constexpr uint64_t kBucketsPerLength = 1 << kBucketBits;
constexpr size_t kLengths = 64 - kBucketBits;

constexpr size_t kBuckets = (kLengths + 1) * kBucketsPerLength;

size_t BucketOf(uint64_t time) {
  if (time < 2 * kBucketsPerLength) return time;
  const int shift = static_cast<int>(std::bit_width(time)) - kBucketBits - 1;
  return static_cast<size_t>(shift) * kBucketsPerLength + (time >> shift);
}

// The smallest time that is in it.
uint64_t SmallestOf(size_t bucket) {
  if (bucket < 2 * kBucketsPerLength) return bucket;
  const size_t shift = bucket / kBucketsPerLength - 1;
  return (bucket - shift * kBucketsPerLength) << shift;
}

// Times below zero lie in the same buckets, mirrored in front of that of zero.
size_t PlaceOf(int64_t time) {
  const auto bits = static_cast<uint64_t>(time);
  return time < 0 ? kBuckets - BucketOf(-bits) : kBuckets + BucketOf(bits);
}

// The largest time that is there.
int64_t LargestAt(size_t place) {
  return static_cast<int64_t>(place < kBuckets ? -SmallestOf(kBuckets - place)
                                               : SmallestOf(place - kBuckets + 1) - 1);
}

}  // namespace

LatencyHistogram::LatencyHistogram() : buckets_(2 * kBuckets) {}

void LatencyHistogram::Add(std::chrono::nanoseconds time) {
  ++buckets_[PlaceOf(time.count())];
  min_ = count_ == 0 ? time : std::min(min_, time);
  max_ = count_ == 0 ? time : std::max(max_, time);
  ++count_;
}

void LatencyHistogram::Add(const LatencyHistogram& other) {
  if (other.count_ == 0) return;
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = count_ == 0 ? other.max_ : std::max(max_, other.max_);
  count_ += other.count_;
}

void LatencyHistogram::Clear() {
  std::fill(buckets_.begin(), buckets_.end(), 0);
  count_ = 0;
  min_ = {};
  max_ = {};
}

std::chrono::nanoseconds LatencyHistogram::Percentile(double share) const {
  const auto wanted = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen < std::max<uint64_t>(wanted, 1)) continue;
    return std::min(max_, std::chrono::nanoseconds(LargestAt(i)));
  }
  return {};
}

}  // namespace ivmq::command
