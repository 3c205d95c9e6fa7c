#ifndef IVMQ_SDK_COMMAND_LATENCY_HISTOGRAM_H_
#define IVMQ_SDK_COMMAND_LATENCY_HISTOGRAM_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ivmq::command {

// Counts times in buckets whose width grows with the time, so that any number of them takes the
// same memory and a percentile is at most 1/128 too high. One thread.
class LatencyHistogram {
 public:
  LatencyHistogram();

  void Add(std::chrono::nanoseconds time);
  void Add(const LatencyHistogram& other);
  void Clear();

  uint64_t count() const { return count_; }
  // Zero of none.
  std::chrono::nanoseconds min() const { return min_; }
  std::chrono::nanoseconds max() const { return max_; }
  // The time that this share (0 to 1) of them did not exceed, at most max(); zero of none.
  std::chrono::nanoseconds Percentile(double share) const;

 private:
  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  std::chrono::nanoseconds min_{};
  std::chrono::nanoseconds max_{};
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_LATENCY_HISTOGRAM_H_
