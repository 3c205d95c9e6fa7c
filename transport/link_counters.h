#ifndef IVMQ_TRANSPORT_LINK_COUNTERS_H_
#define IVMQ_TRANSPORT_LINK_COUNTERS_H_

#include <atomic>
#include <cstdint>

namespace ivmq::transport {

// A count that one thread writes and any thread reads. Costs the writer no more than an integer.
class Counter {
 public:
  Counter() = default;
  Counter(const Counter& other) : value_(other.value()) {}
  Counter& operator=(const Counter& other) {
    value_.store(other.value(), std::memory_order_relaxed);
    return *this;
  }

  void Add(uint64_t amount) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};  // relaxed: a figure, nothing is published by it
};

// What one side of a link has done so far. Each figure is exact; read while the link is busy they
// may be a moment apart from each other.
struct LinkCounters {
  uint64_t records = 0;            // writer: committed; reader: read
  uint64_t bytes = 0;              // payload bytes of those
  uint64_t records_in_flight = 0;  // writer: committed and not reported as released by the reader,
                                   // which reports late (SpscConsumer) and may lie. Reader: read
                                   // and not released
  uint64_t records_unread = 0;     // writer: committed and not read, as the reader notes
  uint64_t overwritten = 0;        // slot rings: lost to the reader; the writer has it from the
                                   // reader's word
  uint64_t first_overwritten = 0;  // reader: sequences of the first and the last of those, if any
  uint64_t last_overwritten = 0;
  uint64_t wakes = 0;      // ready bytes set for the other side
  uint64_t doorbells = 0;  // doorbells rung, because the other side slept
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LINK_COUNTERS_H_
