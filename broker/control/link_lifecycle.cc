#include "broker/control/link_lifecycle.h"

namespace ivmq::control {
namespace {

v1::LinkDown::Reason DownReason(SideEvent event) {
  switch (event) {
    case SideEvent::kClosed:
      return v1::LinkDown::CLOSED;
    case SideEvent::kCorrupt:
      return v1::LinkDown::CORRUPT;
    case SideEvent::kDied:
      return v1::LinkDown::DIED;
    case SideEvent::kEvicted:
      return v1::LinkDown::EVICTED;
    case SideEvent::kLost:
    case SideEvent::kAttached:
      break;
  }
  return v1::LinkDown::LOST;
}

// The state that a side goes to, or the one it has where the event means nothing there.
SideState Next(SideState from, SideEvent event) {
  if (from == SideState::kSettled) return from;
  switch (event) {
    case SideEvent::kAttached:
      return from == SideState::kTold ? SideState::kAttached : from;
    case SideEvent::kClosed:
    case SideEvent::kCorrupt:
      // A side that was lost has no session over which it could say so.
      return from == SideState::kLost ? from : SideState::kSettled;
    case SideEvent::kDied:
      return SideState::kSettled;
    case SideEvent::kLost:
    case SideEvent::kEvicted:
      return SideState::kLost;
  }
  return from;
}

}  // namespace

LinkActions Apply(SideEvent event, bool to_publisher, LinkProgress* progress) {
  SideState& side = to_publisher ? progress->publisher : progress->subscriber;
  const SideState other = to_publisher ? progress->subscriber : progress->publisher;
  const SideState before = side;
  side = Next(before, event);
  LinkActions actions;
  if (side == before) return actions;
  actions.tell_ready =
      side == SideState::kAttached && to_publisher && IsActive(other) && !progress->both_told;
  if (IsActive(before) && !IsActive(side)) {
    if (event == SideEvent::kCorrupt) progress->quarantined = true;
    if (progress->down == v1::LinkDown::REASON_UNSPECIFIED) progress->down = DownReason(event);
    actions.tell_other_down = IsActive(other) && !progress->both_told;
  }
  actions.release_side = side == SideState::kSettled;
  actions.over = side == SideState::kSettled && other == SideState::kSettled;
  return actions;
}

bool ApplyOfPair(SideEvent event, LinkProgress* progress) {
  if (event == SideEvent::kAttached) return false;
  if (progress->down != v1::LinkDown::REASON_UNSPECIFIED) return false;
  progress->down = DownReason(event);
  progress->both_told = true;
  return true;
}

v1::Link::State StateOf(const LinkProgress& progress) {
  const SideState publisher = progress.publisher;
  const SideState subscriber = progress.subscriber;
  if (progress.quarantined) return v1::Link::QUARANTINED;
  if (publisher == SideState::kLost || subscriber == SideState::kLost) return v1::Link::ORPHANED;
  if (!IsActive(publisher) || !IsActive(subscriber) || progress.both_told) return v1::Link::CLOSING;
  return publisher == SideState::kAttached && subscriber == SideState::kAttached
             ? v1::Link::UP
             : v1::Link::CONNECTING;
}

std::string_view ReasonOf(const LinkProgress& progress) {
  switch (progress.down) {
    case v1::LinkDown::CLOSED:
      return "one side closed it";
    case v1::LinkDown::DIED:
      return "one side died";
    case v1::LinkDown::CORRUPT:
      return "one side found nonsense in the ring";
    case v1::LinkDown::EVICTED:
      return "one side was evicted";
    case v1::LinkDown::LOST:
      return "the session of one side was lost without proof of its death";
    default:
      return "";
  }
}

}  // namespace ivmq::control
