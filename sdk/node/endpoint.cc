#include "sdk/node/endpoint.h"

#include <algorithm>
#include <utility>

#include "sdk/node/node_impl.h"

namespace ivmq::internal {

Endpoint::Endpoint(NodeImpl* node, std::string topic, EventHandler on_event)
    : told_node_(node),
      fork_guard_(node->fork_guard()),
      told_topic_(std::move(topic)),
      on_event_(on_event ? std::make_shared<EventQueue::OwnHandler>(std::move(on_event))
                         : nullptr) {}

void Endpoint::Tell(Event event) {
  if (event.topic.empty()) event.topic = told_topic_;
  told_node_->events()->Push(std::move(event), on_event_);
}

void Endpoint::TellFromElsewhere(Event event) {
  Tell(std::move(event));
  told_node_->DeliverEvents();
}

void Endpoint::TellCallbackFailed(std::string what) {
  TellFromElsewhere({Event::Kind::kCallbackFailed, {}, {}, 0, 0, std::move(what)});
}

void Endpoint::OnRegistered(uint64_t id) {
  const std::lock_guard lock(mutex_);
  id_ = id;
}

void Endpoint::EndForGood() {
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = id_;
  }
  if (id != 0) told_node_->ForgetTypes(id);
  End(EndReason::kClosed);
  if (id != 0) told_node_->Forget(id);
  told_node_->events()->Forget(on_event_);
}

std::chrono::steady_clock::time_point Endpoint::OnTimer(std::chrono::steady_clock::time_point) {
  return std::chrono::steady_clock::time_point::max();
}

void Endpoint::End(EndReason reason) {
  const std::lock_guard lock(mutex_);
  end_requested_ = std::max(end_requested_, reason);
  HandOver();
}

void Endpoint::HandOver() {
  if (LinksAreFree()) LeaveLinks();
  WakeCaller();
}

void Endpoint::TakePending() {
  const std::lock_guard lock(mutex_);
  if (!gate_.pending()) return;  // The other thread was faster.
  Apply();
  gate_.Done();
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
  if (const auto clash = CallGate::LastClash(); clash.of_threads) {
    const std::string threads = clash.refused == 0
                                    ? "called while another thread"
                                    : "called on thread " + std::to_string(clash.refused) +
                                          " while thread " + std::to_string(clash.inside);
    return {Code::kFailedPrecondition,
            threads +
                " is inside a call of the same publisher or subscriber, or holds a message that it "
                "borrowed: one thread at a time is allowed"};
  }
  return {
      Code::kFailedPrecondition,
      "called inside a handler or fill function of the same publisher or subscriber, or while a "
      "message of it is borrowed"};
}

Status ForkedStatus() {
  return {Code::kFailedPrecondition,
          "this process was forked from the one that opened the node: open a node of its own"};
}

}  // namespace ivmq::internal
