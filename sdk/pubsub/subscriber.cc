#include "ivmq/subscriber.h"

#include <utility>

#include "sdk/pubsub/subscriber_impl.h"

namespace ivmq {
namespace {

// In a forked child the object is left alone: what it refers to is not there.
void Destroy(std::shared_ptr<internal::SubscriberImpl>* impl, bool close) {
  if (*impl == nullptr) return;
  if ((*impl)->forked()) {
    static_cast<void>(new std::shared_ptr<internal::SubscriberImpl>(std::move(*impl)));
    return;
  }
  if (close) (*impl)->Close();
  impl->reset();
}

Status MovedFromStatus() { return {Code::kClosed, "this subscriber was moved from"}; }

}  // namespace

BytesSubscriber::BytesSubscriber(std::shared_ptr<internal::SubscriberImpl> impl)
    : impl_(std::move(impl)) {}
BytesSubscriber::BytesSubscriber(BytesSubscriber&&) noexcept = default;
BytesSubscriber& BytesSubscriber::operator=(BytesSubscriber&& other) noexcept {
  if (this != &other) {
    Destroy(&impl_, true);
    impl_ = std::move(other.impl_);
  }
  return *this;
}
BytesSubscriber::~BytesSubscriber() { Destroy(&impl_, true); }

Result<BytesMessage> BytesSubscriber::Receive(std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->Receive(timeout);
}
Result<size_t> BytesSubscriber::Poll(size_t limit, const Handler& handler) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->Poll(limit, handler);
}
Result<BorrowedMessage> BytesSubscriber::Borrow(std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return MovedFromStatus();
  auto message = impl_->Borrow(timeout);
  if (!message.ok()) return message.status();
  return BorrowedMessage(impl_, *message);
}

BorrowedMessage& BorrowedMessage::operator=(BorrowedMessage&& other) noexcept {
  if (this != &other) {
    Return();
    from_ = std::move(other.from_);
    message_ = other.message_;
  }
  return *this;
}
BorrowedMessage::~BorrowedMessage() { Return(); }
void BorrowedMessage::Return() {
  if (from_ != nullptr) from_->ReturnBorrowed();
  Destroy(&from_, /*close=*/false);
}

int BytesSubscriber::fd() { return impl_ == nullptr ? -1 : impl_->fd(); }
void BytesSubscriber::Interrupt() {
  if (impl_ != nullptr) impl_->Interrupt();
}
uint32_t BytesSubscriber::publishers() const { return impl_ == nullptr ? 0 : impl_->publishers(); }
const std::string& BytesSubscriber::topic() const {
  static const std::string none;
  return impl_ == nullptr ? none : impl_->topic();
}
SubscriberCounters BytesSubscriber::counters() const {
  return impl_ == nullptr ? SubscriberCounters() : impl_->counters();
}
void BytesSubscriber::Close() {
  if (impl_ != nullptr) impl_->Close();
}
void BytesSubscriber::CountUndecodable() {
  if (impl_ != nullptr) impl_->CountUndecodable();
}

}  // namespace ivmq
