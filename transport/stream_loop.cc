#include "transport/stream_loop.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

namespace ivmq::transport {
namespace {

constexpr uint64_t kWaiterHandle = 0;
constexpr int kEventsPerRound = 64;

// Announces, before it waits for the lock, that it wants it: a busy loop then leaves it free.
class Visit {
 public:
  Visit(std::atomic<int>* visitors, std::recursive_mutex* mutex) : visitors_(visitors) {
    visitors_->fetch_add(1, std::memory_order_relaxed);
    lock_ = std::unique_lock<std::recursive_mutex>(*mutex);
  }
  ~Visit() { visitors_->fetch_sub(1, std::memory_order_relaxed); }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  std::atomic<int>* visitors_;
  std::unique_lock<std::recursive_mutex> lock_;
};

}  // namespace

Result<std::unique_ptr<StreamLoop>> StreamLoop::Start(std::shared_ptr<NodeWake> node) {
  Result<std::unique_ptr<Waiter>> waiter = Waiter::Open(std::move(node));
  if (!waiter.ok()) return waiter.status();
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWaiterHandle;
  if (!epoll || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, waiter.value()->fd(), &event) != 0) {
    return ErrnoStatus(errno, "cannot make the event loop of streams");
  }
  std::unique_ptr<StreamLoop> loop(new StreamLoop(std::move(waiter).value(), std::move(epoll)));
  loop->thread_ = std::thread([self = loop.get()] { self->Run(); });
  return loop;
}

StreamLoop::StreamLoop(std::unique_ptr<Waiter> waiter, UniqueFd epoll)
    : waiter_(std::move(waiter)), epoll_(std::move(epoll)) {}

StreamLoop::~StreamLoop() {
  // relaxed: Notify() orders it.
  stop_.store(true, std::memory_order_relaxed);
  waiter_->Notify();
  if (thread_.joinable()) thread_.join();
  for (auto& [handle, stream] : streams_) stream.pump->Shutdown();
}

uint64_t StreamLoop::Add(UniqueFd socket, StreamLinks links, OnClosed on_closed) {
  const Visit visit(&visitors_, &mutex_);
  const uint64_t handle = next_handle_++;
  auto pump = std::make_unique<StreamPump>(std::move(socket), std::move(links));
  epoll_event event{};
  event.events = StreamPump::kEpollEvents;
  event.data.u64 = handle;
  if (!pump->done() && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pump->fd(), &event) != 0) {
    pump->Shutdown();  // which the loop reports as closed
  }
  streams_.emplace(handle, Stream{std::move(pump), std::move(on_closed)});
  waiter_->Notify();
  return handle;
}

void StreamLoop::Remove(uint64_t handle) {
  const Visit visit(&visitors_, &mutex_);
  const auto found = streams_.find(handle);
  if (found == streams_.end()) return;
  found->second.pump->Shutdown();
  streams_.erase(found);
}

size_t StreamLoop::size() const {
  const Visit visit(&visitors_, &mutex_);
  return streams_.size();
}

void StreamLoop::Run() {
  // relaxed: see the destructor.
  while (!stop_.load(std::memory_order_relaxed)) {
    RunOnce();
    while (visitors_.load(std::memory_order_relaxed) > 0) std::this_thread::yield();
  }
}

void StreamLoop::RunOnce() {
  std::array<epoll_event, kEventsPerRound> events;
  // Blocks for a second at most: the armed waiter's timer.
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  (void)waiter_->DisarmFd();
  for (int i = 0; i < count; ++i) {
    const auto found = streams_.find(events[i].data.u64);
    if (found != streams_.end()) found->second.pump->OnSocket(events[i].events);
  }
  for (auto& [handle, stream] : streams_) {
    if (stream.pump->HasWork(Look::kSpin)) stream.pump->OnRing();
  }
  Reap();
  (void)waiter_->ArmFd([this](Look look) { return AnyWork(look); });
}

bool StreamLoop::AnyWork(Look look) {
  bool any = false;
  for (auto& [handle, stream] : streams_) {
    // All of them, so that all are armed.
    if (stream.pump->HasWork(look) || stream.pump->done()) any = true;
  }
  return any;
}

void StreamLoop::Reap() {
  for (;;) {
    auto ended = streams_.begin();
    while (ended != streams_.end() && !ended->second.pump->done()) ++ended;
    if (ended == streams_.end()) return;
    const Stream stream = std::move(ended->second);
    streams_.erase(ended);
    // May add and remove streams.
    if (stream.on_closed) stream.on_closed(stream.pump->status());
  }
}

}  // namespace ivmq::transport
