#ifndef IVMQ_BROKER_CONTROL_KEEPER_LINK_H_
#define IVMQ_BROKER_CONTROL_KEEPER_LINK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "broker/keeper_protocol.h"
#include "transport/event_loop.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// Control's end of its socket to the keeper (broker/keeper_protocol.h). Commands are numbered on
// from the last one that the keeper took; what the socket does not take at once is queued.
// One thread, the loop's. Owns the socket.
class KeeperLink {
 public:
  static constexpr int kEventsPerTurn = 64;

  // The handler owns the fds that came beside the event: all that belong to it, or none where this
  // process is at its limit of open files.
  using OnEvent = std::function<void(const broker::KeeperEvent&, std::vector<transport::UniqueFd>)>;
  // Called once: the keeper is gone, or spoke nonsense.
  using OnClosed = std::function<void(const std::string& why)>;

  KeeperLink(transport::EventLoop* loop, transport::UniqueFd socket, OnEvent on_event,
             OnClosed on_closed);

  // The first command is number `last` + 1. REQUIRES: nothing was sent yet.
  void ContinueFrom(uint64_t last) { next_number_ = last + 1; }

  void SendRealmReady(uint32_t realm, uint32_t most_vms);
  void SendEvictPeer(uint32_t realm, uint32_t peer);
  void SendEvictNode(uint32_t realm, uint64_t connection);
  void SendForgetNode(uint32_t realm, uint64_t connection);
  // `text` is cut to what fits.
  void SendRefused(uint32_t realm, const std::string& text);

 private:
  void OnReady(uint32_t events);
  void ReadEvents();
  void Send(broker::KeeperCommand command);
  void Flush();
  void Close(const std::string& why);

  OnEvent on_event_;
  OnClosed on_closed_;
  uint64_t next_number_ = 1;
  std::deque<broker::KeeperCommand> queue_;
  bool closed_ = false;
  transport::UniqueFd socket_;
  transport::FdWatch watch_;
  transport::Timer retry_;  // runs while the kernel has no memory for what is queued
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_KEEPER_LINK_H_
