#ifndef IVMQ_BROKER_KEEPER_CLIENT_QUEUE_H_
#define IVMQ_BROKER_KEEPER_CLIENT_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>

#include "broker/keeper/peer_vectors.h"

namespace ivmq::broker {

// What one ivshmem client has still to be told, and the sending of it.
//
// Each message is 8 bytes, little-endian, with at most one fd beside it (QEMU
// docs/specs/ivshmem-spec). A client tells a peer's vectors apart by counting, and takes a message
// without an fd for a disconnect, so a message lost or sent twice shifts its vectors or kills it:
// once the first message of an announcement is out, all of it goes out.
class ClientQueue {
 public:
  void PushValue(int64_t value);
  // `fd` is borrowed and must outlive the queue.
  void PushRegion(int fd);
  // Announces a peer, or the client itself: `id` once for each of its vectors.
  void PushPeer(uint32_t id, PeerVectors vectors);
  // One disconnect for an announced peer; if none of its announcement is out yet, drops that.
  void PushGone(uint32_t id);

  bool empty() const { return items_.empty(); }
  // Entries, not messages: bounded by twice the number of peers.
  size_t size() const { return items_.size(); }

  enum class Step {
    kSent,    // there may be more
    kFull,    // the socket takes no more: go on when it is writable
    kLater,   // too many fds in flight, or no kernel memory: go on after a while
    kBroken,  // the other side is gone
  };
  // Sends the next message without blocking. REQUIRES: !empty().
  Step SendOne(int socket);
  // Whether the client has the region, or nothing of a greeting is queued.
  bool RegionIsOut() const;
  // Whether the next message carries an eventfd: the greeting's first three may not be held back.
  bool NextIsVector() const { return !items_.empty() && items_.front().vectors != nullptr; }

 private:
  struct Item {
    int64_t value;
    int region_fd = -1;
    PeerVectors vectors;       // an announcement if set
    uint32_t next_vector = 0;  // of the announcement
  };

  std::deque<Item> items_;
  size_t sent_bytes_ = 0;  // of the message at the front
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_CLIENT_QUEUE_H_
