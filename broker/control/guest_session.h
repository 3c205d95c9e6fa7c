#ifndef IVMQ_BROKER_CONTROL_GUEST_SESSION_H_
#define IVMQ_BROKER_CONTROL_GUEST_SESSION_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "broker/control/agent_streams.h"
#include "broker/control/event_sink.h"
#include "broker/control/node_session.h"
#include "broker/control/realm.h"
#include "ivmq/v1/control.pb.h"

namespace ivmq::control {

// The session of a process in a guest, whatever the call that carries it: first the agent says
// which process it is, then come the process's own requests, last the agent may prove its death.
// The nonce binds both claims to the agent's session. One thread, the loop's.
class GuestSession : public EventSink {
 public:
  // The call underneath. Neither member calls back.
  class Carrier {
   public:
    virtual ~Carrier() = default;
    // False: the other side does not read, and the queue is full.
    virtual bool Push(const v1::NodeEvent& event) = 0;
    // What was pushed and is not written yet.
    virtual size_t queued_bytes() const = 0;
    // Ends the call; with OK, after what was pushed.
    virtual void Finish(const absl::Status& status) = 0;
  };

  // `realm` and `carrier` must outlive it. `key`: whose connection the call came over.
  GuestSession(Realm* realm, const AgentKey& key, Carrier* carrier)
      : realm_(realm), key_(key), carrier_(carrier) {}

  // A message of the agent. After one that breaks the rules the call is finished.
  void Handle(const v1::NodeRequest& request);
  // The agent half-closed, or the call broke. Proves nothing.
  void OnBroken();
  // Less is queued than before.
  void OnRoom();

  void Send(const v1::NodeEvent& event, std::span<const int> fds) override;
  size_t queued_bytes() const override { return carrier_->queued_bytes(); }
  void Close() override;
  // The queue was full: what could not be done inside Send().
  bool overrun() const { return overrun_; }

 private:
  absl::Status OnAttached(const v1::AttachedProcess& process);
  absl::Status OnExited(const v1::ProcessExited& exited);
  // The agent whose connection this is, if it still is the peer's.
  const Agent* CurrentAgent() const;

  Realm* const realm_;
  const AgentKey key_;
  Carrier* const carrier_;
  Origin origin_;  // once attached
  std::optional<NodeSession> session_;
  bool finished_ = false;
  bool overrun_ = false;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_GUEST_SESSION_H_
