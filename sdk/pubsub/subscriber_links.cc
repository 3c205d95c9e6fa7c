// How a subscriber comes by its links and lets them go; the data path is in subscriber_impl.cc.

#include <algorithm>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/node/convert.h"
#include "sdk/node/defaults.h"
#include "sdk/node/node_impl.h"
#include "sdk/pubsub/subscriber_impl.h"

namespace ivmq::internal {

using transport::LinkReader;

Result<std::shared_ptr<SubscriberImpl>> SubscriberImpl::Make(std::shared_ptr<NodeImpl> node,
                                                             std::string_view topic,
                                                             const SubscriberOptions& options) {
  if (Status status = CheckRingBytes(options.ring_bytes); !status.ok()) return status;
  transport::WaiterOptions waiting;
  waiting.strategy = StrategyOf(options.wait);
  auto waiter = transport::Waiter::Open(node->wake(), waiting);
  if (!waiter.ok()) return FromTransport(waiter.status());
  return std::shared_ptr<SubscriberImpl>(
      new SubscriberImpl(std::move(node), topic, options, std::move(waiter).value()));
}

SubscriberImpl::SubscriberImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                               const SubscriberOptions& options,
                               std::unique_ptr<transport::Waiter> waiter)
    : Endpoint(node.get(), std::string(topic), options.on_event),
      node_(std::move(node)),
      topic_(topic),
      waiter_(std::move(waiter)),
      deadline_(options.deadline),
      on_message_(options.on_message),
      executor_(options.executor) {}

SubscriberImpl::~SubscriberImpl() { Close(); }

void SubscriberImpl::Close() {
  if (forked()) return;
  node_->callbacks()->Remove(this);
  EndForGood();
}

Status SubscriberImpl::WaitJoined(std::chrono::nanoseconds timeout) {
  if (timeout.count() <= 0) return {};
  const auto deadline = DeadlineAfter(timeout);
  std::unique_lock lock(mutex_);
  joining_changed_.wait_until(lock, deadline, [this] {
    return joining_.empty() || disconnected_ || end_requested_ != EndReason::kNotEnded;
  });
  if (end_requested_ != EndReason::kNotEnded) return EndedStatus(end_requested_, topic_);
  if (joining_.empty()) return {};
  if (disconnected_) {
    return {Code::kUnavailable, "topic '" + topic_ + "': the daemon went away while joining"};
  }
  std::string names;
  for (const auto& [id, node] : joining_) names += (names.empty() ? "'" : ", '") + node + "'";
  return {Code::kDeadlineExceeded, "topic '" + topic_ + "': publishers that have not attached in " +
                                       DurationText(timeout) + ": node " + names};
}

uint32_t SubscriberImpl::publishers() const {
  if (forked()) return 0;
  const std::lock_guard lock(mutex_);
  return linked_;
}

SubscriberCounters SubscriberImpl::counters() const {
  return {messages_.value(), undecodable_.value(), dropped_full_.value(), overwritten_.value(),
          corrupt_links_.value()};
}

void SubscriberImpl::OnAnswered() {
  const std::lock_guard lock(mutex_);
  collecting_ = false;
}

void SubscriberImpl::OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) {
  v1::NodeRequest reply;
  auto reader = LinkReader::Open(node_->device(), AddressOf(link), std::move(doorbell));
  if (!reader.ok()) {
    const std::string detail(reader.status().message());
    {
      const std::lock_guard lock(mutex_);
      if (end_requested_ != EndReason::kNotEnded) return;  // Our unregistration settles it.
      corrupt_links_.Add(1);
      Tell({Event::Kind::kIncompatible, link.topic(), link.other_node(), link.other_peer_id(),
            link.link_id(), detail});
    }
    reply.mutable_link_corrupt()->set_endpoint_id(link.endpoint_id());
    reply.mutable_link_corrupt()->set_link_id(link.link_id());
    reply.mutable_link_corrupt()->set_detail(detail);
    node_->Post(reply);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (end_requested_ != EndReason::kNotEnded) return;  // Our unregistration settles it.
    auto added = std::make_unique<Link>();
    added->id = link.link_id();
    added->added = std::make_unique<LinkReader>(std::move(reader).value());
    added->reader = added->added.get();
    added->reader->set_context(added.get());
    added->names = std::make_shared<const Names>(Names{link.topic(), link.type_name()});
    added->topic = added->names->topic;
    added->type = &added->names->type;
    added->node = link.other_node();
    added->peer = link.other_peer_id();
    added->keeps_last = link.reliability() == v1::Qos::KEEP_LAST;
    added->may_drop = link.reliability() == v1::Qos::DROP_NEWEST;
    added->record_bytes_max = added->keeps_last ? link.max_message_bytes()
                                                : ringbuf::MaxInlineRecord(link.ring_capacity());
    added->answered_at = std::chrono::steady_clock::now();
    TellOf(Event::Kind::kMatched, *added, {});
    added_.push_back(std::move(added));
    if (collecting_) joining_[link.link_id()] = link.other_node();
    HandOver();
  }
  reply.mutable_link_attached()->set_endpoint_id(link.endpoint_id());
  reply.mutable_link_attached()->set_link_id(link.link_id());
  node_->Post(reply);
}

bool SubscriberImpl::StopJoining(uint64_t link_id) {
  if (joining_.erase(link_id) == 0) return false;
  joining_changed_.notify_all();
  return true;
}

bool SubscriberImpl::OnLinkReady(uint64_t link_id) {
  const std::lock_guard lock(mutex_);
  return StopJoining(link_id);
}

SubscriberImpl::Link* SubscriberImpl::Find(uint64_t link_id) {
  for (auto* links : {&links_, &added_}) {
    for (auto& link : *links) {
      if (link->id == link_id) return link.get();
    }
  }
  return nullptr;
}

void SubscriberImpl::TellOf(Event::Kind kind, const Link& link, std::string detail) {
  Tell({kind, std::string(link.topic), link.node, link.peer, link.id, std::move(detail)});
}

bool SubscriberImpl::OnLinkDown(const v1::LinkDown& down) {
  const std::lock_guard lock(mutex_);
  const Link* const link = Find(down.link_id());
  if (link == nullptr) return false;
  StopJoining(down.link_id());
  TellOf(Event::Kind::kGone, *link, GoneText(down.reason()));
  downed_.push_back(down.link_id());
  HandOver();
  return true;
}

bool SubscriberImpl::OnLinkSuspect(const v1::LinkSuspect& suspect) {
  const std::lock_guard lock(mutex_);
  const Link* const link = Find(suspect.link_id());
  if (link == nullptr) return false;
  TellOf(suspect.suspect() ? Event::Kind::kSuspect : Event::Kind::kAlive, *link, {});
  return true;
}

void SubscriberImpl::OnLinkRefused(const v1::LinkRefused& refused) {
  Tell({Event::Kind::kIncompatible, refused.topic(), refused.other_node(), 0, 0, refused.reason()});
}

void SubscriberImpl::OnDisconnected() {
  const std::lock_guard lock(mutex_);
  disconnected_ = true;
  joining_changed_.notify_all();
}

void SubscriberImpl::WakeCaller() {
  waiter_->Notify();
  if (end_requested_ != EndReason::kNotEnded) joining_changed_.notify_all();
}

void SubscriberImpl::Apply() {
  for (auto& link : added_) AddLink(std::move(link));
  added_.clear();
  for (const uint64_t link_id : downed_) {
    for (auto& link : links_) {
      if (link->id != link_id || link->down) continue;
      link->down = true;
      ++down_links_;
    }
  }
  // A publisher that died after its last record may not have set our ready byte any more: look at
  // the rings themselves, which makes the poller take up those that hold something.
  if (!downed_.empty()) static_cast<void>(poller_.HasWork(transport::Look::kThorough));
  downed_.clear();
  if (end_requested_ > ended_) LeaveAll();
  LetGoOfDrained();
}

void SubscriberImpl::AddLink(std::unique_ptr<Link> link) {
  const transport::Status added = poller_.Add(std::move(link->added));
  if (added.ok()) {
    links_.push_back(std::move(link));
    return;
  }
  const v1::NodeRequest farewell = RefusalOf(*link, added.message());
  link.reset();  // whoever hears of it may give the ring's memory to others
  node_->Post(farewell);
}

v1::NodeRequest SubscriberImpl::RefusalOf(const Link& link, const std::string& detail) {
  corrupt_links_.Add(1);
  TellOf(Event::Kind::kGone, link, detail);
  node_->DeliverEvents();
  v1::NodeRequest farewell;
  farewell.mutable_link_corrupt()->set_endpoint_id(id_);
  farewell.mutable_link_corrupt()->set_link_id(link.id);
  farewell.mutable_link_corrupt()->set_detail(detail);
  *farewell.mutable_link_corrupt()->mutable_counters() = CountersOf(link);
  StopJoining(link.id);
  return farewell;
}

void SubscriberImpl::LeaveAll() {
  ended_ = end_requested_;
  if (ended_ == EndReason::kEvicted) {
    // Nobody reuses the rings of a node before it dies, so what is in them can still be read.
    for (auto& link : links_) link->down = true;
    down_links_ = links_.size();
    return;
  }
  v1::NodeRequest request;
  request.mutable_unregister()->set_id(id_);
  for (const auto& link : links_) {
    *request.mutable_unregister()->add_counters() = CountersOf(*link);
    KeepNamesOf(*link);
    poller_.Remove(link->id);
  }
  links_.clear();
  down_links_ = 0;
  if (id_ != 0) node_->Post(request);
}

void SubscriberImpl::LetGoOfDrained() {
  for (size_t i = 0; i < links_.size() && down_links_ > 0;) {
    if (!links_[i]->down || links_[i]->reader->Peek()) {
      ++i;
      continue;
    }
    v1::NodeRequest farewell;
    farewell.mutable_link_closed()->set_endpoint_id(id_);
    farewell.mutable_link_closed()->set_link_id(links_[i]->id);
    *farewell.mutable_link_closed()->mutable_counters() = CountersOf(*links_[i]);
    Detach(i, farewell);
  }
  CountLinks();
  if (!exhausted() || ended_told_) return;
  ended_told_ = true;
  if (fd_in_use_) Rearm();
  if (id_ != 0) node_->OnEndpointEnded();
}

void SubscriberImpl::Detach(size_t index, const v1::NodeRequest& farewell) {
  const std::unique_ptr<Link> link = std::move(links_[index]);
  if (link->down) --down_links_;
  links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(index));
  KeepNamesOf(*link);
  poller_.Remove(link->id);
  node_->Post(farewell);
}

// A link may go between two calls, on the session's thread, while the application has a message of
// it.
void SubscriberImpl::KeepNamesOf(const Link& link) {
  if (last_link_ == nullptr) return;
  last_names_ = last_link_ == &link ? link.names : nullptr;
  if (last_link_ == &link) last_link_ = nullptr;
}

void SubscriberImpl::Quarantine(uint64_t link_id, const std::string& detail) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < links_.size(); ++i) {
    if (links_[i]->id != link_id) continue;
    Detach(i, RefusalOf(*links_[i], detail));
    break;
  }
  CountLinks();
}

void SubscriberImpl::CountLinks() { linked_ = static_cast<uint32_t>(links_.size() - down_links_); }

void SubscriberImpl::AddCounters(v1::Counters* counters) {
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  for (const auto& link : links_) {
    v1::LinkCounters* const counted = counters->add_links();
    *counted = CountersOf(*link);
    // A clock on the data path would cost every message; so whoever asks learns when it had last
    // moved, as far as anybody asked.
    if (counted->delivered() != link->answered) {
      link->answered = counted->delivered();
      link->answered_at = now;
    }
    const auto age = now - link->answered_at;
    counted->set_read_age_ms(
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(age).count()));
  }
}

v1::LinkCounters SubscriberImpl::CountersOf(const Link& link) {
  const transport::LinkCounters counted = link.reader->counters();
  v1::LinkCounters counters;
  counters.set_link_id(link.id);
  counters.set_delivered(counted.records);
  counters.set_delivered_bytes(counted.bytes);
  counters.set_overwritten(counted.overwritten);
  counters.set_first_overwritten(counted.first_overwritten);
  counters.set_last_overwritten(counted.last_overwritten);
  return counters;
}

void SubscriberImpl::AddLeft(std::vector<uint64_t>* link_ids) const {
  const std::lock_guard lock(mutex_);
  for (const auto* links : {&links_, &added_}) {
    for (const auto& link : *links) {
      if (link->down || !link->reader->producer_left()) continue;
      if (std::find(downed_.begin(), downed_.end(), link->id) == downed_.end()) {
        link_ids->push_back(link->id);
      }
    }
  }
}

}  // namespace ivmq::internal
