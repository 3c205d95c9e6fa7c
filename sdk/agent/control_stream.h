#ifndef IVMQ_SDK_AGENT_CONTROL_STREAM_H_
#define IVMQ_SDK_AGENT_CONTROL_STREAM_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "transport/device.h"
#include "transport/event_loop.h"
#include "transport/status.h"
#include "transport/stream.h"
#include "transport/unique_fd.h"
#include "transport/waiter.h"

namespace ivmq::agent {

// The stream to control, pumped by the agent's loop: takes over the loop's sleep hooks, so that the
// loop goes to sleep only after it has armed the rings. With interrupts a silent stream costs one
// wake-up a second; without, the rings are polled, from every millisecond while bytes move down to
// every 16 ms.
//
// Threads: the loop's. The loop must outlive it. One at a time for a loop.
class ControlStream {
 public:
  // `socket`: the end that is pumped; gRPC has the other one. `on_closed` is called once, from the
  // loop, when the stream has ended by itself. `on_awake` at every return of the loop from a sleep.
  static transport::Result<std::unique_ptr<ControlStream>> Open(
      transport::EventLoop* loop, std::shared_ptr<transport::Device> device,
      const transport::StreamPlaces& places, transport::UniqueFd socket,
      std::function<void(const transport::Status&)> on_closed,
      transport::EventLoop::Handler on_awake);
  ~ControlStream();
  ControlStream(const ControlStream&) = delete;
  ControlStream& operator=(const ControlStream&) = delete;

 private:
  ControlStream(transport::EventLoop* loop, transport::UniqueFd socket,
                transport::StreamLinks links, std::unique_ptr<transport::Waiter> waiter,
                bool interrupts);
  transport::Status Watch();
  bool Arm();
  void Awake();
  void Pump();
  void Poll();
  void NoteEnd();

  // Constant after Open().
  transport::EventLoop* const loop_;
  const std::unique_ptr<transport::Waiter> waiter_;
  const bool interrupts_;
  std::function<void(const transport::Status&)> on_closed_;
  transport::EventLoop::Handler on_awake_;

  transport::StreamPump pump_;
  transport::FdWatch socket_watch_;
  transport::FdWatch waiter_watch_;
  bool ended_ = false;
  transport::Timer end_timer_;

  // Without interrupts.
  transport::Timer poll_timer_;
  std::chrono::milliseconds poll_step_{1};
  uint64_t moved_ = 0;  // records, when the rings were last polled
};

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_CONTROL_STREAM_H_
