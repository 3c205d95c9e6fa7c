#ifndef IVMQ_SDK_AGENT_PROCESS_H_
#define IVMQ_SDK_AGENT_PROCESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "sdk/agent/control_client.h"
#include "transport/attach_server.h"
#include "transport/event_loop.h"
#include "transport/frame_channel.h"

namespace ivmq::agent {

// One process that has attached: passes the frames of its control channel on as one Session call,
// and control's events back, with back-pressure both ways. Adds what only the agent knows: who the
// process is, and that it has died.
//
//   attached ──► channel open ──► died: what it wrote is passed on, then `exited` ──► finished
//                    └─ call or channel broken: the channel is closed, the death still awaited
//                         └─► died: `exited` in a call of its own ──► finished
//
// A death that control has not taken note of is said again in its next session.
//
// Threads: the loop's. The loop must outlive it.
class Process {
 public:
  // `on_finished` is called once, from the loop, when control has taken note of its death.
  Process(transport::EventLoop* loop, transport::AttachServer::Client client, bool interrupts,
          std::function<void()> on_finished);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // There is a stream to control, until Disconnect(): starts the session of a process that has
  // just attached, or says that it has died meanwhile. `control` is borrowed.
  void Connect(ControlClient* control, uint64_t session_nonce);
  // The stream to control broke: ends the session without proof of anything. The process reads an
  // end-of-file on its channel; its links go on, but it has no session any more.
  void Disconnect();
  // Its connection has ended and it lives: ends the session without proof of anything. Its death
  // is still awaited.
  void EndSession();
  // Proof of its death came.
  void Died();

  uint64_t connection_id() const { return client_.connection_id; }
  int32_t pid() const { return client_.process.pid; }
  bool has_died() const { return died_; }
  bool connected() const { return call_ != nullptr; }
  // Control may hold something for it: it has said hello and has not left in good order.
  bool is_node() const { return is_node_; }

 private:
  void StartCall();
  void OnChannel(uint32_t events);
  void PassRequests();
  bool PassRequest(const std::string& payload);
  void PassEvent(const v1::NodeEvent& event);
  void OnCallEnd(const transport::Status& status);
  // REQUIRES: the channel is open.
  bool AllIsSent() const;
  void WatchChannel();
  void CloseChannel();
  void SayExited();
  void Finish();

  // Constant after construction.
  transport::EventLoop* const loop_;
  const bool interrupts_;
  const std::function<void()> on_finished_;

  transport::AttachServer::Client client_;  // without its channel
  std::optional<transport::FrameChannel> channel_;
  bool channel_ended_ = false;  // nothing more comes from it
  transport::FdWatch watch_;
  ControlClient* control_ = nullptr;
  uint64_t session_nonce_ = 0;
  std::unique_ptr<SessionCall> call_;
  bool is_node_ = false;
  uint64_t goodbye_id_ = 0;  // request_id of its goodbye
  bool died_ = false;
  bool said_exited_ = false;  // on this call
  bool finished_ = false;
  transport::Timer retry_timer_;
  transport::Timer finish_timer_;
};

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_PROCESS_H_
