#ifndef IVMQ_TRANSPORT_LINK_CHECK_H_
#define IVMQ_TRANSPORT_LINK_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ringbuf/keep_last_layout.h"
#include "ringbuf/ring_layout.h"
#include "transport/link_address.h"
#include "transport/region_layout.h"
#include "transport/status.h"

namespace ivmq::transport {

// Turn offsets that someone told us into pointers, or say what is wrong with them: INVALID_ARGUMENT
// for a bad alignment or capacity, OUT_OF_RANGE for what does not lie wholly within the region and
// behind its header, each naming `what`. Nothing is read or written.
Result<WakeBlock*> WakeBlockAt(std::span<std::byte> region, uint64_t offset, std::string_view what);
Result<ReadyByte*> ReadyByteAt(std::span<std::byte> region, uint64_t offset, std::string_view what);

// As these, and then looks at the ring's own description: DATA_LOSS where it is not that of a
// fresh ring of this capacity.
Result<ringbuf::RingView> RingInRegion(std::span<std::byte> region, uint64_t offset,
                                       uint64_t capacity);
// The same of a slot ring of this depth and message size.
Result<ringbuf::KeepLastView> KeepLastInRegion(std::span<std::byte> region, uint64_t offset,
                                               uint64_t depth, uint64_t max_message_bytes);

// Where the records of a link lie: in a ring, or else in slots.
struct LinkMemory {
  ringbuf::RingView ring;
  std::optional<ringbuf::KeepLastView> slots;
};
// One of these two, as the address says.
Result<LinkMemory> LinkMemoryAt(std::span<std::byte> region, const LinkAddress& address);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LINK_CHECK_H_
