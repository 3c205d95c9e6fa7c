#include "broker/control/guest_session.h"

#include <fmt/core.h>

namespace ivmq::control {
namespace {

absl::Status OfNoAgent() {
  return absl::PermissionDeniedError(
      "the session nonce is not that of this peer's agent; the agent must say hello anew");
}

}  // namespace

const Agent* GuestSession::CurrentAgent() const {
  const auto peer = realm_->state.peers.find(key_.peer);
  if (peer == realm_->state.peers.end() || peer->second.evicted || !peer->second.agent) {
    return nullptr;
  }
  const Agent& agent = *peer->second.agent;
  return agent.holder == key_.holder ? &agent : nullptr;
}

void GuestSession::Handle(const v1::NodeRequest& request) {
  if (finished_) return;
  absl::Status status;
  if (request.has_attached()) {
    status = OnAttached(request.attached());
  } else if (request.has_exited()) {
    status = OnExited(request.exited());
  } else if (session_ && request.has_hello() && CurrentAgent() == nullptr) {
    status = OfNoAgent();
  } else if (session_) {
    session_->Handle(request);
  } else {
    status = absl::FailedPreconditionError("the first message of a session must be `attached`");
  }
  if (status.ok()) return;
  OnBroken();
  carrier_->Finish(status);
}

absl::Status GuestSession::OnAttached(const v1::AttachedProcess& process) {
  if (session_) return absl::FailedPreconditionError("`attached` came twice");
  const Agent* agent = CurrentAgent();
  if (agent == nullptr || process.session_nonce() != agent->session_nonce) {
    return OfNoAgent();
  }
  if (process.vector() >= realm_->state.info.vectors) {
    return absl::InvalidArgumentError(fmt::format("vector {} of {}: there is no such vector",
                                                  process.vector(), realm_->state.info.vectors));
  }
  origin_.peer_id = key_.peer;
  origin_.pid = process.pid();
  origin_.uid = process.uid();
  origin_.gid = process.gid();
  origin_.start_time = process.start_time();
  origin_.vector = process.vector();
  origin_.polls = !process.interrupts();
  origin_.agent_nonce = agent->nonce;
  origin_.connection_id = process.connection_id();
  session_.emplace(realm_, this, origin_);
  return absl::OkStatus();
}

absl::Status GuestSession::OnExited(const v1::ProcessExited& exited) {
  const Agent* agent = CurrentAgent();
  if (!session_ || agent == nullptr || exited.session_nonce() != agent->session_nonce ||
      exited.connection_id() != origin_.connection_id) {
    return absl::PermissionDeniedError("a proof of death of another session");
  }
  session_->Leave(SideEvent::kDied);
  realm_->registry.ProcessDied(origin_);
  finished_ = true;
  carrier_->Finish(absl::OkStatus());
  return absl::OkStatus();
}

void GuestSession::OnBroken() {
  finished_ = true;
  if (session_) session_->Leave(SideEvent::kLost);
}

void GuestSession::OnRoom() {
  if (session_ && !finished_ && !overrun_ && HasRoom()) session_->OnRoom();
}

void GuestSession::Send(const v1::NodeEvent& event, std::span<const int> /*fds*/) {
  if (finished_ || overrun_) return;
  overrun_ = !carrier_->Push(event);
}

void GuestSession::Close() {
  if (finished_) return;
  finished_ = true;
  carrier_->Finish(absl::OkStatus());
}

}  // namespace ivmq::control
