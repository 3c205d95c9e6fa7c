#ifndef IVMQ_TRANSPORT_ATTACH_SERVER_H_
#define IVMQ_TRANSPORT_ATTACH_SERVER_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
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
// reads a byte of theirs, sends only what a socket takes at once, and keeps nothing of a process
// that has died. What proves a death is the end of the process, seen on a pidfd; a connection may
// end while its process lives on and uses what it was lent. At the open-file limit it leaves
// connections in the backlog and looks again ten times a second.
//
// Threads: one. The owner watches fd() for EPOLLIN and calls Process(); callbacks come from inside
// Process() and Close() and may call every member but Process().
class AttachServer {
 public:
  enum class Gone {
    kDied,    // its process has ended: proof of death, and the last word on this connection
    kClosed,  // the connection has ended, by Close() or by the client; the process lives
  };

  struct Client {
    uint64_t connection_id = 0;
    PeerProcess process;
    uint32_t vector = 0;
    UniqueFd channel;  // our end of its control channel
  };

  struct Callbacks {
    std::function<void(Client)> on_attached;
    // For every on_attached kDied once, kClosed at most once before it; until Forget() or the
    // server's end.
    std::function<void(uint64_t connection_id, Gone)> on_gone;
  };

  struct Options {
    RegionInfo realm;
    // The vectors that clients listen on, each given to the fewest; both included.
    uint32_t first_vector = 0;
    uint32_t last_vector = 0;
    // Open or not forgotten yet. More are refused, RESOURCE_EXHAUSTED; where some have closed
    // within the last second they wait for a place, as those are about to be forgotten, in the
    // order in which they came, until none has come free for a second.
    size_t max_clients = kMaxNodesPerPeer;
    uint64_t first_connection_id = 1;  // the next of a server that this one goes on for
    // How the death of a client's process is seen: an fd that is readable from then on.
    std::function<Result<UniqueFd>(const PeerProcess&)> open_process = OpenProcess;
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
  // Closes that connection and reports kClosed. False if it is not open.
  bool Close(uint64_t connection_id);
  // Closes it silently, if it is open, and reports no death: its process uses nothing of it.
  void Forget(uint64_t connection_id);

  // Connections that are open.
  size_t client_count() const { return open_; }

 private:
  struct Connection {
    UniqueFd socket;  // none any more once it is closed
    UniqueFd process;
    uint32_t vector = 0;
  };
  using Clients = std::unordered_map<uint64_t, Connection>;
  // Its socket was closed. If that is the beginning of its process's end, that shows soon.
  struct Leaving {
    std::chrono::steady_clock::time_point patience_ends;
    uint64_t connection_id = 0;
  };

  struct ChannelEnds {
    UniqueFd ours;
    UniqueFd theirs;
  };

  AttachServer(UniqueFd listener, std::shared_ptr<const Device> device, Options options,
               Callbacks callbacks);
  Status Start();
  static Result<ChannelEnds> NewChannelEnds();
  // `heard_all`: nothing that happened before the newcomers came is still to be told.
  void AcceptSome(bool heard_all);
  // Where there are as many as may be: some of them have just closed.
  bool MayHaveRoomSoon();
  bool HasNewcomers() const;
  void PauseAccepting();
  void ResumeAccepting();
  void Greet(UniqueFd socket);
  Status SendWelcome(int socket, uint64_t connection_id, uint32_t vector, int channel) const;
  Status FullStatus() const;
  void SendRefusal(int socket, const Status& reason) const;
  void OnClientEvent(uint64_t connection_id, uint32_t events);
  void OnProcessEnd(uint64_t connection_id);
  void OnPatienceEnds();
  void ArmPatience();
  // False if it is not open.
  bool Release(Connection* connection);
  void Erase(Clients::iterator client);
  uint32_t LeastLoadedVector() const;

  const UniqueFd listener_;
  const std::shared_ptr<const Device> device_;
  const Options options_;
  const Callbacks callbacks_;
  UniqueFd epoll_;
  UniqueFd timer_;           // armed while accepting is paused
  UniqueFd patience_timer_;  // armed for the first of leaving_
  bool accepting_ = false;
  ChannelEnds spare_channel_;  // for the next client
  UniqueFd spare_fd_;          // makes room for the next client's process
  Status refusal_;
  uint64_t next_connection_id_;
  Clients clients_;
  size_t open_ = 0;
  std::chrono::steady_clock::time_point last_closed_;
  // Since when the first of the newcomers has been waiting for a place; none: nobody waits.
  std::optional<std::chrono::steady_clock::time_point> full_since_;
  std::deque<Leaving> leaving_;
  std::vector<uint32_t> load_;  // clients of first_vector, first_vector + 1, ...
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_ATTACH_SERVER_H_
