#ifndef IVMQ_TRANSPORT_EVENT_LOOP_H_
#define IVMQ_TRANSPORT_EVENT_LOOP_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "transport/mutex.h"
#include "transport/status.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

// A daemon's one thread of work: fds (FdWatch), timers (Timer), and what other threads post.
// Level-triggered epoll; sleeps until one of them has something, so that an idle process never
// wakes up.
//
// Threads: Post() and Stop() from any; all else, handlers included, on the thread that runs the
// loop (or before it runs). Handlers may add and remove any watch and timer, their own included: a
// handler that was removed is not called again, not even for an event that had arrived already.
class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using FdHandler = std::function<void(uint32_t events)>;
  using Handler = std::function<void()>;

  static Result<std::unique_ptr<EventLoop>> Create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs handlers until Stop(), which may have come before; ends the round that is under way.
  void Run();
  // Waits for at most `longest` and runs what is due once.
  void RunOnce(Clock::duration longest);
  void Stop();

  // Runs `handler` on the loop's thread, in the order of posting. What is still there at the loop's
  // end is dropped.
  void Post(Handler handler);

  // `arm` runs right before each sleep and may forbid it by returning false; `disarm` right after.
  // One pair at a time; empty functions take it away.
  void SetSleepHooks(std::function<bool()> arm, Handler disarm);

  // How often the loop came back from a sleep.
  uint64_t wakeups() const { return wakeups_; }

 private:
  friend class FdWatch;
  friend class Timer;

  using TimerKey = std::pair<Clock::time_point, uint64_t>;
  struct Watched {
    int fd;
    std::shared_ptr<FdHandler> handler;  // shared: a handler may remove itself while it runs
  };

  EventLoop(UniqueFd epoll, UniqueFd posted);

  // 0 if the kernel refuses (ENOMEM, ENOSPC).
  uint64_t Add(int fd, uint32_t events, FdHandler handler);
  void Change(uint64_t token, uint32_t events);
  void Remove(uint64_t token);

  TimerKey AddTimer(Clock::duration delay, Handler handler);
  // The handler is destroyed when it is out of the map: it may own timers and watches itself.
  void RemoveTimer(const TimerKey& key) { timers_.extract(key); }

  void Wait(int timeout_ms);
  void RunTimers();
  void RunPosted();
  int NextTimerMs() const;
  void WakeUp();

  // Constant after construction.
  const UniqueFd epoll_;
  const UniqueFd posted_fd_;  // eventfd

  // Of the loop's thread.
  uint64_t next_token_ = 1;
  uint64_t wakeups_ = 0;
  std::unordered_map<uint64_t, Watched> watched_;
  std::map<TimerKey, Handler> timers_;
  std::function<bool()> arm_;
  Handler disarm_;

  std::atomic<bool> stopped_{false};  // carries no data: any order will do
  Mutex mutex_;
  std::vector<Handler> posted_ IVMQ_GUARDED_BY(mutex_);
};

// Watches an fd for as long as it lives. The fd is borrowed: declare it before the watch. `events`
// as epoll_ctl(2), EPOLLET allowed; EPOLLHUP and EPOLLERR are always reported. False if the kernel
// refused (out of memory, or of watches).
class FdWatch {
 public:
  FdWatch() = default;
  FdWatch(EventLoop* loop, int fd, uint32_t events, EventLoop::FdHandler handler)
      : loop_(loop), events_(events), token_(loop->Add(fd, events, std::move(handler))) {}
  FdWatch(FdWatch&& other) noexcept
      : loop_(other.loop_), events_(other.events_), token_(std::exchange(other.token_, 0)) {}
  FdWatch& operator=(FdWatch&& other) noexcept {
    if (this != &other) {
      Reset();
      loop_ = other.loop_;
      events_ = other.events_;
      token_ = std::exchange(other.token_, 0);
    }
    return *this;
  }
  ~FdWatch() { Reset(); }

  explicit operator bool() const { return token_ != 0; }
  void SetEvents(uint32_t events) {
    if (token_ != 0 && events != events_) loop_->Change(token_, events_ = events);
  }
  void Reset() {
    if (token_ != 0) loop_->Remove(std::exchange(token_, 0));
  }

 private:
  EventLoop* loop_ = nullptr;
  uint32_t events_ = 0;
  uint64_t token_ = 0;
};

// One call back after a delay, unless it is reset or destroyed before. The handler may destroy it.
class Timer {
 public:
  explicit Timer(EventLoop* loop) : loop_(loop) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Reset(); }

  bool is_set() const { return key_.has_value(); }
  void Set(EventLoop::Clock::duration delay, EventLoop::Handler handler);
  void Reset();

 private:
  EventLoop* const loop_;
  std::optional<EventLoop::TimerKey> key_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_EVENT_LOOP_H_
