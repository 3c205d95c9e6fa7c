// What a subscriber does by itself: callbacks and deadlines.

#include <algorithm>
#include <memory>
#include <utility>

#include "sdk/node/node_impl.h"
#include "sdk/pubsub/subscriber_impl.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {
namespace {

using Clock = std::chrono::steady_clock;

// In a row, before the other callbacks of the node have their turn.
constexpr size_t kMessagesPerTurn = 64;

constexpr int kLooksPerDeadline = 4;
constexpr std::chrono::milliseconds kLookEvery(1);

}  // namespace

Status SubscriberImpl::StartCallbacks() {
  if (!on_message_) return {};
  return node_->callbacks()->Add(this, executor_);
}

bool SubscriberImpl::Run() {
  const Call call(this);
  if (!call.entered()) return false;
  return PollInside(kMessagesPerTurn,
                    [this](const BytesMessage& message) { GiveToCallback(message); })
      .ok();
}

void SubscriberImpl::GiveToCallback(const BytesMessage& message) {
  try {
    on_message_(message);
  } catch (const NotDecodable&) {
    CountUndecodable();
  } catch (...) {
    TellCallbackFailed(CaughtText());
  }
}

void SubscriberImpl::OnExecutorFailed(const std::string& what) { TellCallbackFailed(what); }

Clock::time_point SubscriberImpl::OnTimer(Clock::time_point now) {
  if (deadline_.count() <= 0) return Clock::time_point::max();
  const std::lock_guard lock(mutex_);
  if (end_requested_ != EndReason::kNotEnded) return Clock::time_point::max();
  // While a call is under way it takes what comes, which the count shows.
  const bool free = LinksAreFree();
  const auto look = [&](uint64_t messages, bool unread, Activity* activity) {
    const bool told = activity->silent;
    return LookForSilence(now, messages, unread, activity) && !told;
  };
  for (const auto& link : links_) {
    if (link->down) continue;
    const bool unread = free && link->reader->Peek();
    if (look(link->reader->counters().records, unread, &link->activity)) {
      TellOf(Event::Kind::kSilent, *link, {});
    }
  }
  if (links_.empty() && look(0, false, &activity_)) {
    Tell({Event::Kind::kSilent, topic_, {}, 0, 0, "nobody publishes"});
  }
  if (!links_.empty()) activity_ = {};
  if (free) LeaveLinks();
  // Messages leave no time behind, so how long ago the last one came is known as well as we look.
  return now + std::max<std::chrono::nanoseconds>(deadline_ / kLooksPerDeadline, kLookEvery);
}

bool SubscriberImpl::LookForSilence(Clock::time_point now, uint64_t messages, bool unread,
                                    Activity* activity) const {
  if (messages != activity->messages || unread) {
    *activity = {messages, now, false};
  } else if (now - activity->since >= deadline_) {
    activity->silent = true;
  }
  return activity->silent;
}

}  // namespace ivmq::internal
