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

size_t BucketOf(uint64_t time) {
  if (time < 2 * kBucketsPerLength) return time;
  const int shift = static_cast<int>(std::bit_width(time)) - kBucketBits - 1;
  return static_cast<size_t>(shift) * kBucketsPerLength + (time >> shift);
}

// The largest time that is in it.
uint64_t LargestOf(size_t bucket) {
  if (bucket < 2 * kBucketsPerLength) return bucket;
  const size_t shift = bucket / kBucketsPerLength - 1;
  const uint64_t first = bucket - shift * kBucketsPerLength;
  return ((first + 1) << shift) - 1;
}

}  // namespace

LatencyHistogram::LatencyHistogram() : buckets_((kLengths + 1) * kBucketsPerLength) {}

void LatencyHistogram::Add(std::chrono::nanoseconds time) {
  const auto value = std::max(time, std::chrono::nanoseconds::zero());
  ++buckets_[BucketOf(static_cast<uint64_t>(value.count()))];
  ++count_;
  max_ = std::max(max_, value);
}

void LatencyHistogram::Add(const LatencyHistogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

void LatencyHistogram::Clear() {
  std::fill(buckets_.begin(), buckets_.end(), 0);
  count_ = 0;
  max_ = {};
}

std::chrono::nanoseconds LatencyHistogram::Percentile(double share) const {
  const auto wanted = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen < std::max<uint64_t>(wanted, 1)) continue;
    return std::min(max_, std::chrono::nanoseconds(LargestOf(i)));
  }
  return {};
}

}  // namespace ivmq::command
