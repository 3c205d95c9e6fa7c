#ifndef IVMQ_BROKER_CONTROL_EVENT_SINK_H_
#define IVMQ_BROKER_CONTROL_EVENT_SINK_H_

#include <cstddef>
#include <span>

#include "ivmq/v1/control.pb.h"

namespace ivmq::control {

// The way to one node, whatever carries it. Events arrive in the order of the calls.
// One thread, the control loop's. Neither member blocks or calls back: a carrier that breaks or
// whose queue is full says so later, from the loop, as a lost session.
class EventSink {
 public:
  static constexpr size_t kEnoughQueued = 64 << 10;

  virtual ~EventSink() = default;
  // The fds are duplicated as needed: the caller keeps its own. A carrier into a guest drops them.
  virtual void Send(const v1::NodeEvent& event, std::span<const int> fds) = 0;
  // What was sent and waits for the other side to read. Whoever has much to say stops at
  // kEnoughQueued and goes on when the carrier says that it has room.
  virtual size_t queued_bytes() const = 0;
  bool HasRoom() const { return queued_bytes() < kEnoughQueued; }
  // No more comes: the carrier ends once all has been sent.
  virtual void Close() = 0;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_EVENT_SINK_H_
