#ifndef IVMQ_BROKER_KEEPER_PROTOCOL_H_
#define IVMQ_BROKER_KEEPER_PROTOCOL_H_

#include <cstdint>

#include "transport/region_layout.h"

// What keeper and control say to each other, over a SOCK_SEQPACKET socketpair whose fd control
// inherits as number kControlSocketFd. Fixed-size little-endian structs, one a packet, with fds
// beside them. Both are ours and trust each other; neither relays a byte that a peer wrote.
//
// When control starts, the keeper first tells all it has, as the same events that report changes
// later, and ends with kReady. Control starts once today, before anybody is let in: then there are
// no VMs, and every region is new.
//
//   kHello                       version, number of the last command taken; fd: journal memfd
//   kRealm                       fd: region memfd, its pages allocated. `flag` 1: new, must be
//                                formatted
//     kDoorbells peer 0          fds: eventfds of the host's own vectors
//     kDoorbells, kPeerConnected for every connected VM (doorbells first, in order of vectors)
//   kReady
//
// The keeper greets those who connect to a realm's sockets once control has said kRealmReady for
// it; until then they wait. The admin socket opens when all realms are ready.
// The keeper never blocks on control: what control does not read is queued, and a peer or node
// that came and went meanwhile is never mentioned, but for the highest ID that a VM had. A VM that
// was put out and lives on is mentioned. A
// `connection` is unique over all realms. When the keeper stops it closes the socket: control then
// has five seconds to end.

namespace ivmq::broker {

inline constexpr int kControlSocketFd = 3;
inline constexpr uint32_t kKeeperProtocolVersion = 4;
inline constexpr uint32_t kMaxDoorbellFds = 64;  // a kDoorbells event; the kernel takes at most 253

enum class KeeperEventKind : uint32_t {
  kHello = 1,          // value: version; number: last command taken
  kRealm = 2,          // name, uuid, region_bytes, vectors, generation, flag
  kDoorbells = 3,      // peer, value: first vector of these fds, count
  kPeerConnected = 4,  // peer, index and name (end of the path) of the VM socket, pid, uid, gid
  kPeerGone = 5,  // peer, proof; of a VM that was put out kNone first, and kEof once it is gone.
                  // flag 1: it came unheard, the highest ID of such
  kNodeAttached = 6,    // connection, vector, pid, uid, gid, start_time; fd: channel
  kNodeGone = 7,        // connection, proof; of a process that lives kNone first, and kExited
                        // once it has died
  kAdminConnected = 8,  // pid, uid, gid; fd: the accepted connection
  kPeerRefused = 9,     // value: RefusalReason; count: how many so far for that reason
  kReady = 10,
  kCommandDone = 11,  // number; flag 1: done, 0: there was nothing of that name
};

// What proves that the other side is dead, where it has gone.
enum class GoneProof : uint32_t {
  kEof = 1,     // of a VM: it closed the socket, the kernel did at its death, or it has no region
  kExited = 2,  // of a process: it has ended
  kNone = 3,    // nothing as yet: it was evicted or broke the protocol, and may live on
};

enum class RefusalReason : uint32_t {
  kIdsExhausted = 1,
  kTooManyPeers = 2,  // as many VMs are connected as the peer table has room for
  kOutOfFds = 3,
  kTableOfEvicted = 4,  // no room in the peer table, and evicted VMs that live on are in it
};

struct KeeperEvent {
  KeeperEventKind kind;
  uint32_t realm;  // index, from 0
  uint64_t number;
  uint64_t connection;
  uint64_t start_time;  // of the process, clock ticks since boot (/proc/PID/stat field 22)
  uint64_t region_bytes;
  uint64_t generation;
  uint64_t value;
  uint32_t peer;
  uint32_t vector;
  uint32_t vectors;
  uint32_t index;
  uint32_t count;
  uint32_t flag;
  int32_t pid;
  uint32_t uid;
  uint32_t gid;
  GoneProof proof;
  uint8_t uuid[transport::kUuidBytes];
  char name[transport::kRealmNameBytes];
};
static_assert(sizeof(KeeperEvent) == 176);

enum class KeeperCommandKind : uint32_t {
  kRealmReady = 1,  // the region is formatted: listen; peer: how many VMs at once at most
  kEvictPeer = 2,   // peer: tell the others that it left, and it nothing any more
  kEvictNode = 3,   // connection: close it
  kRefused = 4,     // the realm cannot be served: `text` says why; the keeper exits with it
  kForgetNode = 5,  // connection: nothing depends on the death of its process any more
};

struct KeeperCommand {
  uint64_t number;  // counts up from 1 and goes on over restarts of control
  KeeperCommandKind kind;
  uint32_t realm;
  uint64_t connection;
  uint32_t peer;
  uint32_t reserved;
  char text[256];
};
static_assert(sizeof(KeeperCommand) == 288);

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_PROTOCOL_H_
