#include "ivmq/server.h"

#include <cstring>
#include <utility>

#include "sdk/services/copies.h"
#include "sdk/services/server_impl.h"

namespace ivmq {
namespace {

Status MovedFromStatus() { return {Code::kClosed, "this server was moved from"}; }

BytesServerCall::Fill CopyOf(std::span<const std::byte> bytes) {
  return [bytes](std::span<std::byte> out) {
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return true;
  };
}

}  // namespace

bool ServerContext::cancelled() const { return server_->Cancelled(job_); }
std::chrono::steady_clock::time_point ServerContext::deadline() const { return job_->deadline; }
const std::string& ServerContext::client() const { return job_->from->node; }
const std::string& ServerContext::query_type() const { return job_->from->query_type; }

std::span<const std::byte> BytesServerCall::query() const { return job_->query; }
Status BytesServerCall::Reply(size_t bytes, const Fill& fill) {
  return server_->Reply(job_, bytes, fill);
}
Status BytesServerCall::Reply(std::span<const std::byte> reply) {
  return Reply(reply.size(), CopyOf(reply));
}
Status BytesServerCall::Write(size_t bytes, const Fill& fill) {
  return server_->Write(job_, bytes, fill);
}
Status BytesServerCall::Write(std::span<const std::byte> piece) {
  return Write(piece.size(), CopyOf(piece));
}

BytesServer::BytesServer(std::shared_ptr<internal::ServerImpl> impl)
    : impl_(internal::ClosedWithLastCopy(std::move(impl))) {}
BytesServer::BytesServer(const BytesServer&) = default;
BytesServer& BytesServer::operator=(const BytesServer&) = default;
BytesServer::BytesServer(BytesServer&&) noexcept = default;
BytesServer& BytesServer::operator=(BytesServer&&) noexcept = default;
BytesServer::~BytesServer() = default;

Status BytesServer::RunOnce(std::chrono::nanoseconds timeout) {
  return impl_ == nullptr ? MovedFromStatus() : impl_->RunOnce(timeout);
}
Status BytesServer::Run() { return impl_ == nullptr ? MovedFromStatus() : impl_->Run(); }
void BytesServer::Interrupt() {
  if (impl_ != nullptr) impl_->Interrupt();
}
uint32_t BytesServer::clients() const { return impl_ == nullptr ? 0 : impl_->clients(); }
const std::string& BytesServer::service() const {
  static const std::string none;
  return impl_ == nullptr ? none : impl_->service();
}
ServerCounters BytesServer::counters() const {
  return impl_ == nullptr ? ServerCounters() : impl_->counters();
}
void BytesServer::Close() {
  if (impl_ != nullptr) impl_->Close();
}

}  // namespace ivmq
