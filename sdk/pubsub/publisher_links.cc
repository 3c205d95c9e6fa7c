// How a publisher comes by its links and lets them go; the data path is in publisher_impl.cc.

#include <algorithm>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/pubsub/publisher_impl.h"
#include "sdk/pubsub/qos.h"

namespace ivmq::internal {

Result<std::unique_ptr<PublisherImpl>> PublisherImpl::Make(std::shared_ptr<NodeImpl> node,
                                                           std::string_view topic,
                                                           const PublisherOptions& options) {
  auto offer = OfferOf(options);
  if (!offer.ok()) return offer.status();
  std::unique_ptr<transport::Waiter> waiter;
  if (options.reliability.deadline().count() > 0) {
    transport::WaiterOptions waiting;
    waiting.strategy = StrategyOf(options.wait);
    auto opened = transport::Waiter::Open(node->wake(), waiting);
    if (!opened.ok()) return FromTransport(opened.status());
    waiter = std::move(opened).value();
  }
  return std::unique_ptr<PublisherImpl>(new PublisherImpl(
      std::move(node), topic, options, std::move(offer).value(), std::move(waiter)));
}

PublisherImpl::PublisherImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                             const PublisherOptions& options, v1::Qos offer,
                             std::unique_ptr<transport::Waiter> waiter)
    : Endpoint(node.get(), std::string(topic), options.on_event),
      node_(std::move(node)),
      topic_(topic),
      offer_(std::move(offer)),
      max_message_bytes_(offer_.max_message_bytes()),
      patience_(options.reliability.deadline()),
      timestamps_(options.timestamps),
      waits_for_room_(waiter != nullptr),
      waiter_(std::move(waiter)),
      history_(options.history.messages()) {}

PublisherImpl::~PublisherImpl() { Close(); }

void PublisherImpl::Close() {
  if (forked()) return;
  EndForGood();
}

Status PublisherImpl::WaitForSubscribers(uint32_t count, std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  const auto deadline = DeadlineAfter(timeout);
  std::unique_lock lock(mutex_);
  links_changed_.wait_until(
      lock, deadline, [&] { return linked_ >= count || ended_for_all_ != EndReason::kNotEnded; });
  if (ended_for_all_ != EndReason::kNotEnded) return EndedStatus(ended_for_all_, topic_);
  if (linked_ >= count) return {};
  std::string text = "topic '" + topic_ + "': " + std::to_string(linked_) + " of " +
                     std::to_string(count) + " subscribers after " + DurationText(timeout);
  if (!last_refusal_.empty()) text += "; last refused: " + last_refusal_;
  if (!node_->connected()) text += "; the daemon is gone";
  return {Code::kDeadlineExceeded, std::move(text)};
}

uint32_t PublisherImpl::subscribers() const {
  if (forked()) return 0;
  const std::lock_guard lock(mutex_);
  return linked_;
}

PublisherCounters PublisherImpl::counters() const {
  PublisherCounters counters;
  if (forked()) return counters;
  const std::lock_guard lock(mutex_);
  counters.messages = messages_.value();
  counters.written = written_.value();
  counters.full = full_.value();
  counters.corrupt_links = corrupt_links_.value();
  counters.doorbells = retired_doorbells_;
  counters.dropped_full = retired_dropped_;
  counters.overwritten = retired_overwritten_;
  counters.untaken = retired_untaken_;
  for (const auto& link : links_) {
    counters.doorbells += link->writer.counters().doorbells;
    counters.dropped_full += link->dropped.value();
    counters.overwritten += link->overwritten();
  }
  return counters;
}

std::vector<PublisherLink> PublisherImpl::links() const {
  std::vector<PublisherLink> all;
  if (forked()) return all;
  const std::lock_guard lock(mutex_);
  all.reserve(links_.size());
  for (const auto& link : links_) all.push_back(link->Losses());
  return all;
}

void PublisherImpl::OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) {
  v1::NodeRequest reply;
  auto writer = transport::LinkWriter::Open(node_->device(), AddressOf(link), std::move(doorbell));
  transport::Status status = writer.status();
  if (status.ok() && writer.value().max_record_bytes() < max_message_bytes()) {
    status = transport::Status(
        transport::Code::kInvalidArgument,
        "a link for messages of " + std::to_string(writer.value().max_record_bytes()) +
            " bytes, this publisher asked for " + std::to_string(max_message_bytes()));
  }
  if (!status.ok()) {
    {
      const std::lock_guard lock(mutex_);
      if (end_requested_ != EndReason::kNotEnded) return;  // Our unregistration settles it.
      corrupt_links_.Add(1);
      last_refusal_ = "node '" + link.other_node() + "': " + status.message();
      Tell({Event::Kind::kIncompatible, topic_, link.other_node(), link.other_peer_id(),
            link.link_id(), status.message()});
    }
    reply.mutable_link_corrupt()->set_endpoint_id(link.endpoint_id());
    reply.mutable_link_corrupt()->set_link_id(link.link_id());
    reply.mutable_link_corrupt()->set_detail(status.message());
    node_->Post(reply);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (end_requested_ != EndReason::kNotEnded) return;  // Our unregistration settles it.
    added_.push_back(std::make_unique<Link>(std::move(writer).value(), link));
    TellOf(Event::Kind::kMatched, *added_.back(), {});
    HandOver();
  }
  // From here on every publish sees it: whoever waits for this link misses nothing.
  reply.mutable_link_attached()->set_endpoint_id(link.endpoint_id());
  reply.mutable_link_attached()->set_link_id(link.link_id());
  node_->Post(reply);
}

bool PublisherImpl::OnLinkReady(uint64_t) { return false; }

PublisherImpl::Link* PublisherImpl::Find(uint64_t link_id) {
  for (auto* links : {&links_, &added_}) {
    for (auto& link : *links) {
      if (link->writer.link_id() == link_id) return link.get();
    }
  }
  return nullptr;
}

void PublisherImpl::TellOf(Event::Kind kind, const Link& link, std::string detail) {
  Tell({kind, topic_, link.node, link.peer, link.writer.link_id(), std::move(detail)});
}

bool PublisherImpl::OnLinkDown(const v1::LinkDown& down) {
  const std::lock_guard lock(mutex_);
  Link* const link = Find(down.link_id());
  if (link == nullptr) return false;
  link->down = true;
  TellOf(Event::Kind::kGone, *link, GoneText(down.reason()) + UntakenText(*link));
  HandOver();
  return true;
}

bool PublisherImpl::OnLinkSuspect(const v1::LinkSuspect& suspect) {
  const std::lock_guard lock(mutex_);
  const Link* const link = Find(suspect.link_id());
  if (link == nullptr) return false;
  TellOf(suspect.suspect() ? Event::Kind::kSuspect : Event::Kind::kAlive, *link, {});
  return true;
}

void PublisherImpl::OnLinkRefused(const v1::LinkRefused& refused) {
  const std::lock_guard lock(mutex_);
  last_refusal_ = "node '" + refused.other_node() + "': " + refused.reason();
  Tell({Event::Kind::kIncompatible, refused.topic(), refused.other_node(), 0, 0, refused.reason()});
}

void PublisherImpl::OnDisconnected() {
  const std::lock_guard lock(mutex_);
  links_changed_.notify_all();
}

void PublisherImpl::WakeCaller() {
  if (waiter_ != nullptr) waiter_->Notify();
}

void PublisherImpl::Apply() {
  for (auto& link : added_) {
    Introduce(link.get());
    links_.push_back(std::move(link));
  }
  added_.clear();
  std::stable_partition(links_.begin(), links_.end(),
                        [](const auto& link) { return link->reliable(); });
  const auto first_down = std::stable_partition(links_.begin(), links_.end(),
                                                [](const auto& link) { return !link->down; });
  for (auto link = first_down; link != links_.end(); ++link) TellClosed(**link);
  links_.erase(first_down, links_.end());
  if (end_requested_ != EndReason::kNotEnded) LeaveAll();
  CountLinks();
  if (!links_.empty() && !BuildsInPlace() && scratch_.empty()) {
    scratch_.resize(max_message_bytes());
  }
  if (reliable_links_ < links_.size() && telling_scratch_.empty()) {
    telling_scratch_.resize(max_message_bytes() + Link::kToldBytes);
  }
}

// What was kept goes before whatever is published from now on.
void PublisherImpl::Introduce(Link* link) {
  if (link->history == 0) return;
  const bool slots = link->reliability == v1::Qos::KEEP_LAST;
  const uint32_t messages = slots ? std::min(link->history, link->depth) : link->history;
  const uint64_t room = slots ? UINT64_MAX : link->writer.capacity();
  history_.Replay(messages, room, &link->writer);
}

void PublisherImpl::LeaveAll() {
  const bool first = ended_ == EndReason::kNotEnded;
  ended_ = end_requested_;
  ended_for_all_ = ended_;
  v1::NodeRequest request;
  request.mutable_unregister()->set_id(id_);
  for (auto& link : links_) {
    link->writer.Flush();
    Retire(*link);
    *request.mutable_unregister()->add_counters() = link->Counters();
  }
  links_.clear();
  if (id_ == 0 || !first) return;
  node_->Post(request);
  node_->OnEndpointEnded();
}

void PublisherImpl::CountLinks() {
  linked_ = static_cast<uint32_t>(links_.size());
  reliable_links_ = static_cast<size_t>(std::count_if(
      links_.begin(), links_.end(), [](const auto& link) { return link->reliable(); }));
  links_changed_.notify_all();
}

void PublisherImpl::TellClosed(const Link& link) {
  Retire(link);
  v1::NodeRequest request;
  request.mutable_link_closed()->set_endpoint_id(id_);
  request.mutable_link_closed()->set_link_id(link.writer.link_id());
  *request.mutable_link_closed()->mutable_counters() = link.Counters();
  node_->Post(request);
}

// Empty if it had taken all.
std::string PublisherImpl::UntakenText(const Link& link) {
  const uint64_t untaken = link.writer.counters().records_unread;
  return untaken == 0 ? "" : "; it has not taken the last " + std::to_string(untaken) + " messages";
}

void PublisherImpl::Retire(const Link& link) {
  const bool corrupt = link.writer.corrupt();
  if (link.down || corrupt) {
    const uint64_t untaken =
        corrupt ? link.writer.UnreadAtMost() : link.writer.counters().records_unread;
    retired_untaken_ += untaken;
    if (link.reliability != v1::Qos::KEEP_LAST && untaken > 0) LeaveBehind(link, untaken);
  }
  retired_doorbells_ += link.writer.counters().doorbells;
  retired_dropped_ += link.dropped.value();
  retired_overwritten_ += link.overwritten();
}

void PublisherImpl::LeaveBehind(const Link& link, uint64_t untaken) {
  if (left_behind_count_++ >= kNamedLeftBehind) return;
  left_behind_ += (left_behind_.empty() ? "node '" : ", node '") + link.node +
                  (link.writer.corrupt() ? "' wrote nonsense into its ring and may not have taken"
                                         : "' has left and has not taken") +
                  " the last " + std::to_string(untaken) + " messages";
}

void PublisherImpl::Quarantine(size_t index) {
  const std::lock_guard lock(mutex_);
  const auto place = links_.begin() + static_cast<std::ptrdiff_t>(index);
  corrupt_links_.Add(1);
  Retire(**place);
  v1::NodeRequest request;
  request.mutable_link_corrupt()->set_endpoint_id(id_);
  request.mutable_link_corrupt()->set_link_id((*place)->writer.link_id());
  request.mutable_link_corrupt()->set_detail("the subscriber wrote nonsense into its ring's head");
  *request.mutable_link_corrupt()->mutable_counters() = (*place)->Counters();
  node_->Post(request);
  std::string told = "it wrote nonsense into the link";
  if (const uint64_t untaken = (*place)->writer.UnreadAtMost(); untaken > 0) {
    told += "; it may not have taken the last " + std::to_string(untaken) + " messages";
  }
  TellOf(Event::Kind::kGone, **place, std::move(told));
  node_->DeliverEvents();
  links_.erase(place);
  CountLinks();
}

void PublisherImpl::AddCounters(v1::Counters* counters) {
  const std::lock_guard lock(mutex_);
  for (const auto& link : links_) *counters->add_links() = link->Counters();
}

void PublisherImpl::AddLeft(std::vector<uint64_t>* link_ids) const {
  const std::lock_guard lock(mutex_);
  for (const auto* links : {&links_, &added_}) {
    for (const auto& link : *links) {
      if (!link->down && link->writer.consumer_left()) link_ids->push_back(link->writer.link_id());
    }
  }
}

}  // namespace ivmq::internal
