#ifndef IVMQ_BROKER_CONTROL_RING_USAGE_H_
#define IVMQ_BROKER_CONTROL_RING_USAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace ivmq::control {

// What a ring's two positions say from outside; both ends publish them late.
struct RingUsage {
  uint64_t used_bytes = 0;
  uint64_t records_published = 0;
  uint64_t records_released = 0;
};

// Reads the words that move once each. All zero where they contradict each other or the ring is
// not inside the region. Any thread.
RingUsage ReadRingUsage(std::span<std::byte> region, uint64_t ring_offset, uint64_t ring_bytes);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_RING_USAGE_H_
