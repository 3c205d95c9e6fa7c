#include "ivmq/publisher.h"

#include <utility>

#include "sdk/pubsub/publisher_impl.h"

namespace ivmq {
namespace {

// In a forked child the object is left alone: what it refers to is not there.
void Destroy(std::unique_ptr<internal::PublisherImpl>* impl) {
  if (*impl != nullptr && (*impl)->forked()) static_cast<void>(impl->release());
  impl->reset();
}

Status MovedFromStatus() { return {Code::kClosed, "this publisher was moved from"}; }

}  // namespace

BytesPublisher::BytesPublisher(std::unique_ptr<internal::PublisherImpl> impl)
    : impl_(std::move(impl)) {}
BytesPublisher::BytesPublisher(BytesPublisher&&) noexcept = default;
BytesPublisher& BytesPublisher::operator=(BytesPublisher&& other) noexcept {
  if (this != &other) {
    Destroy(&impl_);
    impl_ = std::move(other.impl_);
  }
  return *this;
}
BytesPublisher::~BytesPublisher() { Destroy(&impl_); }

Result<Published> BytesPublisher::Publish(std::span<const std::byte> message) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->Write(message, true);
}
Result<Published> BytesPublisher::Publish(std::span<const std::byte> message,
                                          const PublishOptions& options) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->WriteNoted(message, options, true);
}
Result<Published> BytesPublisher::Write(std::span<const std::byte> message) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->Write(message, false);
}
void BytesPublisher::Flush() {
  if (impl_ != nullptr) impl_->Flush();
}
Result<Published> BytesPublisher::PublishInPlace(size_t bytes, const Fill& fill) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->WriteInPlace(bytes, fill, true);
}
Result<Published> BytesPublisher::PublishInPlace(size_t bytes, const Fill& fill,
                                                 const PublishOptions& options) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->WriteNotedInPlace(bytes, fill, options, true);
}
Result<Published> BytesPublisher::WriteInPlace(size_t bytes, const Fill& fill) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->WriteInPlace(bytes, fill, false);
}
Status BytesPublisher::Drain(std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->Drain(timeout);
}
Status BytesPublisher::WaitForSubscribers(uint32_t count, std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->WaitForSubscribers(count, timeout);
}
uint32_t BytesPublisher::subscribers() const { return impl_ == nullptr ? 0 : impl_->subscribers(); }
size_t BytesPublisher::max_message_bytes() const {
  return impl_ == nullptr ? 0 : impl_->max_message_bytes();
}
const std::string& BytesPublisher::topic() const {
  static const std::string none;
  return impl_ == nullptr ? none : impl_->topic();
}
PublisherCounters BytesPublisher::counters() const {
  return impl_ == nullptr ? PublisherCounters() : impl_->counters();
}
std::vector<PublisherLink> BytesPublisher::links() const {
  return impl_ == nullptr ? std::vector<PublisherLink>() : impl_->links();
}
void BytesPublisher::Close() {
  if (impl_ != nullptr) impl_->Close();
}

}  // namespace ivmq
