#ifndef IVMQ_BROKER_CONTROL_FRAME_SESSION_H_
#define IVMQ_BROKER_CONTROL_FRAME_SESSION_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "broker/control/event_sink.h"
#include "broker/control/node_session.h"
#include "broker/control/queue_budget.h"
#include "transport/event_loop.h"
#include "transport/frame_channel.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// The session of a host process: frames over the channel that the keeper gave it.
//
// The keeper holds the process's socket and tells of its death. The channel's own end proves
// nothing, and as the two ends of a dying process come over different sockets, a closed channel
// counts as a lost session only when the keeper has said nothing for a moment.
// One thread, the loop's. Destroy it when the keeper has told of the process's end.
class FrameSession : public EventSink {
 public:
  static constexpr size_t kMaxQueuedBytes = 4 << 20;
  static constexpr uint32_t kMaxReceivedFds = 0;  // no request has any
  static constexpr int kFramesPerTurn = 64;
  static constexpr std::chrono::milliseconds kGrace{1000};

  FrameSession(transport::EventLoop* loop, Realm* realm, const Origin& origin,
               transport::UniqueFd channel);

  void Send(const v1::NodeEvent& event, std::span<const int> fds) override;
  size_t queued_bytes() const override { return channel_.queued_bytes(); }
  void Close() override;
  // What the keeper knows: kDied or kLost.
  void OnGone(SideEvent how);

  const NodeSession& session() const { return session_; }

 private:
  void OnReady(uint32_t events);
  void Flush();
  void ReadFrames();
  // May end this session, or others.
  void AccountForWaiting();
  void AfterWrite();
  // The channel is of no use any more. The node is lost after `grace`.
  void Break(const std::string& why, std::chrono::milliseconds grace);

  const Origin origin_;
  NodeSession session_;
  transport::FrameChannel channel_;
  QueueBudget::Account account_;
  transport::Timer lost_;
  transport::Timer retry_;
  transport::Timer more_;  // for frames that came in one read with others
  bool broken_ = false;
  bool closing_ = false;
  std::string encoded_;  // kept for its memory
  transport::FdWatch watch_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_FRAME_SESSION_H_
