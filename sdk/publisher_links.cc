// How a publisher comes by its links and lets them go; the data path is in publisher_impl.cc.

#include <algorithm>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/convert.h"
#include "sdk/defaults.h"
#include "sdk/node_impl.h"
#include "sdk/publisher_impl.h"

namespace ivmq::internal {

Result<std::unique_ptr<PublisherImpl>> PublisherImpl::Make(std::shared_ptr<NodeImpl> node,
                                                           std::string_view topic,
                                                           const PublisherOptions& options) {
  if (Status status = CheckRingBytes(options.ring_bytes); !status.ok()) return status;
  std::unique_ptr<transport::Waiter> waiter;
  if (options.reliability.deadline().count() > 0) {
    transport::WaiterOptions waiting;
    waiting.strategy = StrategyOf(options.wait);
    auto opened = transport::Waiter::Open(node->wake(), waiting);
    if (!opened.ok()) return FromTransport(opened.status());
    waiter = std::move(opened).value();
  }
  return std::unique_ptr<PublisherImpl>(
      new PublisherImpl(std::move(node), topic, options, std::move(waiter)));
}

PublisherImpl::PublisherImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                             const PublisherOptions& options,
                             std::unique_ptr<transport::Waiter> waiter)
    : node_(std::move(node)),
      topic_(topic),
      ring_bytes_(options.ring_bytes == 0 ? kDefaultRingBytes : options.ring_bytes),
      patience_(options.reliability.deadline()),
      waiter_(std::move(waiter)) {}

PublisherImpl::~PublisherImpl() { Close(); }

bool PublisherImpl::forked() const { return node_->forked(); }

void PublisherImpl::Close() {
  if (forked()) return;
  End(EndReason::kClosed);
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = id_;
  }
  if (id != 0) node_->Forget(id);
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
  for (const auto& link : links_) counters.doorbells += link->writer.counters().doorbells;
  return counters;
}

void PublisherImpl::OnRegistered(uint64_t id) {
  const std::lock_guard lock(mutex_);
  id_ = id;
}

void PublisherImpl::OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) {
  v1::NodeRequest reply;
  auto writer = transport::LinkWriter::Open(node_->device(), AddressOf(link), std::move(doorbell));
  transport::Status status = writer.status();
  if (status.ok() && writer.value().max_record_bytes() < max_message_bytes()) {
    status =
        transport::Status(transport::Code::kInvalidArgument,
                          "a ring of " + std::to_string(link.ring_capacity()) +
                              " bytes, this publisher asked for " + std::to_string(ring_bytes_));
  }
  if (!status.ok()) {
    reply.mutable_link_corrupt()->set_endpoint_id(link.endpoint_id());
    reply.mutable_link_corrupt()->set_link_id(link.link_id());
    reply.mutable_link_corrupt()->set_detail(status.message());
    node_->Post(reply);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    auto added = std::make_unique<Link>(Link{std::move(writer).value(), link.other_node(), {}});
    added_.push_back(std::move(added));
    HandOver();
  }
  // From here on every publish sees it: whoever waits for this link misses nothing.
  reply.mutable_link_attached()->set_endpoint_id(link.endpoint_id());
  reply.mutable_link_attached()->set_link_id(link.link_id());
  node_->Post(reply);
}

bool PublisherImpl::OnLinkReady(uint64_t) { return false; }

bool PublisherImpl::OnLinkDown(uint64_t link_id) {
  const std::lock_guard lock(mutex_);
  for (auto* links : {&links_, &added_}) {
    for (auto& link : *links) {
      if (link->writer.link_id() != link_id) continue;
      link->down = true;
      HandOver();
      return true;
    }
  }
  return false;
}

void PublisherImpl::OnLinkRefused(const v1::LinkRefused& refused) {
  const std::lock_guard lock(mutex_);
  last_refusal_ = "node '" + refused.other_node() + "': " + refused.reason();
}

void PublisherImpl::OnDisconnected() {
  const std::lock_guard lock(mutex_);
  links_changed_.notify_all();
}

void PublisherImpl::WakeCaller() {
  if (waiter_ != nullptr) waiter_->Notify();
}

void PublisherImpl::Apply() {
  for (auto& link : added_) links_.push_back(std::move(link));
  added_.clear();
  const auto first_down = std::stable_partition(links_.begin(), links_.end(),
                                                [](const auto& link) { return !link->down; });
  for (auto link = first_down; link != links_.end(); ++link) TellClosed(**link);
  links_.erase(first_down, links_.end());
  if (links_.size() > 1 && scratch_.empty()) scratch_.resize(max_message_bytes());
  if (end_requested_ != EndReason::kNotEnded) LeaveAll();
  CountLinks();
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
    *request.mutable_unregister()->add_counters() = CountersOf(*link);
  }
  links_.clear();
  if (id_ == 0 || !first) return;
  node_->Post(request);
  node_->OnEndpointEnded();
}

void PublisherImpl::CountLinks() {
  linked_ = static_cast<uint32_t>(links_.size());
  links_changed_.notify_all();
}

void PublisherImpl::TellClosed(const Link& link) {
  Retire(link);
  v1::NodeRequest request;
  request.mutable_link_closed()->set_endpoint_id(id_);
  request.mutable_link_closed()->set_link_id(link.writer.link_id());
  *request.mutable_link_closed()->mutable_counters() = CountersOf(link);
  node_->Post(request);
}

void PublisherImpl::Retire(const Link& link) {
  retired_doorbells_ += link.writer.counters().doorbells;
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
  *request.mutable_link_corrupt()->mutable_counters() = CountersOf(**place);
  node_->Post(request);
  links_.erase(place);
  CountLinks();
}

void PublisherImpl::AddCounters(v1::Counters* counters) {
  const std::lock_guard lock(mutex_);
  for (const auto& link : links_) *counters->add_links() = CountersOf(*link);
}

v1::LinkCounters PublisherImpl::CountersOf(const Link& link) const {
  const transport::LinkCounters counted = link.writer.counters();
  v1::LinkCounters counters;
  counters.set_link_id(link.writer.link_id());
  counters.set_published(counted.records);
  counters.set_published_bytes(counted.bytes);
  counters.set_doorbells(counted.doorbells);
  counters.set_full(link.full.value());
  return counters;
}

}  // namespace ivmq::internal
