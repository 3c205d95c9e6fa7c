#include "transport/waiter.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "transport/wait_for_events.h"

namespace ivmq::transport {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr seconds kThoroughEvery{1};
constexpr microseconds kNapMin{50};
constexpr milliseconds kNapMax{1};
// Spinning is never given up wholly, or it could not be found to pay again.
constexpr int kSpinMinShare = 16;
constexpr int kPausesPerLook = 2;
constexpr int kLooksPerClock = 8;
// When a spinning thread begins to yield: later than a peer that runs answers, as a yield takes
// longer than a round trip. After a yield of what length it begins at once the next time: somebody
// else had the CPU meanwhile, and will want it again. From what length on one was no good: shorter
// than what the kernel gives to a program that computes. How many times that none follows, and for
// how long at most.
constexpr microseconds kYieldAfter{2};
constexpr nanoseconds kYieldShared{1500};
constexpr milliseconds kYieldTooLong{1};
constexpr int kYieldRest = 300;
constexpr seconds kYieldRestMax{10};

enum Tag : uint32_t { kNotifyTag, kTimerTag, kVectorTag };

// Of the machine, not those that this thread may use: who pins a thread to a CPU does it for speed,
// and the peer runs elsewhere.
bool OnlyOneCpu() { return ::sysconf(_SC_NPROCESSORS_ONLN) == 1; }

Status Watch(int epoll, int fd, uint32_t events, Tag tag) {
  epoll_event event{};
  event.events = events;
  event.data.u32 = tag;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return ErrnoStatus(errno, "cannot watch a file descriptor of a waiter");
  }
  return Status();
}

void WriteOne(int eventfd) {
  const uint64_t one = 1;
  // Fails only if the counter is full, and then the eventfd is readable as it should be.
  [[maybe_unused]] const ssize_t written = ::write(eventfd, &one, sizeof(one));
}

void Drain(int fd) {
  uint64_t ignored;
  // Non-blocking; that there is nothing to read is fine.
  [[maybe_unused]] const ssize_t taken = ::read(fd, &ignored, sizeof(ignored));
}

}  // namespace

Result<std::unique_ptr<Waiter>> Waiter::Open(std::shared_ptr<NodeWake> node,
                                             WaiterOptions options) {
  std::unique_ptr<Waiter> waiter(new Waiter(std::move(node), options));
  Status status = waiter->OpenFds();
  if (!status.ok()) return status;
  return waiter;
}

Waiter::Waiter(std::shared_ptr<NodeWake> node, WaiterOptions options)
    : node_(std::move(node)),
      options_(options),
      one_cpu_(OnlyOneCpu()),
      spin_(options.spin_max),
      nap_(kNapMin),
      thorough_at_(Clock::now() + kThoroughEvery) {}

Waiter::~Waiter() {
  if (fd_armed_) node_->EndSleep();
}

Status Waiter::OpenFds() {
  epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
  notify_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  timer_.Reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll_ || !notify_ || !timer_) {
    return ErrnoStatus(errno, "cannot create the file descriptors of a waiter");
  }
  Status status = Watch(epoll_.get(), notify_.get(), EPOLLIN, kNotifyTag);
  if (status.ok()) status = Watch(epoll_.get(), timer_.get(), EPOLLIN, kTimerTag);
  if (status.ok() && node_->interrupts()) {
    // Shared with other processes, so it is never read, and every ring is an edge.
    status = Watch(epoll_.get(), node_->vector_fd(), EPOLLIN | EPOLLET, kVectorTag);
  }
  if (!status.ok()) return status;
  // The count of earlier rings is an edge of its own; nobody waited for those.
  (void)TakeEvents();
  return Status();
}

WaitResult Waiter::Wait(Clock::time_point deadline, WorkCheck has_work) {
  if (fd_armed_ && DisarmFd()) Notify();
  WaitResult result;
  if (!Spin(deadline, has_work, &result)) result = Block(deadline, has_work);
  if (result == WaitResult::kWork) nap_ = kNapMin;
  return result;
}

void Waiter::Notify() {
  // Pairs with the exchange in TakeEvents(): what was done before is seen by who is notified.
  if (!notified_.exchange(true, std::memory_order_acq_rel)) WriteOne(notify_.get());
}

bool Waiter::ArmFd(WorkCheck has_work) {
  if (!fd_armed_) {
    node_->BeginSleep();
    fd_armed_ = true;
  }
  // Doorbells swallowed here were rung after their ready bytes were set; the check comes later.
  const Events events = TakeEvents();
  const Clock::time_point now = Clock::now();
  if (has_work(NextLook(now))) {
    nap_ = kNapMin;
    if (events.notified) Notify();
    WriteOne(notify_.get());
    return false;
  }
  if (events.notified) {
    Notify();
    return false;
  }
  Clock::duration next = std::max<Clock::duration>(thorough_at_ - now, nanoseconds(1));
  if (!node_->interrupts()) {
    next = std::min<Clock::duration>(next, nap_);
    nap_ = std::min<nanoseconds>(nap_ * 2, kNapMax);
  }
  SetTimer(next);
  return true;
}

bool Waiter::DisarmFd() {
  if (fd_armed_) {
    node_->EndSleep();
    fd_armed_ = false;
    SetTimer(Clock::duration::zero());
  }
  return TakeEvents().notified;
}

Waiter::Events Waiter::TakeEvents(nanoseconds timeout) {
  Events events;
  std::array<epoll_event, 3> ready;
  // A signal is a wake-up as well: we look and go on.
  const int count = WaitForEvents(epoll_.get(), ready, timeout);
  for (int i = 0; i < count; ++i) {
    switch (ready[i].data.u32) {
      case kNotifyTag:
        Drain(notify_.get());
        break;
      case kTimerTag:
        Drain(timer_.get());
        break;
      default:
        events.doorbell = true;
    }
  }
  // After the drain: a Notify() between the two leaves the eventfd readable, which costs one look
  // too many; the other way round it would be lost. Pairs with the exchange in Notify().
  events.notified = notified_.exchange(false, std::memory_order_acq_rel);
  return events;
}

Look Waiter::NextLook(Clock::time_point now) {
  if (now < thorough_at_) return Look::kSleep;
  thorough_at_ = now + kThoroughEvery;
  return Look::kThorough;
}

// Looks without blocking, at least once. True if that gave a result.
bool Waiter::Spin(Clock::time_point deadline, WorkCheck has_work, WaitResult* result) {
  const bool for_ever = options_.strategy == WaitStrategy::kSpin;
  const Clock::time_point start = Clock::now();
  bool paid = false;  // not by what was there before
  for (;;) {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (has_work(Look::kSpin)) {
        *result = WaitResult::kWork;
        if (paid) spin_ = std::min<nanoseconds>(spin_ * 2, options_.spin_max);
        return true;
      }
      // acquire. Pairs with the exchange in Notify().
      if (notified_.load(std::memory_order_acquire)) {
        (void)TakeEvents();
        *result = WaitResult::kNotified;
        return true;
      }
      if (!spins()) return false;
      paid = true;
      for (int pause = 0; pause < kPausesPerLook; ++pause) __builtin_ia32_pause();
    }
    const Clock::time_point now = Clock::now();
    if (now >= deadline) {
      *result = WaitResult::kDeadline;
      return true;
    }
    if (!for_ever) {
      if (now - start >= spin_) return false;
      if (shared_cpu_ || now - start >= kYieldAfter) Yield(now);
      continue;
    }
    if (now >= thorough_at_ && has_work(NextLook(now))) {
      *result = WaitResult::kWork;
      return true;
    }
    if (one_cpu_) ::sched_yield();
  }
}

// Whoever else could use this CPU may be the very peer that is waited for, or share one with it:
// several subscribers of one publisher do. But to whom computes all the time a yield gives it for
// milliseconds, where a sleeper would be woken at once; so that is tried rarely.
void Waiter::Yield(Clock::time_point now) {
  if (now < yield_at_) return;
  yields_.fetch_add(1, std::memory_order_relaxed);
  ::sched_yield();
  const Clock::time_point back = Clock::now();
  const Clock::duration away = std::min<Clock::duration>(back - now, kYieldRestMax);
  shared_cpu_ = away > kYieldShared;
  if (away > kYieldTooLong) {
    yield_at_ = back + std::min<Clock::duration>(kYieldRest * away, kYieldRestMax);
  }
}

WaitResult Waiter::Block(Clock::time_point deadline, WorkCheck has_work) {
  for (;;) {
    node_->BeginSleep();
    const Clock::time_point asleep = Clock::now();
    if (has_work(NextLook(asleep))) {
      node_->EndSleep();
      return WaitResult::kWork;
    }
    if (asleep >= deadline) {
      node_->EndSleep();
      return WaitResult::kDeadline;
    }
    blocks_.fetch_add(1, std::memory_order_relaxed);
    const Events events = TakeEvents(BlockTime(asleep, deadline));
    node_->EndSleep();
    LearnFrom(Clock::now() - asleep);
    if (events.notified) return WaitResult::kNotified;
    if (has_work(Look::kSpin)) return WaitResult::kWork;
    if (events.doorbell) return WaitResult::kDoorbell;
    nap_ = std::min<nanoseconds>(nap_ * 2, kNapMax);
  }
}

Waiter::Clock::duration Waiter::BlockTime(Clock::time_point now, Clock::time_point deadline) const {
  // Not deadline - now, which overflows for time_point::min(); it is later than now here.
  const Clock::time_point until = std::min(deadline, thorough_at_);
  const Clock::duration time = until - now;
  return node_->interrupts() ? time : std::min<Clock::duration>(time, nap_);
}

void Waiter::SetTimer(Clock::duration after) {
  itimerspec setting{};
  setting.it_value = ToTimespec(after);
  // Cannot fail: the fd is a timer and the value is in range.
  (void)::timerfd_settime(timer_.get(), 0, &setting, nullptr);
}

// Spinning pays when work comes within about one wake-up's cost; whether it does is guessed from
// how long the last blocks lasted.
void Waiter::LearnFrom(Clock::duration blocked) {
  if (!node_->interrupts()) return;
  spin_ = blocked < 2 * options_.spin_max
              ? std::min<nanoseconds>(spin_ * 2, options_.spin_max)
              : std::max<nanoseconds>(spin_ / 2, options_.spin_max / kSpinMinShare);
}

}  // namespace ivmq::transport
