#ifndef IVMQ_BROKER_KEEPER_CONTROL_LINK_H_
#define IVMQ_BROKER_KEEPER_CONTROL_LINK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "broker/keeper/ivshmem_server.h"
#include "broker/keeper_protocol.h"
#include "transport/event_loop.h"
#include "transport/unique_fd.h"

namespace ivmq::broker {

// The keeper's end of its socket to control (broker/keeper_protocol.h). Never blocks: what control
// does not read is queued, and a peer or node that comes and goes unheard leaves nothing behind.
// One thread, the event loop's.
class ControlLink {
 public:
  using OnCommand = std::function<void(const KeeperCommand&)>;
  using OnClosed = std::function<void()>;

  // Descriptors to go with an event, and what keeps them open until then.
  struct Fds {
    std::vector<int> numbers;
    std::shared_ptr<const void> owner;
  };

  // `on_closed` is called once, when control has closed its end or broken the protocol.
  ControlLink(transport::EventLoop* loop, transport::UniqueFd socket, OnCommand on_command,
              OnClosed on_closed);

  void Send(const KeeperEvent& event, Fds fds = {});
  // All of a peer's doorbells: as many kDoorbells as it takes.
  void SendDoorbells(uint32_t realm, uint32_t peer, const PeerVectors& vectors);
  // `gone` is kPeerGone or kNodeGone. Takes back the announcement if none of it is out
  // yet: false, control hears no more of it than the ID, of a VM. A VM that was put out is not gone
  // as yet.
  bool SendGone(const KeeperEvent& gone);
  // `refused` is kPeerRefused. Replaces an older count that is not out yet.
  void SendRefused(const KeeperEvent& refused);

  size_t queued() const { return queue_.size(); }

 private:
  struct Outgoing {
    KeeperEvent event;
    Fds fds;
  };

  // Of VMs that came and went unheard control is told the highest ID.
  void SendUnheard(KeeperEvent gone);
  void OnEvents(uint32_t events);
  void ReadCommands();
  void Flush();
  void Close();
  static bool Announces(const KeeperEvent& event, const KeeperEvent& gone);
  static bool StartsAnnouncement(const KeeperEvent& event);

  OnCommand on_command_;
  OnClosed on_closed_;
  std::deque<Outgoing> queue_;
  bool blocked_ = false;
  bool closed_ = false;
  transport::UniqueFd socket_;
  transport::Timer retry_;
  transport::FdWatch watch_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_CONTROL_LINK_H_
