#ifndef IVMQ_TRANSPORT_ATTACH_PROTOCOL_H_
#define IVMQ_TRANSPORT_ATTACH_PROTOCOL_H_

#include <cstddef>
#include <cstdint>

#include "transport/region_layout.h"

// How a process attaches to the daemon of its own machine: the keeper on a host, the agent in a
// guest. The same on both, over a UNIX SOCK_SEQPACKET socket; the server speaks, the client never
// writes a byte. The server learns pid and uid from SO_PEERCRED.
//
//   client                                server
//     connect()  ───────────────────────►
//                ◄─────────────────────── AttachMessage kWelcome + fds, or kRefused and close
//     (socket stays open: its EOF proves the process's death)
//
// Everything else (names, topics, links) is said over the control channel whose fd comes with the
// welcome: frames of NodeRequest and NodeEvent (transport/frame_channel.h).
//
// File descriptors of a welcome, in this order:
//   kMemfd  region, channel, wake
//   kVfio   device, channel, wake               region and doorbells through the device fd
//   kSysfs  resource2, channel, resource0       no wake fd: receive by polling
//   (wake is absent where has_wake_fd is 0)
// The wake fd is shared by every process on that vector: register it EPOLLIN|EPOLLET, never read.

namespace ivmq::transport {

inline constexpr uint64_t kAttachMagic = 0x3143545441514d49;  // "IMQATTC1"
inline constexpr uint32_t kAttachVersion = 1;
inline constexpr uint32_t kMaxAttachFds = 4;
// That one machine may have at once, on the host as in a guest. Those count whose session has
// ended, until their process has.
inline constexpr size_t kMaxNodesPerPeer = 4096;

enum class AttachKind : uint32_t { kWelcome = 1, kRefused = 2 };
enum class RegionAccess : uint32_t { kMemfd = 1, kVfio = 2, kSysfs = 3 };
enum class DoorbellAccess : uint32_t {
  kEventfd = 1,  // an eventfd comes with each link (host)
  kMmap = 2,     // map doorbell_map_offset of the device or resource0 fd, store to the register
  kPwrite = 3,   // pwrite(2) of 4 bytes at doorbell_file_offset of the device fd
};

struct AttachMessage {
  uint64_t magic;
  uint32_t version;
  AttachKind kind;
  // kRefused: a transport::Code and a sentence. kWelcome: 0 and empty.
  uint32_t code;
  uint32_t fd_count;
  char text[232];
  // kWelcome only from here on.
  uint64_t connection_id;  // unique while the server lives; names the process to control
  RegionAccess region_access;
  DoorbellAccess doorbell_access;
  uint64_t region_bytes;
  uint64_t region_map_offset;     // what mmap takes for the region's first byte
  uint64_t doorbell_map_offset;   // kMmap: page-aligned offset of the page with BAR 0
  uint64_t doorbell_page_offset;  // kMmap: of the doorbell register within that page
  uint64_t doorbell_file_offset;  // kPwrite
  uint32_t peer_id;               // of this machine's device; 0 on the host
  uint32_t vector;                // the one this process listens on
  uint32_t vectors;               // of every peer of the realm
  uint32_t has_wake_fd;
  uint64_t generation;
  uint8_t realm_uuid[kUuidBytes];
  char realm_name[kRealmNameBytes];
};
static_assert(sizeof(AttachMessage) == 416);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_ATTACH_PROTOCOL_H_
