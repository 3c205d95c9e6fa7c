#ifndef IVMQ_TRANSPORT_REGION_LAYOUT_H_
#define IVMQ_TRANSPORT_REGION_LAYOUT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

// What lies where in a realm's shared region.
//
//   +---------------+  0
//   | RegionHeader  |  written by control before anyone connects; read-only for all others
//   +---------------+  peer_table_offset
//   | PeerEntry[]   |  one a connected VM: how its agent and control find each other
//   +---------------+  arena_offset
//   | arena         |  control hands it out: wake blocks, ready lines, rings
//   +---------------+  region_bytes
//
// All integers are fixed-width little-endian. There are no pointers, only offsets from the
// region's first byte; every reader checks an offset against the size of its own mapping before
// use. A cache line (64 bytes) has one writer, named beside it.

namespace ivmq::transport {

inline constexpr uint64_t kRegionMagic = 0x314e4752514d5649;  // "IVQMRGN1" as bytes, little-endian
inline constexpr uint32_t kLayoutVersion = 2;
inline constexpr uint64_t kMinRegionBytes = uint64_t{1} << 20;
inline constexpr size_t kCacheLineBytes = 64;
inline constexpr size_t kRealmNameBytes = 64;
inline constexpr size_t kUuidBytes = 16;

// Offset  Size  Field
//      0     8  magic               stored last (release): a region without it is not formatted
//      8     4  layout_version
//     12     4  header_bytes
//     16     8  region_bytes
//     24     8  generation          1 for a new region
//     32    16  realm_uuid
//     48    64  realm_name          NUL-padded UTF-8
//    112     4  vectors             per peer
//    116     4  peer_slots          entries of the peer table
//    120     8  peer_table_offset
//    128     8  arena_offset
//    136     8  arena_bytes
//    144    48  reserved
//    192     8  heartbeat           control, once a second while it runs
//    200    56  reserved
struct RegionHeader {
  std::atomic<uint64_t> magic;
  uint32_t layout_version;
  uint32_t header_bytes;
  uint64_t region_bytes;
  uint64_t generation;
  uint8_t realm_uuid[kUuidBytes];
  char realm_name[kRealmNameBytes];
  uint32_t vectors;
  uint32_t peer_slots;
  uint64_t peer_table_offset;
  uint64_t arena_offset;
  uint64_t arena_bytes;
  uint8_t reserved0[48];
  std::atomic<uint64_t> heartbeat;
  uint8_t reserved1[56];
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(offsetof(RegionHeader, realm_uuid) == 32);
static_assert(offsetof(RegionHeader, vectors) == 112);
static_assert(offsetof(RegionHeader, arena_bytes) == 136);
static_assert(offsetof(RegionHeader, heartbeat) == 192);
static_assert(sizeof(RegionHeader) == 256);

// How an agent and control meet. Control writes lines 0 and 1, the agent lines 2 and 3.
//
//   1. control   peer_id, state = kConnected                (a VM's device connected)
//   2. agent     echoed_nonce, boot_id, nonce, interrupts, hello += 1, rings peer 0 vector 0, again
//                with back-off
//   3. control   stream places, session_nonce, accepted_hello = hello, rings the peer's vector 0
//   4. both      the stream carries gRPC
//
// A changed boot_id is a rebooted VM, and everything that its last boot was told of is gone: but
// only if the hello echoes the session_nonce that control wrote last. Otherwise somebody wrote
// nonsense, which proves nothing.
//
// Offset  Size  Field                    Written by
//      0     4  peer_id                  control; 0 is a free entry
//      4     4  state                    control (PeerState); release, last of a change
//      8     8  accepted_hello           control; release, after the places below
//     16     8  session_nonce            control; random, anew at each accepted hello
//     24     8  to_control_ring_offset   control: the agent produces, control consumes
//     32     8  to_agent_ring_offset     control: control produces, the agent consumes
//     40     8  stream_ring_bytes        control: data capacity of each of the two
//     48     8  reserved
//     56     8  agent_wake_offset        control: the agent's WakeBlock
//     64     8  control_wake_offset      control: control's own WakeBlock
//     72     8  to_control_ready_offset  control: ready byte that wakes control for reading
//     80     8  to_control_space_offset  control: ready byte that wakes the agent for space
//     88     8  to_agent_ready_offset    control: ready byte that wakes the agent for reading
//     96     8  to_agent_space_offset    control: ready byte that wakes control for space
//    104    24  reserved
//    128     8  hello                    agent; release, after the fields below
//    136    16  boot_id                  agent: /proc/sys/kernel/random/boot_id
//    152     8  nonce                    agent: random, anew at each start of the agent
//    160     4  interrupts               agent: 1 if it takes interrupts, 0 if it polls
//    164     4  layout_version           agent: what it understands
//    168     4  vectors                  agent: how many vectors its device has
//    172     4  reserved
//    176     8  echoed_nonce             agent: the session_nonce that it found here
//    184     8  reserved
//    192     8  heartbeat                agent, once a second while it runs
//    200    56  reserved
struct PeerEntry {
  std::atomic<uint32_t> peer_id;
  std::atomic<uint32_t> state;
  std::atomic<uint64_t> accepted_hello;
  std::atomic<uint64_t> session_nonce;
  std::atomic<uint64_t> to_control_ring_offset;
  std::atomic<uint64_t> to_agent_ring_offset;
  std::atomic<uint64_t> stream_ring_bytes;
  uint64_t reserved0;
  std::atomic<uint64_t> agent_wake_offset;
  std::atomic<uint64_t> control_wake_offset;
  std::atomic<uint64_t> to_control_ready_offset;
  std::atomic<uint64_t> to_control_space_offset;
  std::atomic<uint64_t> to_agent_ready_offset;
  std::atomic<uint64_t> to_agent_space_offset;
  uint8_t reserved1[24];
  std::atomic<uint64_t> hello;
  std::atomic<uint64_t> boot_id[2];
  std::atomic<uint64_t> nonce;
  std::atomic<uint32_t> interrupts;
  std::atomic<uint32_t> layout_version;
  std::atomic<uint32_t> vectors;
  uint8_t reserved2[4];
  std::atomic<uint64_t> echoed_nonce;
  uint8_t reserved3[8];
  std::atomic<uint64_t> heartbeat;
  uint8_t reserved4[56];
};
static_assert(offsetof(PeerEntry, agent_wake_offset) == 56);
static_assert(offsetof(PeerEntry, control_wake_offset) == 64);
static_assert(offsetof(PeerEntry, hello) == 128);
static_assert(offsetof(PeerEntry, echoed_nonce) == 176);
static_assert(offsetof(PeerEntry, heartbeat) == 192);
static_assert(sizeof(PeerEntry) == 256);

enum class PeerState : uint32_t {
  kFree = 0,
  kConnected = 1,  // the device is there; no agent has been accepted
  kGreeted = 2,    // the agent's hello was accepted, the stream is up
};

// What a node, an agent or control sleeps on. Alone in its cache line; the owner writes it.
//
// Offset  Size  Field
//      0     4  sleep   1 while a thread of the owner blocks or is about to, 2: it left, see wake.h
struct WakeBlock {
  std::atomic<uint32_t> sleep;
  uint8_t reserved[60];
};
static_assert(sizeof(WakeBlock) == kCacheLineBytes);

// A ready byte: set to 1 by the other side of a link ("look at this link"), cleared by its owner
// before it looks. Control hands them out so that a cache line of them has one node that sets.
using ReadyByte = std::atomic<uint8_t>;
static_assert(sizeof(ReadyByte) == 1 && ReadyByte::is_always_lock_free);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_REGION_LAYOUT_H_
