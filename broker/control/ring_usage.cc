#include "broker/control/ring_usage.h"

#include "ringbuf/ring_layout.h"
#include "transport/region.h"

namespace ivmq::control {

RingUsage ReadRingUsage(std::span<std::byte> region, uint64_t ring_offset, uint64_t ring_bytes) {
  using Atomics = ringbuf::StdAtomics;
  std::byte* memory = transport::CheckedRange(region, ring_offset, ringbuf::RingBytes(ring_bytes),
                                              alignof(ringbuf::RingDescriptor));
  if (memory == nullptr) return {};
  const ringbuf::RingDescriptor& ring = *ringbuf::RingAt(memory, ring_bytes).descriptor;
  // The head first: the tail only grows, so a sound pair is in order however long this takes.
  const uint64_t released = Atomics::LoadAcquire(ring.records_released);
  const uint64_t head = Atomics::LoadAcquire(ring.head);
  const uint64_t tail = Atomics::LoadAcquire(ring.tail);
  const uint64_t published = Atomics::LoadAcquire(ring.records_published);
  // A consumer may be ahead of the lazy tail hint, by no more than the ring is long.
  const uint64_t used = tail > head ? tail - head : 0;
  if (used > ring_bytes || (head > tail && head - tail > ring_bytes)) return {};
  if (published > tail / ringbuf::kHeaderBytes || released > head / ringbuf::kHeaderBytes)
    return {};
  return {used, published, released};
}

}  // namespace ivmq::control
