#ifndef IVMQ_SDK_COMMAND_RING_SIZE_H_
#define IVMQ_SDK_COMMAND_RING_SIZE_H_

#include <algorithm>
#include <bit>
#include <cstddef>

#include "ringbuf/ring_layout.h"

namespace ivmq::command {

inline constexpr size_t kMessageBytesMax = ringbuf::MaxMessage(ringbuf::kMaxCapacity);  // 2 MiB

// Bytes of a ring, 64 KiB to 16 MiB, whose largest message is at least `bytes`, counted up to
// kMessageBytesMax, with `head_bytes` of ours before it.
constexpr size_t RingBytesFor(size_t bytes, size_t head_bytes) {
  const size_t message = std::min(bytes, kMessageBytesMax) + head_bytes;
  constexpr size_t kRingPerMessage = ringbuf::kMaxCapacity / kMessageBytesMax;
  return std::clamp<size_t>(std::bit_ceil(message * kRingPerMessage), ringbuf::kDefaultCapacity,
                            ringbuf::kMaxCapacity);
}

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_RING_SIZE_H_
