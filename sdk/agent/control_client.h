#ifndef IVMQ_SDK_AGENT_CONTROL_CLIENT_H_
#define IVMQ_SDK_AGENT_CONTROL_CLIENT_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "transport/event_loop.h"
#include "transport/status.h"
#include "transport/unique_fd.h"

namespace ivmq::v1 {
class NodeEvent;
class NodeRequest;
}  // namespace ivmq::v1

namespace ivmq::agent {

// One Session call to control: the session of one process. gRPC's threads work behind it; all that
// is seen here happens on the loop's thread. Destroying it abandons the call: no handler runs any
// more, and control sees it cancelled unless it had ended.
class SessionCall {
 public:
  struct Handlers {
    // One event from control. The next one comes after ReadNext().
    std::function<void(const v1::NodeEvent&)> on_event;
    // A request was passed on: there is room for another.
    std::function<void()> on_written;
    // The call is over; nothing comes after this. May destroy the call.
    std::function<void(const transport::Status&)> on_end;
  };

  virtual ~SessionCall() = default;

  // Queues without limit: whoever calls looks at unwritten() first.
  virtual void Write(const v1::NodeRequest& request) = 0;
  virtual size_t unwritten() const = 0;
  // Nothing more is written. Sent after all that is queued.
  virtual void WritesDone() = 0;
  virtual void ReadNext() = 0;
};

// gRPC with control over one end of a socketpair whose other end is pumped through the region.
// Threads: the loop's. Calls may outlive it.
class ControlClient {
 public:
  // `socket` non-blocking. `unfinished` counts the calls that gRPC has not let go of yet: run the
  // loop until there are none before its end. Shared by any number of clients.
  static std::unique_ptr<ControlClient> Create(std::shared_ptr<transport::EventLoop> loop,
                                               transport::UniqueFd socket,
                                               std::shared_ptr<std::atomic<size_t>> unfinished);
  virtual ~ControlClient() = default;

  // Starts a call, and reads its first event.
  virtual std::unique_ptr<SessionCall> StartSession(SessionCall::Handlers handlers) = 0;
};

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_CONTROL_CLIENT_H_
