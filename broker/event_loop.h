#ifndef IVMQ_BROKER_EVENT_LOOP_H_
#define IVMQ_BROKER_EVENT_LOOP_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "transport/unique_fd.h"

namespace ivmq::broker {

// Calls back when fds are ready and timers are due. Level-triggered epoll; sleeps without a
// timeout unless a timer is set, so an idle process never wakes up.
//
// One thread. Handlers may add and remove any watch and timer, their own included: a handler that
// was removed is not called again, not even for an event that had arrived already.
class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using FdHandler = std::function<void(uint32_t events)>;
  using TimerHandler = std::function<void()>;
  using TimerKey = std::pair<Clock::time_point, uint64_t>;

  EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs handlers until Stop().
  void Run();
  void Stop() { stopped_ = true; }
  // Waits for at most `longest` and runs what is due once.
  void RunOnce(std::chrono::milliseconds longest);
  // How often the loop came back from its sleep.
  uint64_t wakeups() const { return wakeups_; }

 private:
  friend class FdWatch;
  friend class Timer;

  // 0 if the kernel refuses (ENOMEM, ENOSPC).
  uint64_t Add(int fd, uint32_t events, FdHandler handler);
  void Change(uint64_t token, uint32_t events);
  void Remove(uint64_t token);

  TimerKey AddTimer(std::chrono::milliseconds delay, TimerHandler handler);
  // The handler is destroyed when it is out of the map: it may own timers and watches itself.
  void RemoveTimer(const TimerKey& key) { timers_.extract(key); }

  void Wait(int timeout_ms);
  void RunTimers();
  int NextTimerMs() const;

  struct Watched {
    int fd;
    std::shared_ptr<FdHandler> handler;  // shared: a handler may remove itself while it runs
  };

  transport::UniqueFd epoll_;
  uint64_t next_token_ = 1;
  uint64_t wakeups_ = 0;
  bool stopped_ = false;
  std::unordered_map<uint64_t, Watched> watched_;
  std::map<TimerKey, TimerHandler> timers_;
};

// Watches an fd for as long as it lives. The fd is borrowed: declare it before the watch.
// EPOLLHUP and EPOLLERR are always reported.
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

// One call back after a delay, unless it is reset or destroyed before.
class Timer {
 public:
  explicit Timer(EventLoop* loop) : loop_(loop) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Reset(); }

  bool is_set() const { return key_.has_value(); }
  void Set(std::chrono::milliseconds delay, EventLoop::TimerHandler handler);
  void Reset();

 private:
  EventLoop* loop_;
  std::optional<EventLoop::TimerKey> key_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_EVENT_LOOP_H_
