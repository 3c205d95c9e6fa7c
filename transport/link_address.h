#ifndef IVMQ_TRANSPORT_LINK_ADDRESS_H_
#define IVMQ_TRANSPORT_LINK_ADDRESS_H_

#include <cstdint>

namespace ivmq::transport {

// How one side of a link is woken: it sleeps on a WakeBlock, looks at a ready byte when it wakes,
// and is rung at (peer, vector). Offsets are from the region's first byte.
struct WakeAddress {
  uint64_t wake_offset = 0;   // WakeBlock of the side that sleeps, 64-byte aligned
  uint64_t ready_offset = 0;  // ReadyByte of this link for that side
  uint32_t peer = 0;
  uint32_t vector = 0;
  bool polls = false;  // takes no interrupts: set the ready byte, ring nothing
};

// Where a link lies, as control told it over the control channel. Both sides check every offset
// against their own mapping before use; capacity, depth and sizes are never taken from the region.
struct LinkAddress {
  uint64_t link_id = 0;
  uint64_t ring_offset = 0;        // of the RingDescriptor or KeepLastDescriptor, 64-byte aligned
  uint64_t ring_capacity = 0;      // ring: bytes of data, power of two, 4 KiB to 16 MiB
  uint32_t depth = 0;              // slot ring, which keeps the last messages: how many; 0: a ring
  uint64_t max_message_bytes = 0;  // slot ring: the longest record, its extension included
  WakeAddress consumer;            // rung when records are there
  WakeAddress producer;            // rung when space is there
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LINK_ADDRESS_H_
