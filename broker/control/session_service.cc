#include "broker/control/session_service.h"

#include <optional>
#include <string>
#include <utility>

namespace ivmq::control {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace

std::shared_ptr<SessionCall> SessionCall::Create(SessionService* service) {
  std::shared_ptr<SessionCall> call(new SessionCall(service));
  call->self_ = call;
  return call;
}

void SessionCall::Begin(Realm* realm, const AgentKey& key) {
  session_ = std::make_unique<GuestSession>(realm, key, this);
  StartRead(&request_);
}

void SessionCall::OnReadDone(bool ok) {
  service_->tasks()->Post([self = self_, ok] { self->OnRead(ok); });
}

void SessionCall::OnRead(bool ok) {
  if (session_ == nullptr) return;
  if (!ok) {
    // Half-closed, or broken. Ours to finish in both cases.
    session_->OnBroken();
    return Finish(absl::OkStatus());
  }
  session_->Handle(request_);
  if (!finished_) StartRead(&request_);
}

bool SessionCall::Push(const v1::NodeEvent& event) {
  if (Writer::Push(event)) return true;
  // Not from here: the caller may be walking over the very links that this ends.
  service_->tasks()->Post([self = self_] {
    if (self == nullptr || self->session_ == nullptr) return;
    self->session_->OnBroken();
    self->Finish(absl::ResourceExhaustedError("the agent did not read the events of this node"));
  });
  return false;
}

void SessionCall::Finish(const absl::Status& status) {
  if (std::exchange(finished_, true)) return;
  status.ok() ? FinishAfterQueue(grpc::Status::OK) : FinishNow(ToGrpc(status));
}

void SessionCall::OnCancel() {
  service_->tasks()->Post([self = self_] { self->OnCancelled(); });
}

void SessionCall::OnCancelled() {
  if (session_ != nullptr) session_->OnBroken();
  Finish(absl::CancelledError("the agent's connection is gone"));
}

void SessionCall::OnDone() {
  // The session goes on the loop's thread, where its realm lives.
  service_->tasks()->Post([self = std::exchange(self_, nullptr)] {
    if (self->session_ != nullptr) self->session_->OnBroken();
    self->session_.reset();
  });
}

grpc::ServerBidiReactor<v1::NodeRequest, v1::NodeEvent>* SessionService::Session(
    grpc::CallbackServerContext* context) {
  // Now, while the connection is certainly still there.
  const std::optional<AgentKey> key = streams_->Find(context->peer());
  const std::shared_ptr<SessionCall> call = SessionCall::Create(this);
  SessionCall* reactor = call.get();
  tasks_->Post([this, call, key] {
    Realm* realm = key ? FindRealm(key->realm) : nullptr;
    if (realm == nullptr) {
      return call->Finish(absl::PermissionDeniedError("only agents of guests have sessions here"));
    }
    call->Begin(realm, *key);
  });
  return reactor;
}

Realm* SessionService::FindRealm(uint32_t index) const {
  const auto found = realms_->find(index);
  return found == realms_->end() ? nullptr : found->second.get();
}

}  // namespace ivmq::control
