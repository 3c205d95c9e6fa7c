#include "sdk/endpoint.h"

#include <algorithm>

namespace ivmq::internal {

void Endpoint::End(EndReason reason) {
  const std::lock_guard lock(mutex_);
  end_requested_ = std::max(end_requested_, reason);
  HandOver();
}

void Endpoint::HandOver() {
  gate_.Request();
  if (gate_.NobodyInside()) {
    Apply();
    gate_.Done();
  }
  WakeCaller();
}

void Endpoint::TakePending() {
  const std::lock_guard lock(mutex_);
  if (!gate_.pending()) return;  // The other thread was faster.
  Apply();
  gate_.Done();
}

Endpoint::Call::Call(Endpoint* endpoint) : endpoint_(endpoint), entered_(endpoint->gate_.Enter()) {
  if (entered_ && endpoint_->gate_.pending()) [[unlikely]]
    endpoint_->TakePending();
}

Endpoint::Call::~Call() {
  if (!entered_) return;
  endpoint_->gate_.Leave();
  if (endpoint_->gate_.pending()) [[unlikely]]
    endpoint_->TakePending();
}

Status EndedStatus(EndReason reason, const std::string& topic) {
  switch (reason) {
    case EndReason::kEvicted:
      return {Code::kClosed, "topic '" + topic + "': this node was evicted by an operator"};
    case EndReason::kNodeClosed:
      return {Code::kClosed, "topic '" + topic + "': the node is closed"};
    case EndReason::kClosed:
    case EndReason::kNotEnded:
      break;
  }
  return {Code::kClosed, "topic '" + topic + "': closed"};
}

Status ReenteredStatus() {
  return {Code::kFailedPrecondition,
          "called inside a handler or fill function of the same publisher or subscriber"};
}

Status ForkedStatus() {
  return {Code::kFailedPrecondition,
          "this process was forked from the one that opened the node: open a node of its own"};
}

}  // namespace ivmq::internal
