#include "sdk/agent/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

namespace ivmq::agent {

using transport::ErrnoStatus;
using transport::Result;
using transport::UniqueFd;

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return ErrnoStatus(errno, "cannot create an epoll set");
  UniqueFd posted(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!posted) return ErrnoStatus(errno, "cannot create an eventfd");
  const int posted_fd = posted.get();
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(posted)));
  if (loop->Watch(posted_fd, EPOLLIN, [raw = loop.get()](uint32_t) { raw->RunPosted(); }) == 0) {
    return ErrnoStatus(errno, "cannot watch an eventfd");
  }
  return loop;
}

EventLoop::EventLoop(UniqueFd epoll, UniqueFd posted)
    : epoll_(std::move(epoll)), posted_fd_(std::move(posted)) {}

void EventLoop::Run() {
  stopped_ = false;
  while (!stopped_) {
    Wait(NextTimerMs());
    RunTimers();
  }
}

void EventLoop::RunOnce(Clock::duration longest) {
  const auto limit_ms = std::chrono::ceil<std::chrono::milliseconds>(longest).count();
  const int limit = static_cast<int>(std::clamp<int64_t>(limit_ms, 0, INT_MAX));
  const int next = NextTimerMs();
  stopped_ = false;
  Wait(next < 0 ? limit : std::min(next, limit));
  RunTimers();
}

void EventLoop::Stop() {
  Post([this] { stopped_ = true; });
}

uint64_t EventLoop::Watch(int fd, uint32_t events, FdHandler handler) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = next_number_;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return 0;
  watched_.emplace(next_number_, Watched{fd, std::make_shared<FdHandler>(std::move(handler))});
  return next_number_++;
}

void EventLoop::Rewatch(uint64_t watch, uint32_t events) {
  const auto found = watched_.find(watch);
  if (found == watched_.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = watch;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, found->second.fd, &event);
}

void EventLoop::Unwatch(uint64_t watch) {
  const auto found = watched_.find(watch);
  if (found == watched_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  watched_.erase(found);
}

EventLoop::TimerId EventLoop::After(Clock::duration delay, Handler handler) {
  const TimerId timer{Clock::now() + delay, next_number_++};
  timers_.emplace(timer, std::move(handler));
  return timer;
}

void EventLoop::Post(Handler handler) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(handler));
  }
  if (!first) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(posted_fd_.get(), &one, sizeof(one));
}

void EventLoop::SetSleepHooks(std::function<bool()> arm, Handler disarm) {
  arm_ = std::move(arm);
  disarm_ = std::move(disarm);
}

int EventLoop::NextTimerMs() const {
  if (timers_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.at - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
}

void EventLoop::Wait(int timeout_ms) {
  if (timeout_ms != 0 && arm_ && !arm_()) timeout_ms = 0;
  std::array<epoll_event, 64> events;
  const int count =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  const int error = errno;
  if (timeout_ms != 0) ++wakeups_;
  if (disarm_) disarm_();
  if (count < 0) {
    if (error == EINTR) return;
    std::perror("epoll_wait");
    std::abort();
  }
  for (int i = 0; i < count; ++i) {
    const auto found = watched_.find(events[static_cast<size_t>(i)].data.u64);
    if (found == watched_.end()) continue;  // removed by a handler of this round
    const std::shared_ptr<FdHandler> handler = found->second.handler;
    (*handler)(events[static_cast<size_t>(i)].events);
  }
}

void EventLoop::RunTimers() {
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.at <= now) {
    const Handler handler = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    handler();
  }
}

void EventLoop::RunPosted() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(posted_fd_.get(), &count, sizeof(count));
  std::vector<Handler> posted;
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (const Handler& handler : posted) handler();
}

}  // namespace ivmq::agent
