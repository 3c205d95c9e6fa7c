#include "broker/control/session_service.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/control/guest_session.h"
#include "broker/control/queue_budget.h"
#include "broker/control/stream_call.h"

namespace ivmq::control {
namespace {

constexpr size_t kMaxQueuedBytes = 4 << 20;

using Stream = grpc::ServerAsyncReaderWriter<v1::NodeEvent, v1::NodeRequest>;

// One Session call: one process in a guest.
class SessionCall : public StreamCall<Stream, v1::NodeEvent>, public GuestSession::Carrier {
 public:
  static void Listen(const SessionServiceParts& parts) {
    const std::shared_ptr<SessionCall> made(new SessionCall(parts));
    SessionCall* call = made.get();
    call->WatchForEnd();
    parts.service->RequestSession(&call->context_, &call->stream_, parts.thread->queue(),
                                  parts.thread->queue(), call->Tag([call, parts](bool ok) {
                                    if (!ok) return call->ForgetEnd();  // the server shuts down
                                    Listen(parts);
                                    call->Begin();
                                  }));
  }

  bool Push(const v1::NodeEvent& event) override {
    if (!over_budget_ && StreamCall::Push(event)) {
      account_.Set(queued_bytes());
      return !over_budget_;
    }
    EndLater();
    return false;
  }
  size_t queued_bytes() const override { return StreamCall::queued_bytes(); }

  void Finish(const absl::Status& status) override {
    const auto code = static_cast<grpc::StatusCode>(status.code());
    FinishCall(grpc::Status(code, std::string(status.message())), !status.ok());
  }

 private:
  explicit SessionCall(const SessionServiceParts& parts)
      : StreamCall(kMaxQueuedBytes, parts.thread->token()), parts_(parts) {}

  void Begin() {
    const std::optional<AgentKey> key = parts_.streams->Find(context_.peer());
    const auto realm = key ? parts_.realms->find(key->realm) : parts_.realms->end();
    if (over_ || realm == parts_.realms->end()) {
      return Finish(absl::PermissionDeniedError("only agents of guests have sessions here"));
    }
    session_.emplace(realm->second.get(), *key, this);
    account_.Open(&realm->second->queues, key->peer, [this] {
      over_budget_ = true;
      Cancel();
      EndLater();
    });
    Read();
  }

  void Read() {
    stream_.Read(&request_, Tag([this](bool ok) { OnRead(ok); }));
  }

  void OnRead(bool ok) {
    if (!ok) {
      // Half-closed, or broken. Ours to finish in both cases.
      session_->OnBroken();
      return Finish(absl::OkStatus());
    }
    session_->Handle(request_);
    if (!finishing()) Read();
  }

  void EndLater() {
    // Not from here: the caller may be walking over the very links that this ends.
    parts_.loop->Post([this, self = shared_from_this()] {
      if (session_) session_->OnBroken();
      Finish(absl::ResourceExhaustedError("the agent did not read the events of this node"));
    });
  }

  void OnWritten() override {
    account_.Set(queued_bytes());
    if (session_ && !finishing()) session_->OnRoom();
  }

  void OnOver() override {
    over_ = true;
    if (session_) session_->OnBroken();
    Finish(absl::CancelledError("the agent's connection is gone"));
  }

  const SessionServiceParts parts_;
  v1::NodeRequest request_;
  std::optional<GuestSession> session_;
  QueueBudget::Account account_;
  bool over_budget_ = false;
  bool over_ = false;
};

}  // namespace

void ServeSessions(const SessionServiceParts& parts) { SessionCall::Listen(parts); }

}  // namespace ivmq::control
