#include "sdk/agent/control_client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <utility>

#include "ivmq/v1/control.grpc.pb.h"

namespace ivmq::agent {
namespace {

using transport::Code;
using transport::Status;
using transport::UniqueFd;

Status ToStatus(const grpc::Status& status) {
  return Status(static_cast<Code>(status.error_code()), status.error_message());
}

// What gRPC calls back into. Lives until gRPC is done with it and its owner has let go.
//
// gRPC's threads touch nothing but to post; what they post keeps the reactor alive. Everything
// that starts an operation runs on the loop's thread, under a hold that is given back once no
// further operation will be started.
class SessionReactor : public grpc::ClientBidiReactor<v1::NodeRequest, v1::NodeEvent>,
                       public std::enable_shared_from_this<SessionReactor> {
 public:
  SessionReactor(std::shared_ptr<EventLoop> loop, std::shared_ptr<std::atomic<size_t>> unfinished,
                 SessionCall::Handlers handlers)
      : loop_(std::move(loop)), unfinished_(std::move(unfinished)), handlers_(std::move(handlers)) {
    unfinished_->fetch_add(1);
  }
  ~SessionReactor() override { unfinished_->fetch_sub(1); }

  void Start(v1::Control::Stub* stub) {
    self_ = shared_from_this();
    stub->async()->Session(&context_, this);
    AddHold();
    held_ = true;
    reading_ = true;
    StartRead(&event_);
    StartCall();
  }

  void Write(const v1::NodeRequest& request) {
    if (!held_ || writes_done_) return;
    queue_.push_back(request);
    if (queue_.size() == 1) StartWrite(&queue_.front());
  }
  size_t unwritten() const { return queue_.size(); }

  void WritesDone() {
    if (!held_ || writes_done_) return;
    writes_done_ = true;
    if (queue_.empty()) StartWritesDone();
  }

  void ReadNext() {
    if (!held_ || reading_) return;
    reading_ = true;
    StartRead(&event_);
  }

  void Abandon() {
    handlers_ = {};
    if (!held_) return;
    context_.TryCancel();
    LetGo();
  }

  void OnReadDone(bool ok) override {
    loop_->Post([self = shared_from_this(), ok] { self->ReadIsDone(ok); });
  }
  void OnWriteDone(bool ok) override {
    loop_->Post([self = shared_from_this(), ok] { self->WriteIsDone(ok); });
  }
  void OnDone(const grpc::Status& status) override {
    loop_->Post([self = shared_from_this(), status = ToStatus(status)] { self->IsDone(status); });
  }

 private:
  void ReadIsDone(bool ok) {
    reading_ = false;
    if (!ok) return LetGo();  // control has ended the call, or the connection broke
    const auto on_event = handlers_.on_event;  // a copy: it may abandon the call
    if (on_event) on_event(event_);
  }

  void WriteIsDone(bool ok) {
    queue_.pop_front();
    if (!ok) queue_.clear();  // the call is broken, its end follows
    if (!held_) return;
    if (!queue_.empty()) {
      StartWrite(&queue_.front());
    } else if (writes_done_) {
      if (ok) StartWritesDone();
    }
    const auto on_written = handlers_.on_written;  // a copy: it may abandon the call
    if (ok && on_written) on_written();
  }

  void IsDone(const Status& status) {
    const std::function<void(const Status&)> on_end = std::move(handlers_.on_end);
    handlers_ = {};
    self_.reset();  // whoever called holds another reference
    if (on_end) on_end(status);
  }

  void LetGo() {
    if (std::exchange(held_, false)) RemoveHold();
  }

  const std::shared_ptr<EventLoop> loop_;
  const std::shared_ptr<std::atomic<size_t>> unfinished_;
  grpc::ClientContext context_;

  // Of the loop's thread, but for what an operation that runs has borrowed: event_ while reading_,
  // the queue's front while it is being written.
  SessionCall::Handlers handlers_;
  std::shared_ptr<SessionReactor> self_;  // until OnDone
  std::deque<v1::NodeRequest> queue_;
  v1::NodeEvent event_;
  bool held_ = false;
  bool reading_ = false;
  bool writes_done_ = false;
};

class GrpcSessionCall : public SessionCall {
 public:
  explicit GrpcSessionCall(std::shared_ptr<SessionReactor> reactor)
      : reactor_(std::move(reactor)) {}
  ~GrpcSessionCall() override { reactor_->Abandon(); }

  void Write(const v1::NodeRequest& request) override { reactor_->Write(request); }
  size_t unwritten() const override { return reactor_->unwritten(); }
  void WritesDone() override { reactor_->WritesDone(); }
  void ReadNext() override { reactor_->ReadNext(); }

 private:
  const std::shared_ptr<SessionReactor> reactor_;
};

class GrpcControlClient : public ControlClient {
 public:
  GrpcControlClient(std::shared_ptr<EventLoop> loop, UniqueFd socket,
                    std::shared_ptr<std::atomic<size_t>> unfinished)
      : loop_(std::move(loop)),
        unfinished_(std::move(unfinished)),
        channel_(grpc::CreateCustomInsecureChannelFromFd("ivmq-control", socket.Release(),
                                                         ChannelArguments())),
        stub_(v1::Control::NewStub(channel_)) {}

  std::unique_ptr<SessionCall> StartSession(SessionCall::Handlers handlers) override {
    auto reactor = std::make_shared<SessionReactor>(loop_, unfinished_, std::move(handlers));
    reactor->Start(stub_.get());
    return std::make_unique<GrpcSessionCall>(std::move(reactor));
  }

 private:
  // An idle agent must not wake up: no probes, no timers, no ping for a bandwidth estimate.
  static grpc::ChannelArguments ChannelArguments() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetMaxReceiveMessageSize(2 << 20);
    return arguments;
  }

  const std::shared_ptr<EventLoop> loop_;
  const std::shared_ptr<std::atomic<size_t>> unfinished_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Control::Stub> stub_;
};

}  // namespace

std::unique_ptr<ControlClient> ControlClient::Create(
    std::shared_ptr<EventLoop> loop, UniqueFd socket,
    std::shared_ptr<std::atomic<size_t>> unfinished) {
  return std::make_unique<GrpcControlClient>(std::move(loop), std::move(socket),
                                             std::move(unfinished));
}

}  // namespace ivmq::agent
