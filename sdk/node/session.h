#ifndef IVMQ_SDK_NODE_SESSION_H_
#define IVMQ_SDK_NODE_SESSION_H_

#include <poll.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ivmq/status.h"
#include "ivmq/v1/control.pb.h"
#include "transport/frame_channel.h"
#include "transport/unique_fd.h"

namespace ivmq::internal {

// A node's session with control: requests and their answers, events, and the one background thread
// that reads them. It sleeps until something comes, or until the listener wants to be asked again.
// Where the daemon is lost, or has put us out, the thread stays, for what the listener has to do
// without it.
//
// Threads: Hello() before Start(); Call() and Post() from any; the listener is called on the
// session's own thread, holding no lock of the session.
class Session {
 public:
  using Clock = std::chrono::steady_clock;

  class Listener {
   public:
    virtual ~Listener() = default;
    // Anything but an answer. May take the fds.
    virtual void OnEvent(v1::NodeEvent* event, std::vector<transport::UniqueFd>* fds) = 0;
    // Nothing will come any more; once. Calls that wait fail with `why` after this. `lost`: by no
    // will of ours; OnTurn() goes on then.
    virtual void OnEnd(const Status& why, bool lost) = 0;
    // Before the thread sleeps. The time at which it is to come again, at the latest.
    virtual Clock::time_point OnTurn() = 0;
    // Whether the session may say goodbye; asked after every event and Kick(). Once true, the
    // session says goodbye, unless it has ended before, and its thread ends.
    virtual bool WantsGoodbye() = 0;
    // Right before that: what the daemon gave us is ours for the last time.
    virtual void OnGoodbye() = 0;
  };

  // Given the answer on the session's thread, before anything that came after it. `abandoned`: the
  // caller has given up waiting, and nothing of it may be touched.
  using OnAnswer = std::function<void(const v1::NodeEvent& answer, bool abandoned)>;

  // `connection`: the attach connection, watched for its end; the caller keeps it.
  Session(transport::UniqueFd channel, int connection);
  // REQUIRES: not called on the session's own thread.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Says who we are and waits for the welcome. DEADLINE_EXCEEDED, UNAVAILABLE, or the daemon's.
  Result<v1::Welcome> Hello(const std::string& node_name, Clock::time_point deadline);
  // Starts the thread. The listener must outlive this object.
  Status Start(Listener* listener);

  // Sends `request` (its request_id is filled in) and waits for the answer. OK: answered with other
  // than a failure. Else the failure, UNAVAILABLE (the session has ended), DEADLINE_EXCEEDED, or
  // FAILED_PRECONDITION on the session's own thread, where waiting would be for ever.
  Status Call(v1::NodeRequest* request, Clock::time_point deadline, OnAnswer on_answer = nullptr);
  // The two halves of it: Begin() sends and does not wait, so that it may be done under a lock of
  // the caller's which decides what is sent first.
  struct PendingCall;
  Result<std::shared_ptr<PendingCall>> Begin(v1::NodeRequest* request, OnAnswer on_answer);
  Status Await(const std::shared_ptr<PendingCall>& call, Clock::time_point deadline);
  // The same without waiting: `on_answer` is called if an answer comes.
  void Ask(v1::NodeRequest* request, OnAnswer on_answer);
  // Sends without waiting for an answer; dropped once the session has ended.
  void Post(const v1::NodeRequest& request);

  // Has the listener asked WantsGoodbye().
  void Kick();
  // From Listener::OnEvent(): control has put us out, and nothing can be asked of it any more.
  // Calls fail with `why` from now on.
  void PutOut(Status why) { put_out_ = std::move(why); }
  // Ends the session without a goodbye, as soon as the thread can.
  void Stop();
  // Waits for the thread's end; false at the deadline. On the thread itself: false at once.
  bool WaitEnded(Clock::time_point deadline);

  bool connected() const { return connected_.load(std::memory_order_relaxed); }
  bool on_own_thread() const { return std::this_thread::get_id() == thread_.get_id(); }
  int channel_fd() const { return channel_fd_; }

 private:
  void Run();
  // After the end: until the node is closed.
  void Linger();
  // False: the session is over, for the reason in *why.
  bool WaitForInput(Clock::time_point until, Status* why);
  bool ReadFrames(Status* why);
  // False: nothing, up to then.
  static bool Poll(std::span<pollfd> fds, Clock::time_point until);
  void DrainWake();
  void Dispatch(transport::FrameChannel::Frame* frame);
  // False: nobody asked for it.
  bool Answer(const v1::NodeEvent& event);
  void SayGoodbye();
  void End(const Status& why, bool lost);
  transport::Status Send(const v1::NodeRequest& request);

  // Constant after construction.
  const int connection_;
  const int channel_fd_;
  transport::UniqueFd wake_;  // eventfd: to the thread
  Listener* listener_ = nullptr;

  std::optional<Status> put_out_;  // of the thread

  std::mutex channel_mutex_;
  transport::FrameChannel channel_;  // guarded by channel_mutex_
  std::string encoded_;              // guarded by channel_mutex_; kept for its capacity

  std::mutex calls_mutex_;
  uint64_t last_request_id_ = 0;                            // guarded by calls_mutex_
  std::map<uint64_t, std::shared_ptr<PendingCall>> calls_;  // guarded by calls_mutex_
  bool ended_ = false;                                      // guarded by calls_mutex_
  Status ended_why_;                                        // guarded by calls_mutex_
  bool thread_ended_ = true;                                // guarded by calls_mutex_
  std::condition_variable thread_ended_changed_;

  std::atomic<bool> connected_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_SESSION_H_
