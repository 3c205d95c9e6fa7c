#include "broker/control/guest_session.h"

#include <fmt/core.h>

namespace ivmq::control {

const Agent* GuestSession::CurrentAgent() const {
  const auto peer = realm_->state.peers.find(key_.peer);
  if (peer == realm_->state.peers.end() || !peer->second.agent) return nullptr;
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
    return absl::PermissionDeniedError(
        "the session nonce is not that of this peer's agent; the agent must say hello anew");
  }
  if (process.vector() >= realm_->state.info.vectors) {
    return absl::InvalidArgumentError(fmt::format("vector {} of {}: there is no such vector",
                                                  process.vector(), realm_->state.info.vectors));
  }
  connection_id_ = process.connection_id();
  Origin origin;
  origin.peer_id = key_.peer;
  origin.pid = process.pid();
  origin.uid = process.uid();
  origin.gid = process.gid();
  origin.start_time = process.start_time();
  origin.vector = process.vector();
  origin.polls = !process.interrupts();
  origin.connection_id = process.connection_id();
  session_.emplace(realm_, this, origin);
  return absl::OkStatus();
}

absl::Status GuestSession::OnExited(const v1::ProcessExited& exited) {
  const Agent* agent = CurrentAgent();
  if (!session_ || agent == nullptr || exited.session_nonce() != agent->session_nonce ||
      exited.connection_id() != connection_id_) {
    return absl::PermissionDeniedError("a proof of death of another session");
  }
  session_->Leave(SideEvent::kDied);
  finished_ = true;
  carrier_->Finish(absl::OkStatus());
  return absl::OkStatus();
}

void GuestSession::OnBroken() {
  finished_ = true;
  if (session_) session_->Leave(SideEvent::kLost);
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
