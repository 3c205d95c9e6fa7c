#ifndef IVMQ_TESTS_GUEST_TRAFFIC_H_
#define IVMQ_TESTS_GUEST_TRAFFIC_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "traffic.pb.h"

namespace ivmq::test {

// Every so many messages one is empty, 0 bytes on the wire, and one is as large as the link takes.
inline constexpr uint64_t kEmptyEvery = 1000;
inline constexpr uint64_t kLargestEvery = 997;

// Makes the messages of one sender, in order: sizes spread evenly over the orders of magnitude from
// 0 bytes to `max_bytes` serialized, both ends included.
class TrafficSource {
 public:
  TrafficSource(uint32_t sender, size_t max_bytes);
  // The next message. Valid until the next call.
  const Traffic& Next();

 private:
  const uint32_t sender_;
  const size_t max_bytes_;
  uint64_t number_ = 0;
  Traffic message_;
};

// Checks the messages of one link as they come; learns the sender from the first that names one.
class TrafficCheck {
 public:
  // Empty if `message` is the one that follows; otherwise what is wrong with it.
  std::string Take(const Traffic& message);
  // The link has said that it lost so many.
  void Skip(uint64_t lost) { next_ += lost; }
  // Those that were skipped included.
  uint64_t taken() const { return next_; }
  size_t largest() const { return largest_; }

 private:
  uint32_t sender_ = 0;
  uint64_t next_ = 0;
  size_t largest_ = 0;  // serialized bytes
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_GUEST_TRAFFIC_H_
