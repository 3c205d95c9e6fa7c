#ifndef IVMQ_SDK_NODE_EVENT_QUEUE_H_
#define IVMQ_SDK_NODE_EVENT_QUEUE_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "ivmq/event.h"

namespace ivmq::internal {

// Events on their way to the application's handlers: whatever happens is put here, under whichever
// locks, and the node's thread delivers it without any.
//
// Push() and Forget() from any thread, Deliver() from one.
class EventQueue {
 public:
  // Of one publisher, subscriber, client or server, shared with what waits for delivery.
  struct OwnHandler {
    explicit OwnHandler(EventHandler handler) : call(std::move(handler)) {}
    const EventHandler call;
    bool forgotten = false;  // guarded by the queue's mutex
  };
  using Handler = std::shared_ptr<OwnHandler>;

  // `node`: whose handlers they are, as HandlerScope names it.
  EventQueue(const void* node, EventHandler for_node);

  // Events that may wait. What happens while as many do is left out and counted.
  static constexpr size_t kWaitingMax = 1 << 16;

  // `own`: null, or the handler of whom it happened to.
  void Push(Event event, const Handler& own);
  // Calls the handlers.
  void Deliver();
  // Does not call that handler any more; waits while it runs, unless called inside a handler or
  // callback of the node. What is pushed for it after this goes to the node's handler alone.
  void Forget(const Handler& own);
  // The same for the node's handler, and that of CallForNode().
  void ForgetNode();
  // The same for all handlers; what is pushed after this is dropped.
  void ForgetAll();
  // Calls another handler of the node now. On the thread that delivers, not within Deliver().
  void CallForNode(const std::function<void()>& handler);

  // Whether the node itself has a handler.
  bool heard_by_node() const { return static_cast<bool>(for_node_); }
  uint64_t left_out() const { return left_out_.load(std::memory_order_relaxed); }
  uint64_t failed_handlers() const { return failed_.load(std::memory_order_relaxed); }

 private:
  struct Waiting {
    Event event;
    Handler own;
  };
  void Call(const EventHandler& handler, const Event& event);

  const void* const node_;
  const EventHandler for_node_;
  std::atomic<uint64_t> failed_{0};
  std::atomic<uint64_t> left_out_{0};

  std::mutex mutex_;  // guards all below
  std::condition_variable delivered_;
  std::deque<Waiting> waiting_;
  bool forgotten_ = false;       // all of them
  bool node_forgotten_ = false;  // the node's own
  const EventHandler* calling_ = nullptr;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_EVENT_QUEUE_H_
