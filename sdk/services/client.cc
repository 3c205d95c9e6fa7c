#include "ivmq/client.h"

#include <cstring>
#include <utility>

#include "sdk/services/client_impl.h"
#include "sdk/services/copies.h"

namespace ivmq {
namespace {

Status MovedFromStatus() { return {Code::kClosed, "this object was moved from"}; }

BytesClient::Fill CopyOf(std::span<const std::byte> query) {
  return [query](std::span<std::byte> out) {
    if (!query.empty()) std::memcpy(out.data(), query.data(), query.size());
    return true;
  };
}

}  // namespace

PendingCall::PendingCall() = default;
PendingCall::PendingCall(std::weak_ptr<internal::ClientImpl> client, uint64_t id)
    : client_(std::move(client)), id_(id) {}
PendingCall::PendingCall(const PendingCall&) = default;
PendingCall& PendingCall::operator=(const PendingCall&) = default;
PendingCall::~PendingCall() = default;
void PendingCall::Cancel() {
  if (const auto client = client_.lock()) client->Cancel(id_);
}

BytesReplyReader::BytesReplyReader(std::shared_ptr<internal::ClientImpl> client, uint64_t id)
    : client_(std::move(client)), id_(id) {}
BytesReplyReader::BytesReplyReader(BytesReplyReader&&) noexcept = default;
BytesReplyReader& BytesReplyReader::operator=(BytesReplyReader&& other) noexcept {
  if (this != &other) {
    if (client_ != nullptr) client_->EndStream(id_);
    client_ = std::move(other.client_);
    id_ = other.id_;
  }
  return *this;
}
BytesReplyReader::~BytesReplyReader() {
  if (client_ != nullptr) client_->EndStream(id_);
}
Result<bool> BytesReplyReader::Next(std::chrono::nanoseconds timeout, const Take& take) {
  if (client_ == nullptr) return MovedFromStatus();
  return client_->NextOfStream(id_, timeout, take);
}
Result<std::optional<Bytes>> BytesReplyReader::Next(std::chrono::nanoseconds timeout) {
  std::optional<Bytes> piece;
  const auto got = Next(timeout, [&piece](std::span<const std::byte> bytes) {
    piece.emplace(bytes.begin(), bytes.end());
    return Status();
  });
  if (!got.ok()) return got.status();
  return piece;
}
void BytesReplyReader::Cancel() {
  if (client_ != nullptr) client_->Cancel(id_);
}

BytesClient::BytesClient(std::shared_ptr<internal::ClientImpl> impl)
    : impl_(internal::ClosedWithLastCopy(std::move(impl))) {}
BytesClient::BytesClient(const BytesClient&) = default;
BytesClient& BytesClient::operator=(const BytesClient&) = default;
BytesClient::BytesClient(BytesClient&&) noexcept = default;
BytesClient& BytesClient::operator=(BytesClient&&) noexcept = default;
BytesClient::~BytesClient() = default;

Result<Bytes> BytesClient::Call(std::span<const std::byte> query,
                                std::chrono::nanoseconds timeout) {
  Bytes reply;
  const Status status =
      Call(query.size(), CopyOf(query), timeout, [&reply](std::span<const std::byte> bytes) {
        reply.assign(bytes.begin(), bytes.end());
        return Status();
      });
  return status.ok() ? Result<Bytes>(std::move(reply)) : Result<Bytes>(status);
}
Status BytesClient::Call(size_t query_bytes, const Fill& fill, std::chrono::nanoseconds timeout,
                         const Take& take) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->Call(query_bytes, fill, timeout, take);
}
Result<PendingCall> BytesClient::CallAsync(std::span<const std::byte> query,
                                           std::chrono::nanoseconds timeout, Callback callback) {
  return CallAsync(query.size(), CopyOf(query), timeout, std::move(callback));
}
Result<PendingCall> BytesClient::CallAsync(size_t query_bytes, const Fill& fill,
                                           std::chrono::nanoseconds timeout, Callback callback) {
  if (impl_ == nullptr) return MovedFromStatus();
  const auto id = impl_->CallAsync(query_bytes, fill, timeout, std::move(callback));
  if (!id.ok()) return id.status();
  // Not this copy: who cancels must not be the one with whom the last copy goes.
  return PendingCall(impl_->weak_from_this(), id.value());
}
Result<BytesReplyReader> BytesClient::CallStream(std::span<const std::byte> query,
                                                 std::chrono::nanoseconds timeout) {
  return CallStream(query.size(), CopyOf(query), timeout);
}
Result<BytesReplyReader> BytesClient::CallStream(size_t query_bytes, const Fill& fill,
                                                 std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return MovedFromStatus();
  const auto id = impl_->CallStream(query_bytes, fill, timeout);
  if (!id.ok()) return id.status();
  return BytesReplyReader(impl_, id.value());
}
Status BytesClient::WaitForServers(uint32_t count, std::chrono::nanoseconds timeout) {
  if (impl_ == nullptr) return MovedFromStatus();
  return impl_->WaitForServers(count, timeout);
}
uint32_t BytesClient::servers() const { return impl_ == nullptr ? 0 : impl_->servers(); }
size_t BytesClient::max_query_bytes() const {
  return impl_ == nullptr ? 0 : impl_->max_query_bytes();
}
const std::string& BytesClient::service() const {
  static const std::string none;
  return impl_ == nullptr ? none : impl_->service();
}
ClientCounters BytesClient::counters() const {
  return impl_ == nullptr ? ClientCounters() : impl_->counters();
}
void BytesClient::Close() {
  if (impl_ != nullptr) impl_->Close();
}

}  // namespace ivmq
