#include "transport/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

namespace ivmq::transport {
namespace {

// Of the eventfd that ends a sleep; tokens of watches and timers count up from 1.
constexpr uint64_t kPostedToken = 0;

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return ErrnoStatus(errno, "cannot create an epoll set");
  UniqueFd posted(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!posted) return ErrnoStatus(errno, "cannot create an eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kPostedToken;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, posted.get(), &event) != 0) {
    return ErrnoStatus(errno, "cannot watch an eventfd");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(posted)));
}

EventLoop::EventLoop(UniqueFd epoll, UniqueFd posted)
    : epoll_(std::move(epoll)), posted_fd_(std::move(posted)) {}

void EventLoop::Run() {
  while (!stopped_.load(std::memory_order_relaxed)) {
    Wait(NextTimerMs());
    RunTimers();
  }
  stopped_.store(false, std::memory_order_relaxed);
}

void EventLoop::RunOnce(Clock::duration longest) {
  const auto limit_ms = std::chrono::ceil<std::chrono::milliseconds>(longest).count();
  const int limit = static_cast<int>(std::clamp<int64_t>(limit_ms, 0, INT_MAX));
  const int next = NextTimerMs();
  Wait(next < 0 ? limit : std::min(next, limit));
  RunTimers();
}

void EventLoop::Stop() {
  stopped_.store(true, std::memory_order_relaxed);
  WakeUp();
}

void EventLoop::Post(Handler handler) {
  bool first = false;
  {
    const MutexLock lock(&mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(handler));
  }
  if (first) WakeUp();
}

void EventLoop::WakeUp() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(posted_fd_.get(), &one, sizeof(one));
}

void EventLoop::SetSleepHooks(std::function<bool()> arm, Handler disarm) {
  arm_ = std::move(arm);
  disarm_ = std::move(disarm);
}

uint64_t EventLoop::Add(int fd, uint32_t events, FdHandler handler) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = next_token_;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return 0;
  watched_.emplace(next_token_, Watched{fd, std::make_shared<FdHandler>(std::move(handler))});
  return next_token_++;
}

void EventLoop::Change(uint64_t token, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watched_.at(token).fd, &event);
}

void EventLoop::Remove(uint64_t token) {
  const auto found = watched_.find(token);
  if (found == watched_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  watched_.extract(found);
}

EventLoop::TimerKey EventLoop::AddTimer(Clock::duration delay, Handler handler) {
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
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kPostedToken) {
      RunPosted();
      continue;
    }
    const auto found = watched_.find(event.data.u64);
    if (found == watched_.end()) continue;  // removed by a handler of this round
    const std::shared_ptr<FdHandler> handler = found->second.handler;
    (*handler)(event.events);
  }
}

void EventLoop::RunTimers() {
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const Handler handler = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    handler();
  }
}

void EventLoop::RunPosted() {
  uint64_t count = 0;
  // Before the handlers are taken: what is posted from now on wakes us again.
  [[maybe_unused]] const ssize_t size = ::read(posted_fd_.get(), &count, sizeof(count));
  std::vector<Handler> posted;
  {
    const MutexLock lock(&mutex_);
    posted.swap(posted_);
  }
  for (const Handler& handler : posted) handler();
}

void Timer::Set(EventLoop::Clock::duration delay, EventLoop::Handler handler) {
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

}  // namespace ivmq::transport
