// The data path of a subscriber; its links' life is in subscriber_links.cc.

#include "sdk/subscriber_impl.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sdk/convert.h"
#include "sdk/handler_scope.h"
#include "sdk/node_impl.h"

namespace ivmq::internal {

using transport::LinkReader;
using transport::Look;
using transport::RecordView;

namespace {

// How many messages of other links may pass before the memory of a dead one is given back.
constexpr uint32_t kMessagesPerLetGo = 64;

// Short enough to need no memory of its own.
Status TimeoutStatus() { return {Code::kTimeout, "nothing came"}; }

}  // namespace

Result<BytesMessage> SubscriberImpl::Receive(std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  const Call call(this);
  if (!call.entered()) [[unlikely]]
    return ReenteredStatus();
  if (TakeInterrupt()) [[unlikely]]
    return TimeoutStatus();
  BytesMessage message;
  if (Next(&message)) return message;
  if (exhausted()) return EndedStatus(ended_, topic_);
  if (timeout.count() <= 0) {
    if (fd_in_use_) Rearm();
    return TimeoutStatus();
  }
  const auto deadline = DeadlineAfter(timeout);
  for (;;) {
    const auto result = waiter_->Wait(deadline, [this](Look look) { return HasWork(look); });
    const bool found = Next(&message);
    if (found || exhausted()) {
      if (fd_in_use_ && found) Rearm();
      return found ? Result<BytesMessage>(message) : EndedStatus(ended_, topic_);
    }
    if (result == transport::WaitResult::kDeadline || TakeInterrupt()) {
      if (fd_in_use_) Rearm();
      return TimeoutStatus();
    }
  }
}

Result<size_t> SubscriberImpl::Poll(size_t limit, const BytesSubscriber::Handler& handler) {
  if (forked()) return ForkedStatus();
  const Call call(this);
  if (!call.entered()) [[unlikely]]
    return ReenteredStatus();
  if (TakeInterrupt()) [[unlikely]]
    return size_t{0};
  const HandlerScope scope(node_.get());
  size_t count = 0;
  BytesMessage message;
  while (count < limit && Next(&message)) {
    ++count;
    handler(message);
  }
  if (count == limit) return count;  // More may be there: the fd stays as readable as it is.
  if (count == 0 && exhausted()) return EndedStatus(ended_, topic_);
  if (fd_in_use_) Rearm();
  return count;
}

bool SubscriberImpl::Next(BytesMessage* message) {
  for (;;) {
    if (pending()) [[unlikely]]
      TakePending();
    LinkReader* reader = nullptr;
    RecordView record;
    if (!poller_.Next(&reader, &record)) {
      OnNothingThere();
      return false;
    }
    if (record.flags != 0) [[unlikely]] {
      const uint64_t link_id = reader->link_id();
      Quarantine(link_id, "record flags " + std::to_string(record.flags) + ", none are known");
      continue;
    }
    Take(reader, record, message);
    if (down_links_ > 0 && until_let_go_-- == 0) [[unlikely]] {
      until_let_go_ = kMessagesPerLetGo;
      const std::lock_guard lock(mutex_);
      LetGoOfDrained();
    }
    return true;
  }
}

void SubscriberImpl::Take(LinkReader* reader, const RecordView& record, BytesMessage* message) {
  if (record.size > buffer_.size()) [[unlikely]]
    buffer_.resize(reader->capacity() / 8);  // the largest that this link can bring
  if (record.size > 0) std::memcpy(buffer_.data(), record.data, record.size);
  reader->Release();
  messages_.Add(1);
  message->bytes = {buffer_.data(), record.size};
  message->info = {topic_, reader->link_id(), record.sequence, 0};
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
  const Call call(this);
  if (call.entered() && !fd_in_use_) {
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
