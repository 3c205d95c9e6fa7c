#ifndef IVMQ_SDK_NODE_ENDPOINT_H_
#define IVMQ_SDK_NODE_ENDPOINT_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "ivmq/status.h"
#include "ivmq/v1/control.pb.h"
#include "sdk/node/event_queue.h"
#include "sdk/threads/call_gate.h"
#include "sdk/threads/fork_guard.h"
#include "transport/doorbell.h"

namespace ivmq::internal {

class NodeImpl;

// Why an endpoint takes part no more. Later values override earlier ones.
enum class EndReason : uint8_t {
  kNotEnded,
  kEvicted,     // the node was evicted: nobody asks for our links' memory before we die
  kClosed,      // by the application
  kNodeClosed,  // the whole node, by the application
};

// A publisher, subscriber, client or server as the node's other threads see it. Changes to its
// links are written down under its mutex and applied by whoever may touch the links (CallGate): the
// thread inside a call, or at once by the thread that brought the change.
//
// Locks are taken in this order: the node's, an endpoint's, the session's or the events'.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  // `on_event`: empty where the application does not listen. The node must outlive it.
  Endpoint(NodeImpl* node, std::string topic, EventHandler on_event);
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // On the session's thread, with the node's mutex held:

  // The daemon has registered it under that ID.
  void OnRegistered(uint64_t id);
  // Joining is over: links that come from now on belong to later publishers.
  virtual void OnAnswered() {}
  virtual void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) = 0;
  // False: not a link of this endpoint.
  virtual bool OnLinkReady(uint64_t link_id) = 0;
  virtual bool OnLinkDown(const v1::LinkDown& down) = 0;
  virtual bool OnLinkSuspect(const v1::LinkSuspect& suspect) = 0;
  virtual void OnLinkRefused(const v1::LinkRefused& refused) = 0;
  virtual void AddCounters(v1::Counters* counters) = 0;
  // Once there is no daemon to tell us: the links whose other side says that it has left, but for
  // those that we know to be down.
  virtual void AddLeft(std::vector<uint64_t>* link_ids) const = 0;
  // The session is over; links go on.
  virtual void OnDisconnected() = 0;
  // Looks what has been due since. When it wants to be asked again; never, unless overridden.
  virtual std::chrono::steady_clock::time_point OnTimer(std::chrono::steady_clock::time_point now);

  // True in a child forked since the node was opened: it must touch nothing. Any thread.
  bool forked() const { return fork_guard_.forked(); }

  // Any thread: takes part no more. Never waits; done at the latest when the call ends that is
  // under way.
  void End(EndReason reason);

 protected:
  // A call of the application, for as long as this object lives. Applies what is pending before
  // and after it.
  class Call {
   public:
    explicit Call(Endpoint* endpoint) : endpoint_(endpoint), entered_(endpoint->gate_.Enter()) {
      if (entered_ && endpoint_->gate_.pending()) [[unlikely]]
        endpoint_->TakePending();
    }
    ~Call() {
      if (!entered_) [[unlikely]]
        return;
      endpoint_->gate_.Leave();
      if (endpoint_->gate_.pending()) [[unlikely]]
        endpoint_->TakePending();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    // False: called from within a call of the same endpoint, or by two threads at once.
    bool entered() const { return entered_; }

   private:
    Endpoint* const endpoint_;
    const bool entered_;
  };

  // Any thread, under any of the locks but the events'. The topic is ours where it is empty.
  void Tell(Event event);
  // The same from other threads than the session's: has it delivered.
  void TellFromElsewhere(Event event);
  void TellCallbackFailed(std::string what);
  // Closed by the application: as End(), and neither the session nor events come any more. Waits
  // for those that are under way, unless called inside a handler or callback of the node.
  void EndForGood();

  // Applies all that was written down. Runs with mutex_ held and nobody else at the links.
  virtual void Apply() = 0;
  // For HandOver() and OnTimer(): whether nobody is at the links. With mutex_ held; then nobody
  // will be until it is given up.
  bool LinksAreFree() {
    gate_.Request();
    if (!gate_.NobodyInside()) return false;
    Apply();
    return true;
  }
  void LeaveLinks() { gate_.Done(); }
  // Wakes a thread that waits inside a call. With mutex_ held.
  virtual void WakeCaller() = 0;

  // After writing a change down: applies it now or leaves it to the caller inside.
  // REQUIRES: mutex_ is held.
  void HandOver();
  // Inside a call: applies what is pending.
  void TakePending();
  bool pending() const { return gate_.pending(); }

  mutable std::mutex mutex_;
  uint64_t id_ = 0;                                 // guarded by mutex_; 0: not registered
  EndReason end_requested_ = EndReason::kNotEnded;  // guarded by mutex_

 private:
  // Constant after construction.
  NodeImpl* const told_node_;
  const ForkGuard& fork_guard_;  // the node's
  const std::string told_topic_;
  const EventQueue::Handler on_event_;

  CallGate gate_;
};

// What every call on a closed or evicted endpoint says.
Status EndedStatus(EndReason reason, const std::string& topic);
// Of a call that was not entered. On the thread that made it.
Status ReenteredStatus();
Status ForkedStatus();

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_ENDPOINT_H_
