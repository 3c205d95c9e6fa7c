// The data path of a subscriber; its links' life is in subscriber_links.cc.

#include "sdk/pubsub/subscriber_impl.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/threads/handler_scope.h"
#include "transport/message_extension.h"

namespace ivmq::internal {

using transport::LinkReader;
using transport::Look;
using transport::RecordView;

namespace {

// Before a wait begins to count time, which costs more than these looks where the answer is on its
// way. Eight times as many are no faster.
constexpr int kLooksWithoutClock = 64;

// How many messages of other links may pass before the memory of a dead one is given back.
constexpr uint32_t kMessagesPerLetGo = 64;

// More than a publisher can have dropped on one link, and sums with what it wrote without a carry.
constexpr uint64_t kDroppedMax = uint64_t{1} << 56;

// Short enough to need no memory of its own.
Status TimeoutStatus() { return {Code::kTimeout, "nothing came"}; }

}  // namespace

Status SubscriberImpl::Admit(const Call& call) const {
  if (!call.entered()) [[unlikely]]
    return ReenteredStatus();
  return {};
}

Status SubscriberImpl::TakenStatus() const {
  return {Code::kFailedPrecondition,
          "topic '" + topic_ + "': messages go to SubscriberOptions::on_message"};
}

template <class Take>
Status SubscriberImpl::Await(std::chrono::nanoseconds timeout, const Take& take) {
  if (TakeInterrupt()) [[unlikely]]
    return TimeoutStatus();
  if (take(0)) return {};
  if (exhausted()) return EndedStatus(ended_, topic_);
  if (timeout.count() <= 0) {
    if (fd_in_use_) Rearm();
    return TimeoutStatus();
  }
  if (waiter_->spins() && take(kLooksWithoutClock)) return {};
  const auto deadline = DeadlineAfter(timeout);
  for (;;) {
    const auto result = waiter_->Wait(deadline, [this](Look look) { return HasWork(look); });
    const bool found = take(0);
    if (found || exhausted()) {
      if (fd_in_use_ && found) Rearm();
      return found ? Status() : EndedStatus(ended_, topic_);
    }
    if (result == transport::WaitResult::kDeadline || TakeInterrupt()) {
      if (fd_in_use_) Rearm();
      return TimeoutStatus();
    }
  }
}

Result<BytesMessage> SubscriberImpl::Receive(std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  if (on_message_) [[unlikely]]
    return TakenStatus();
  const Call call(this);
  if (Status status = Admit(call); !status.ok()) [[unlikely]]
    return status;
  BytesMessage message;
  if (Status status = Await(timeout, [&](int looks) { return Next(&message, looks); });
      !status.ok()) {
    return status;
  }
  return message;
}

Result<size_t> SubscriberImpl::Poll(size_t limit, const BytesSubscriber::Handler& handler) {
  if (forked()) return ForkedStatus();
  if (on_message_) [[unlikely]]
    return TakenStatus();
  const Call call(this);
  if (Status status = Admit(call); !status.ok()) [[unlikely]]
    return status;
  return PollInside(limit, handler);
}

Result<size_t> SubscriberImpl::PollInside(size_t limit, const BytesSubscriber::Handler& handler) {
  if (TakeInterrupt()) [[unlikely]]
    return size_t{0};
  const HandlerScope scope(node_.get());
  size_t count = 0;
  BytesMessage message;
  LinkReader* reader = nullptr;  // whose turn it is
  RecordView record;
  while (count < limit && (MoreOf(reader, &record) || NextRecord(&reader, &record, 0))) {
    if (!TakeRecord(reader, record, &message)) [[unlikely]] {
      reader = nullptr;
      continue;
    }
    if (++count == limit) reader->ReportIfCaughtUp();
    if (MindDrained()) [[unlikely]]
      reader = nullptr;
    handler(message);
  }
  if (count == limit) return count;  // More may be there: the fd stays as readable as it is.
  if (count == 0 && exhausted()) return EndedStatus(ended_, topic_);
  if (fd_in_use_) Rearm();
  return count;
}

Result<BytesMessage> SubscriberImpl::Borrow(std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  if (on_message_) return TakenStatus();
  // The links stay as they are until the message is back.
  auto call = std::make_unique<Call>(this);
  if (Status status = Admit(*call); !status.ok()) return status;
  BytesMessage message;
  if (Status status = Await(timeout, [&](int looks) { return NextInPlace(&message, looks); });
      !status.ok()) {
    return status;
  }
  borrowing_ = std::move(call);
  return message;
}

void SubscriberImpl::ReturnBorrowed() {
  if (forked() || borrowing_ == nullptr) return;
  if (borrowed_from_ != nullptr) {
    borrowed_from_->Release();
    borrowed_from_->ReportIfCaughtUp();
    borrowed_from_ = nullptr;
    MindDrained();  // not before: it may be the link that the message was borrowed from
  }
  const std::unique_ptr<Call> ends_here = std::move(borrowing_);
}

bool SubscriberImpl::Next(BytesMessage* message, int looks) {
  LinkReader* reader = nullptr;
  RecordView record;
  while (NextRecord(&reader, &record, looks)) {
    if (!TakeRecord(reader, record, message)) [[unlikely]]
      continue;
    reader->ReportIfCaughtUp();
    MindDrained();
    return true;
  }
  return false;
}

inline bool SubscriberImpl::TakeRecord(LinkReader* reader, const RecordView& record,
                                       BytesMessage* message) {
  if (record.size > buffer_.size()) [[unlikely]]
    buffer_.resize(std::max(record.size, LinkOf(*reader)->record_bytes_max));
  if (record.size > 0) std::memcpy(buffer_.data(), record.data, record.size);
  reader->Release();
  message->bytes = {buffer_.data(), record.size};
  return Describe(reader, record, message->bytes, message);
}

bool SubscriberImpl::NextInPlace(BytesMessage* message, int looks) {
  LinkReader* reader = nullptr;
  RecordView record;
  while (NextRecord(&reader, &record, looks)) {
    message->bytes = {record.data, record.size};
    // What has to be checked is copied first; the message itself stays where it is.
    const size_t block = std::min(record.size, transport::kMaxExtensionBytes);
    if (record.flags != 0) {
      if (buffer_.size() < block) buffer_.resize(transport::kMaxExtensionBytes);
      std::memcpy(buffer_.data(), record.data, block);
    }
    if (!Describe(reader, record, std::span(buffer_).first(record.flags == 0 ? 0 : block),
                  message)) {
      continue;
    }
    borrowed_from_ = reader;
    return true;
  }
  return false;
}

inline bool SubscriberImpl::MoreOf(LinkReader* reader, RecordView* record) {
  return reader != nullptr && !pending() && poller_.More(reader, record);
}

bool SubscriberImpl::NextRecord(LinkReader** reader, RecordView* record, int looks) {
  if (pending()) [[unlikely]]
    TakePending();
  if (poller_.Next(reader, record)) [[likely]]
    return true;
  for (; looks > 0; --looks) {
    if (poller_.Again(reader, record)) return true;
  }
  // Whoever looks for the next message has done with the last one.
  last_link_ = nullptr;
  last_names_.reset();
  OnNothingThere();
  return false;
}

inline bool SubscriberImpl::Describe(LinkReader* reader, const RecordView& record,
                                     std::span<const std::byte> checked, BytesMessage* message) {
  Link* const link = LinkOf(*reader);
  message->info = {link->topic, link->id, record.sequence + link->dropped, 0, nullptr, link->type};
  if (record.flags != 0 && !ReadNotes(link, record.flags, checked, message)) [[unlikely]]
    return false;
  if (link->keeps_last && reader->lost() > 0) {
    message->info.gap += reader->lost();
    overwritten_.Add(reader->lost());
  }
  messages_.Add(1);
  last_link_ = link;
  return true;
}

bool SubscriberImpl::ReadNotes(Link* link, uint8_t flags, std::span<const std::byte> checked,
                               BytesMessage* message) {
  if (flags != ringbuf::kFlagExtension) {
    Quarantine(link->id, "record flags " + std::to_string(flags) + ", only " +
                             std::to_string(ringbuf::kFlagExtension) + " is known");
    return false;
  }
  size_t bytes = 0;
  const auto result = notes_.Read(checked, &bytes);
  if (result != transport::ExtensionResult::kOk) {
    Quarantine(link->id, "a record's extension: " + std::string(transport::Describe(result)));
    return false;
  }
  if (notes_.dropped() > (link->may_drop ? kDroppedMax - link->dropped : 0)) {
    Quarantine(link->id, "a record that tells of " + std::to_string(notes_.dropped()) +
                             " dropped before it, on a link that " +
                             (link->may_drop ? "cannot have dropped so many" : "drops none"));
    return false;
  }
  message->bytes = message->bytes.subspan(bytes);
  message->info.gap = notes_.dropped();
  message->info.notes = notes_.notes();
  if (notes_.notes()->published.has_value()) notes_.notes()->received = node_->clock()->Now();
  if (notes_.dropped() > 0) {
    link->dropped += notes_.dropped();
    message->info.sequence += notes_.dropped();
    dropped_full_.Add(notes_.dropped());
  }
  return true;
}

bool SubscriberImpl::MindDrained() {
  if (down_links_ == 0 && !poller_.has_corrupt()) [[likely]]
    return false;
  if (until_let_go_-- != 0) return false;
  until_let_go_ = kMessagesPerLetGo;
  OnNothingThere();  // there may always be something on another link
  return true;
}

void SubscriberImpl::OnNothingThere() {
  if (poller_.has_corrupt()) {
    for (const auto& corrupt : poller_.TakeCorrupt()) {
      Quarantine(corrupt.link_id, "the publisher wrote nonsense into the ring");
    }
  }
  if (down_links_ > 0) {
    const std::lock_guard lock(mutex_);
    LetGoOfDrained();
  }
}

bool SubscriberImpl::TakeInterrupt() {
  return interrupted_.load(std::memory_order_relaxed) &&
         interrupted_.exchange(false, std::memory_order_relaxed);
}

void SubscriberImpl::Interrupt() {
  if (forked()) return;
  interrupted_.store(true, std::memory_order_relaxed);
  waiter_->Notify();  // releases the flag to who is notified
}

int SubscriberImpl::fd() {
  if (forked()) return -1;
  // The callback thread has asked before the application had the subscriber, and may be inside.
  if (on_message_ && fd_in_use_) return waiter_->fd();
  const Call call(this);
  if (!fd_in_use_) {
    if (!call.entered()) return -1;  // Nobody would arm it.
    fd_in_use_ = true;
    Rearm();
  }
  return waiter_->fd();
}

void SubscriberImpl::Rearm() {
  if (exhausted()) {
    waiter_->DisarmFd();
    waiter_->Notify();  // Readable for good: the next call says CLOSED.
    return;
  }
  waiter_->DisarmFd();
  waiter_->ArmFd([this](Look look) { return HasWork(look); });
}

}  // namespace ivmq::internal
