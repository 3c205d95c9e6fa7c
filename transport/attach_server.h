#ifndef IVMQ_TRANSPORT_ATTACH_SERVER_H_
#define IVMQ_TRANSPORT_ATTACH_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/attach_protocol.h"
#include "transport/device.h"
#include "transport/region.h"
#include "transport/status.h"
#include "transport/unique_fd.h"
#include "transport/unix_socket.h"

namespace ivmq::transport {

// The daemon's side of the attach protocol: the keeper's on a host, the agent's in a guest.
//
// Greets each process that connects with the region, a vector and a channel, and tells its owner
// of it and of its end. Nothing that a client does blocks, or reaches another client: it never
// reads a byte of theirs, sends only what a socket takes at once, and keeps nothing of a client
// that has gone. At the open-file limit it leaves connections in the backlog and looks again ten
// times a second.
//
// Threads: one. The owner watches fd() for EPOLLIN and calls Process(); callbacks come from inside
// Process() and Close() and may call every member but Process().
class AttachServer {
 public:
  enum class Gone {
    kEof,         // the other side closed, or the kernel did at its death: proof of death
    kClosedByUs,  // Close(), or it broke the protocol: proves nothing
  };

  struct Client {
    uint64_t connection_id = 0;
    PeerProcess process;
    uint32_t vector = 0;
    UniqueFd channel;  // our end of its control channel
  };

  struct Callbacks {
    std::function<void(Client)> on_attached;
    // Exactly once for every on_attached, unless the server is destroyed first.
    std::function<void(uint64_t connection_id, Gone)> on_gone;
  };

  struct Options {
    RegionInfo realm;
    // The vectors that clients listen on, each given to the fewest; both included.
    uint32_t first_vector = 0;
    uint32_t last_vector = 0;
    size_t max_clients = 4096;         // more are refused: RESOURCE_EXHAUSTED
    uint64_t first_connection_id = 1;  // the next of a server that this one goes on for
  };

  // `listener`: as from ListenUnix(kSeqpacket). Keeps the device alive.
  static Result<std::unique_ptr<AttachServer>> Create(UniqueFd listener,
                                                      std::shared_ptr<const Device> device,
                                                      Options options, Callbacks callbacks);
  AttachServer(const AttachServer&) = delete;
  AttachServer& operator=(const AttachServer&) = delete;

  // Readable when Process() has something to do.
  int fd() const;
  // Never blocks; does a bounded piece of work, so fd() may be readable still.
  void Process();

  // Until it is given an OK status, newcomers are told this one and closed.
  void Refuse(Status reason);
  // Closes that connection and reports kClosedByUs. False if there is none.
  bool Close(uint64_t connection_id);

  size_t client_count() const { return clients_.size(); }

 private:
  struct Connection {
    UniqueFd socket;
    uint32_t vector = 0;
  };

  struct ChannelEnds {
    UniqueFd ours;
    UniqueFd theirs;
  };

  AttachServer(UniqueFd listener, std::shared_ptr<const Device> device, Options options,
               Callbacks callbacks);
  Status Start();
  static Result<ChannelEnds> NewChannelEnds();
  void AcceptSome();
  void PauseAccepting();
  void ResumeAccepting();
  void Greet(UniqueFd socket);
  Status SendWelcome(int socket, uint64_t connection_id, uint32_t vector, int channel) const;
  void SendRefusal(int socket, const Status& reason) const;
  void OnClientEvent(uint64_t connection_id, uint32_t events);
  bool Drop(uint64_t connection_id, Gone how);
  uint32_t LeastLoadedVector() const;

  const UniqueFd listener_;
  const std::shared_ptr<const Device> device_;
  const Options options_;
  const Callbacks callbacks_;
  UniqueFd epoll_;
  UniqueFd timer_;  // armed while accepting is paused
  bool accepting_ = false;
  ChannelEnds spare_channel_;  // for the next client
  Status refusal_;
  uint64_t next_connection_id_;
  std::unordered_map<uint64_t, Connection> clients_;
  std::vector<uint32_t> load_;  // clients of first_vector, first_vector + 1, ...
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_ATTACH_SERVER_H_
