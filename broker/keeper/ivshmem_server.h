#ifndef IVMQ_BROKER_KEEPER_IVSHMEM_SERVER_H_
#define IVMQ_BROKER_KEEPER_IVSHMEM_SERVER_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "broker/keeper/client_queue.h"
#include "broker/keeper/fd_budget.h"
#include "broker/keeper/peer_vectors.h"
#include "broker/keeper_protocol.h"
#include "transport/event_loop.h"
#include "transport/region.h"
#include "transport/unique_fd.h"
#include "transport/unix_socket.h"

namespace ivmq::broker {

inline constexpr uint32_t kHostPeer = 0;

struct PeerInfo {
  uint32_t id = 0;
  uint32_t socket_index = 0;  // of the realm's VM sockets
  transport::PeerProcess process;
  PeerVectors vectors;
};

// What the server tells its owner, which must not call back into the server from here.
class IvshmemObserver {
 public:
  virtual ~IvshmemObserver() = default;
  // Before any client is told of the peer.
  virtual void OnPeerConnected(const PeerInfo& peer) = 0;
  // With kNone first where the peer was put out; kEof also where it never had the region.
  virtual void OnPeerGone(uint32_t id, GoneProof proof) = 0;
  virtual void OnPeerRefused(RefusalReason reason, uint32_t count) = 0;
};

// Serves one region to QEMU's ivshmem-doorbell devices: the server side of the protocol of QEMU
// docs/specs/ivshmem-spec, with the host as peer 0, which every client learns of first.
//
// Stock QEMU trusts its server: an ID that comes back, a second disconnect or a miscounted
// announcement is memory corruption there. So IDs only grow, a client that does not read gets a
// queue of its own, and a client that writes is put out.
//
// Who is put out has left for the others and is told nothing more, but maps the region for as long
// as it likes. Its socket is kept: stock QEMU closes its end only with the device's chardev or at
// its own end, so that the end-of-file proves it; had we closed ours first, none would prove
// anything. One that has no region as yet is closed. One thread, the event loop's.
class IvshmemServer {
 public:
  struct Options {
    uint32_t vectors = 8;
    uint32_t first_id = 1;                       // tests start near the end
    uint32_t max_peers = transport::kMaxPeerId;  // those that were put out included
  };

  // Borrows all but `host_vectors`.
  IvshmemServer(transport::EventLoop* loop, FdBudget* budget, const Options& options, int region_fd,
                PeerVectors host_vectors, IvshmemObserver* observer);
  ~IvshmemServer();
  IvshmemServer(const IvshmemServer&) = delete;
  IvshmemServer& operator=(const IvshmemServer&) = delete;

  // Greets a client that has just connected, or refuses it by closing.
  void Accept(transport::UniqueFd socket, uint32_t socket_index);
  // A connection was lost before it reached Accept().
  void Refuse(RefusalReason reason);
  // Puts a peer out. False if there is no such peer, or it was put out before.
  bool Evict(uint32_t id);

  void set_max_peers(uint32_t max_peers) { options_.max_peers = max_peers; }
  uint32_t refused(RefusalReason reason) const;
  std::vector<PeerInfo> peers() const;

 private:
  struct Client;

  // No room in the peer table.
  bool IsFull() const;
  // Those whose end the loop has not told of yet.
  void RemoveHungUp();
  void Flush(Client* client);
  void FlushLater(Client* client);
  void OnEvents(uint32_t id, uint32_t events);
  std::unique_ptr<Client> Remove(uint32_t id, GoneProof proof);
  void PutOut(uint32_t id);
  void WarnOfFileLimits();
  void WarnOfIds();

  transport::EventLoop* loop_;
  FdBudget* budget_;
  Options options_;
  int region_fd_;
  PeerVectors host_vectors_;
  IvshmemObserver* observer_;

  uint32_t next_id_;
  uint32_t warned_percent_ = 0;                          // of the IDs that were given out
  std::map<uint32_t, std::unique_ptr<Client>> clients_;  // by ID, so greetings list in its order
  std::map<uint32_t, std::unique_ptr<Client>> put_out_;
  std::array<uint32_t, 5> refused_{};  // by RefusalReason
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_IVSHMEM_SERVER_H_
