#ifndef IVMQ_SDK_NODE_NODE_IMPL_H_
#define IVMQ_SDK_NODE_NODE_IMPL_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/node.h"
#include "sdk/node/defaults.h"
#include "sdk/node/endpoint.h"
#include "sdk/node/event_queue.h"
#include "sdk/node/realm_clock.h"
#include "sdk/node/session.h"
#include "sdk/threads/callback_thread.h"
#include "sdk/threads/fork_guard.h"
#include "transport/attach_client.h"
#include "transport/device.h"
#include "transport/wake.h"

namespace ivmq::internal {

// One attachment to a daemon: device, session, and the endpoints that the session's events belong
// to. Shared by the copies of the public Node and by every publisher and subscriber; the last one
// closes it. Any thread.
class NodeImpl : public std::enable_shared_from_this<NodeImpl>, private Session::Listener {
 public:
  using DiscoveryHandler = std::function<void(const Node::Discovery&)>;

  static Result<std::shared_ptr<NodeImpl>> Open(const NodeOptions& options);

  Status Watch(DiscoveryHandler handler);
  Result<std::string> DescribeType(std::string_view type_name);
  void Close();
  // The last public Node is gone: its handlers are not called any more.
  void ForgetHandlers() { events_.ForgetNode(); }

  uint64_t failed_handlers() const { return events_.failed_handlers(); }
  uint64_t left_out_events() const { return events_.left_out(); }

  bool forked() const { return fork_guard_.forked(); }
  const ForkGuard& fork_guard() const { return fork_guard_; }
  bool connected() const { return !forked() && session_->connected(); }
  uint64_t id() const { return id_; }
  uint32_t peer_id() const { return device_->peer_id(); }
  const std::string& name() const { return name_; }
  const std::string& realm() const { return realm_; }

  // For the endpoints:

  // What the types of an endpoint look like, which its registration is to say where control does
  // not know it from another endpoint of this node that lives. Two that register at the same time
  // may both say it.
  struct Types {
    std::vector<std::string_view> names;  // empty ones apart
    const std::string& descriptors;       // empty: nobody knows
    std::string* said;                    // where it goes, in the registration
  };
  // Registers `endpoint` by `request`; the answer and the links that came before it reach the
  // endpoint in order. After a failure nothing refers to it. Null types: it has none to describe.
  // Takes as long as the node's options allow, at most `timeout`.
  Result<uint64_t> Register(v1::NodeRequest* request, Endpoint* endpoint,
                            const Types* types = nullptr,
                            std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max());
  void Post(const v1::NodeRequest& request);
  // That endpoint is about to leave: control will not know types from it any more. To be called
  // before it says so to control. Not with its mutex held.
  void ForgetTypes(uint64_t endpoint_id);
  // No event goes to that endpoint any more. Not from within its calls with its mutex held.
  void Forget(uint64_t endpoint_id);
  // An endpoint has let go of all its links for good. Takes no lock of the node.
  void OnEndpointEnded();
  EventQueue* events() { return &events_; }
  // Has what was pushed there delivered: from other threads than the session's.
  void DeliverEvents() { session_->Kick(); }
  RealmClock* clock() { return &clock_; }
  CallbackThread* callbacks() { return &callbacks_; }
  const std::shared_ptr<transport::Device>& device() const { return device_; }
  const std::shared_ptr<transport::NodeWake>& wake() const { return wake_; }

 private:
  struct Early {
    v1::NodeEvent event;
    std::vector<transport::UniqueFd> fds;
  };

  NodeImpl(transport::Attached attached, std::string socket_path, std::string name,
           const NodeOptions& options);
  ~NodeImpl() override;
  // In a forked child the object is left alone: there is nothing in it that may be touched.
  static void Destroy(NodeImpl* node);
  Status Begin(std::chrono::steady_clock::time_point deadline);
  // The ID of what was registered; 0: it was not.
  uint64_t OnRegistered(const v1::NodeEvent& answer, bool abandoned, Endpoint* endpoint);

  // Session::Listener
  void OnEvent(v1::NodeEvent* event, std::vector<transport::UniqueFd>* fds) override;
  void OnEnd(const Status& why, bool lost) override;
  std::chrono::steady_clock::time_point OnTurn() override;
  bool WantsGoodbye() override;
  void OnGoodbye() override { wake_->SayLeft(); }

  // With mutex_ held:
  bool IsToDescribe(const Types& types) const;
  void NoteDescribed(const Types& types, uint64_t endpoint_id);
  void OnLinkEvent(v1::NodeEvent* event, std::vector<transport::UniqueFd>* fds);
  bool DeliverLinkUp(const v1::LinkUp& link, std::vector<transport::UniqueFd>* fds);
  transport::Doorbell DoorbellOf(const v1::LinkUp& link, std::vector<transport::UniqueFd>* fds);
  void AnswerCounters(uint64_t request_id);
  void EndAll(EndReason reason);
  void AskForTime();
  // Of control, as anybody may have written it.
  uint64_t Heartbeat() const;
  std::chrono::steady_clock::time_point LookForDaemon(std::chrono::steady_clock::time_point now);
  std::chrono::steady_clock::time_point LookForLeavers(std::chrono::steady_clock::time_point now);
  void TellNode(Event::Kind kind, const std::string& detail);

  void OnDiscovery(const v1::DiscoveryEvent& event);

  // Constant after Begin(). The connection is closed last: its end says that nothing of this node
  // touches the region any more.
  const transport::UniqueFd connection_;
  const uint32_t vector_;
  std::chrono::nanoseconds timeout_{};
  std::shared_ptr<transport::Device> device_;
  std::shared_ptr<transport::NodeWake> wake_;
  ForkGuard fork_guard_;
  const std::string name_;
  uint64_t id_ = 0;
  std::string realm_;

  // Of the session's thread.
  const std::string socket_path_;
  SocketAge socket_;   // of the daemon that was there last
  bool lost_ = false;  // that daemon, or our place there
  bool evicted_ = false;

  RealmClock clock_;
  EventQueue events_;
  std::mutex mutex_;
  std::map<uint64_t, Endpoint*> endpoints_;  // guarded by mutex_
  std::vector<Early> early_;  // guarded by mutex_: of endpoints whose answer is not here yet
  int registering_ = 0;       // guarded by mutex_: Register() calls under way
  // Guarded by mutex_: the types that control knows from us, each with our endpoints of it, as long
  // as one of which it is known.
  std::map<std::string, std::set<uint64_t>, std::less<>> described_;
  // Guarded by mutex_; null: nobody watches. Called once control has answered.
  std::shared_ptr<const DiscoveryHandler> watch_;
  bool watch_answered_ = false;  // guarded by mutex_

  std::atomic<bool> closing_{false};
  std::atomic<int> live_endpoints_{0};  // registered and not ended

  CallbackThread callbacks_{this};    // uses all of the above
  std::unique_ptr<Session> session_;  // last: its thread uses all of the above
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_NODE_IMPL_H_
