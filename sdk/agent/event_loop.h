#ifndef IVMQ_SDK_AGENT_EVENT_LOOP_H_
#define IVMQ_SDK_AGENT_EVENT_LOOP_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "transport/status.h"
#include "transport/unique_fd.h"

namespace ivmq::agent {

// The agent's one thread of work: fds, timers, and what other threads post. Sleeps until one of
// them has something, so an idle loop costs nothing.
//
// Threads: Post() and Stop() from any; all else, handlers included, on the thread that runs the
// loop (or before it runs). Handlers may add and remove any watch and timer, their own included; a
// handler that was removed is not called again, not even for an event that has arrived already.
class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using FdHandler = std::function<void(uint32_t events)>;
  using Handler = std::function<void()>;
  // Names a timer; never reused. The default one names none.
  struct TimerId {
    Clock::time_point at;
    uint64_t number = 0;
    auto operator<=>(const TimerId&) const = default;
  };

  static transport::Result<std::unique_ptr<EventLoop>> Create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs handlers until Stop().
  void Run();
  // Waits at most `longest` and runs what is due, once.
  void RunOnce(Clock::duration longest);
  void Stop();

  // `events` as epoll_ctl(2), EPOLLET allowed. The fd is borrowed: Unwatch() it before closing it.
  // 0 if the kernel refuses (out of memory, or of watches).
  uint64_t Watch(int fd, uint32_t events, FdHandler handler);
  void Rewatch(uint64_t watch, uint32_t events);
  // Harmless for 0 and for a watch that is gone.
  void Unwatch(uint64_t watch);

  TimerId After(Clock::duration delay, Handler handler);
  // Harmless for a timer that has fired.
  void Cancel(const TimerId& timer) { timers_.erase(timer); }

  // Runs `handler` on the loop's thread. What is posted after the loop has stopped never runs.
  void Post(Handler handler);

  // `arm` runs right before each sleep and may forbid it by returning false; `disarm` right after.
  // One pair at a time; empty functions take it away.
  void SetSleepHooks(std::function<bool()> arm, Handler disarm);

  // How often the loop came back from a sleep.
  uint64_t wakeups() const { return wakeups_; }

 private:
  struct Watched {
    int fd = -1;
    std::shared_ptr<FdHandler> handler;  // shared: a handler may remove itself while it runs
  };

  EventLoop(transport::UniqueFd epoll, transport::UniqueFd posted);
  void Wait(int timeout_ms);
  void RunTimers();
  void RunPosted();
  int NextTimerMs() const;

  // Constant after construction.
  const transport::UniqueFd epoll_;
  const transport::UniqueFd posted_fd_;  // eventfd

  // Of the loop's thread.
  uint64_t next_number_ = 1;
  uint64_t wakeups_ = 0;
  bool stopped_ = false;
  std::unordered_map<uint64_t, Watched> watched_;
  std::map<TimerId, Handler> timers_;
  std::function<bool()> arm_;
  Handler disarm_;

  std::mutex mutex_;
  std::vector<Handler> posted_;  // guarded by mutex_
};

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_EVENT_LOOP_H_
