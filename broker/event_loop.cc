#include "broker/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

namespace ivmq::broker {

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) {
    std::perror("epoll_create1");
    std::abort();
  }
}

void EventLoop::Run() {
  while (!stopped_) {
    Wait(NextTimerMs());
    RunTimers();
  }
  stopped_ = false;
}

void EventLoop::RunOnce(std::chrono::milliseconds longest) {
  const int next = NextTimerMs();
  const int limit = static_cast<int>(std::min<int64_t>(longest.count(), INT_MAX));
  Wait(next < 0 ? limit : std::min(next, limit));
  RunTimers();
}

uint64_t EventLoop::Add(int fd, uint32_t events, FdHandler handler) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = next_token_;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return 0;
  watched_.emplace(next_token_, Watched{fd, std::make_shared<FdHandler>(std::move(handler))});
  return next_token_++;
}

void EventLoop::Change(uint64_t token, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watched_.at(token).fd, &event);
}

void EventLoop::Remove(uint64_t token) {
  const auto found = watched_.find(token);
  if (found == watched_.end()) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  watched_.extract(found);
}

EventLoop::TimerKey EventLoop::AddTimer(std::chrono::milliseconds delay, TimerHandler handler) {
  const TimerKey key{Clock::now() + delay, next_token_++};
  timers_.emplace(key, std::move(handler));
  return key;
}

int EventLoop::NextTimerMs() const {
  if (timers_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
}

void EventLoop::Wait(int timeout_ms) {
  std::array<epoll_event, 64> events;
  const int count =
      epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  ++wakeups_;
  if (count < 0) {
    if (errno == EINTR) return;
    std::perror("epoll_wait");
    std::abort();
  }
  for (int i = 0; i < count && !stopped_; ++i) {
    const auto found = watched_.find(events[i].data.u64);
    if (found == watched_.end()) continue;  // removed by a handler of this round
    const std::shared_ptr<FdHandler> handler = found->second.handler;
    (*handler)(events[i].events);
  }
}

void EventLoop::RunTimers() {
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const TimerHandler handler = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    handler();
  }
}

void Timer::Set(std::chrono::milliseconds delay, EventLoop::TimerHandler handler) {
  Reset();
  key_ = loop_->AddTimer(delay, [this, handler = std::move(handler)] {
    key_.reset();
    handler();
  });
}

void Timer::Reset() {
  if (key_) loop_->RemoveTimer(*key_);
  key_.reset();
}

}  // namespace ivmq::broker
