#include "sdk/node/event_queue.h"

#include <utility>

#include "sdk/threads/handler_scope.h"

namespace ivmq {

const char* EventName(Event::Kind kind) {
  switch (kind) {
    case Event::Kind::kMatched:
      return "matched";
    case Event::Kind::kIncompatible:
      return "incompatible";
    case Event::Kind::kSuspect:
      return "suspect";
    case Event::Kind::kAlive:
      return "alive";
    case Event::Kind::kGone:
      return "gone";
    case Event::Kind::kSilent:
      return "silent";
    case Event::Kind::kCallbackFailed:
      return "callback failed";
    case Event::Kind::kDaemonLost:
      return "daemon lost";
    case Event::Kind::kDaemonBack:
      return "daemon back";
    case Event::Kind::kEvicted:
      return "evicted";
  }
  return "?";
}

namespace internal {

EventQueue::EventQueue(const void* node, EventHandler for_node)
    : node_(node), for_node_(std::move(for_node)) {}

void EventQueue::Push(Event event, const Handler& own) {
  if (own == nullptr && !for_node_) return;
  const std::lock_guard lock(mutex_);
  if (forgotten_ || (own == nullptr && node_forgotten_)) return;
  if (waiting_.size() >= kWaitingMax) {
    left_out_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  waiting_.push_back({std::move(event), own});
}

void EventQueue::Deliver() {
  const HandlerScope scope(node_);
  std::unique_lock lock(mutex_);
  while (!waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    for (const EventHandler* handler :
         {next.own == nullptr ? nullptr : &next.own->call, &for_node_}) {
      const bool wanted = handler != nullptr && *handler && !forgotten_ &&
                          !(handler == &for_node_ ? node_forgotten_ : next.own->forgotten);
      if (!wanted) continue;
      calling_ = handler;
      lock.unlock();
      Call(*handler, next.event);
      lock.lock();
      calling_ = nullptr;
      delivered_.notify_all();
    }
    // What a handler holds may be ours to destroy, and may be a publisher that comes to Forget().
    lock.unlock();
    next = {};
    lock.lock();
  }
}

void EventQueue::Call(const EventHandler& handler, const Event& event) {
  try {
    handler(event);
  } catch (...) {
    failed_.fetch_add(1, std::memory_order_relaxed);
  }
}

void EventQueue::CallForNode(const std::function<void()>& handler) {
  const HandlerScope scope(node_);
  {
    const std::lock_guard lock(mutex_);
    if (forgotten_ || node_forgotten_) return;
    calling_ = &for_node_;
  }
  Call([&](const Event&) { handler(); }, {});
  const std::lock_guard lock(mutex_);
  calling_ = nullptr;
  delivered_.notify_all();
}

void EventQueue::Forget(const Handler& own) {
  if (own == nullptr) return;
  std::unique_lock lock(mutex_);
  own->forgotten = true;
  // Handlers that waited for each other would do so for ever.
  if (HandlerScope::Inside(node_)) return;
  delivered_.wait(lock, [&] { return calling_ != &own->call; });
}

void EventQueue::ForgetNode() {
  std::unique_lock lock(mutex_);
  node_forgotten_ = true;
  if (HandlerScope::Inside(node_)) return;
  delivered_.wait(lock, [&] { return calling_ != &for_node_; });
}

void EventQueue::ForgetAll() {
  std::deque<Waiting> dropped;  // goes when the lock is given up, as in Deliver()
  std::unique_lock lock(mutex_);
  forgotten_ = true;
  dropped.swap(waiting_);
  if (HandlerScope::Inside(node_)) return;
  delivered_.wait(lock, [&] { return calling_ == nullptr; });
}

}  // namespace internal
}  // namespace ivmq
