// How a publisher waits until all of it has arrived.

#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/pubsub/publisher_impl.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {

using transport::Look;

Status PublisherImpl::Drain(std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  const Call call(this);
  if (!call.entered()) return ReenteredStatus();
  FlushAll();
  if (Status status = PrepareToWait(); !status.ok()) return status;
  const auto deadline = DeadlineAfter(timeout);
  bool late = HandlerScope::Inside(node_.get());
  for (;;) {
    if (pending()) TakePending();
    if (ended_ != EndReason::kNotEnded) return EndedStatus(ended_, topic_);
    Link* const lagging = FirstLagging();
    if (lagging == nullptr) return TakeLeftBehind();
    if (late) return UndrainedStatus(timeout);
    const auto result = waiter_->Wait(deadline, [this, lagging](Look look) {
      if (pending()) return true;
      return look == Look::kSpin ? lagging->writer.AllConsumed() : lagging->writer.ArmDrained();
    });
    late =
        result == transport::WaitResult::kDeadline || std::chrono::steady_clock::now() >= deadline;
  }
}

Status PublisherImpl::TakeLeftBehind() {
  const std::lock_guard lock(mutex_);
  const uint64_t count = std::exchange(left_behind_count_, 0);
  if (count == 0) return {};
  std::string text = "topic '" + topic_ + "': " + std::exchange(left_behind_, {});
  if (count > kNamedLeftBehind) {
    text += ", and " + std::to_string(count - kNamedLeftBehind) + " more subscribers did as much";
  }
  return {Code::kAborted, std::move(text)};
}

// A publisher that never waits for room may still wait here.
Status PublisherImpl::PrepareToWait() {
  if (waiter_ != nullptr) return {};
  auto opened = transport::Waiter::Open(node_->wake());
  if (!opened.ok()) return FromTransport(opened.status());
  const std::lock_guard lock(mutex_);
  waiter_ = std::move(opened).value();
  return {};
}

PublisherImpl::Link* PublisherImpl::FirstLagging() {
  for (size_t i = 0; i < links_.size();) {
    Link* const link = links_[i].get();
    const bool taken = link->reliability == v1::Qos::KEEP_LAST || link->writer.AllConsumed();
    if (link->writer.corrupt()) {
      Quarantine(i);
    } else if (taken) {
      ++i;
    } else {
      return link;
    }
  }
  return nullptr;
}

Status PublisherImpl::UndrainedStatus(std::chrono::nanoseconds timeout) {
  std::string who;
  for (auto& link : links_) {
    if (link->reliability == v1::Qos::KEEP_LAST || link->writer.AllConsumed()) continue;
    who += (who.empty() ? "node '" : ", node '") + link->node + "' has not taken " +
           std::to_string(link->writer.counters().records_in_flight) + " messages (" +
           std::to_string(link->writer.BytesInFlight()) + " bytes of its ring)";
  }
  return {Code::kDeadlineExceeded,
          "topic '" + topic_ + "' after " + DurationText(timeout) + ": " + who};
}

}  // namespace ivmq::internal
