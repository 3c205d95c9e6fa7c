#include "sdk/agent/control_client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <thread>
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

class Session;

// One operation of a call that gRPC may be busy with; keeps the call alive meanwhile.
struct Operation {
  void (Session::*on_done)(bool ok);
  std::shared_ptr<Session> call = {};
};

// Waits for gRPC's operations on a thread of its own and posts their ends to the loop. A queue of
// our own and not gRPC's callback interface: the threads behind that wake up every second.
// Ends when the last call and the client are gone, which must be on the loop's thread.
class CompletionThread {
 public:
  explicit CompletionThread(std::shared_ptr<transport::EventLoop> loop)
      : loop_(std::move(loop)), thread_([this] { Run(); }) {}
  ~CompletionThread() {
    queue_.Shutdown();
    thread_.join();
  }
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  grpc::CompletionQueue* queue() { return &queue_; }

 private:
  void Run();

  const std::shared_ptr<transport::EventLoop> loop_;
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

// One call. Every member runs on the loop's thread.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<CompletionThread> completions,
          std::shared_ptr<std::atomic<size_t>> unfinished, SessionCall::Handlers handlers)
      : completions_(std::move(completions)),
        unfinished_(std::move(unfinished)),
        handlers_(std::move(handlers)) {
    unfinished_->fetch_add(1);
  }
  ~Session() { unfinished_->fetch_sub(1); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Start(v1::Control::Stub* stub) {
    stream_ = stub->PrepareAsyncSession(&context_, completions_->queue());
    stream_->StartCall(Begin(&start_));
  }

  void Write(const v1::NodeRequest& request) {
    if (finishing_ || writes_done_) return;
    queue_.push_back(request);
    WriteNext();
  }
  size_t unwritten() const { return queue_.size(); }

  void WritesDone() {
    writes_done_ = true;
    WriteNext();
  }

  void ReadNext() {
    read_wanted_ = true;
    if (!started_ || reading_ || finishing_) return;
    read_wanted_ = false;
    reading_ = true;
    stream_->Read(&event_, Begin(&read_));
  }

  void Abandon() {
    handlers_ = {};
    context_.TryCancel();
    if (started_ && !reading_) Finish();  // else the end of what runs leads there
  }

 private:
  void* Begin(Operation* operation) {
    operation->call = shared_from_this();
    return operation;
  }

  void WriteNext() {
    if (!started_ || writing_ || finishing_) return;
    if (!queue_.empty()) {
      writing_ = true;
      stream_->Write(queue_.front(), Begin(&write_));
    } else if (writes_done_ && !said_writes_done_) {
      said_writes_done_ = true;
      writing_ = true;
      stream_->WritesDone(Begin(&half_close_));
    }
  }

  void Finish() {
    if (std::exchange(finishing_, true)) return;
    stream_->Finish(&status_, Begin(&finish_));
  }

  void Started(bool ok) {
    started_ = true;
    if (!ok || !handlers_.on_end) return Finish();  // broken, or abandoned meanwhile
    ReadNext();
    WriteNext();
  }

  void ReadIsDone(bool ok) {
    reading_ = false;
    // False: control has ended the call, or the connection broke.
    if (!ok || !handlers_.on_event) return Finish();
    const auto on_event = handlers_.on_event;  // a copy: it may abandon the call
    on_event(event_);
    if (read_wanted_) ReadNext();
  }

  void WriteIsDone(bool ok) {
    writing_ = false;
    queue_.pop_front();
    if (!ok) queue_.clear();  // the call is broken, its end follows
    WriteNext();
    const auto on_written = handlers_.on_written;  // a copy: it may abandon the call
    if (ok && on_written) on_written();
  }

  void HalfCloseIsDone(bool) { writing_ = false; }

  void IsDone(bool) {
    const std::function<void(const Status&)> on_end = std::move(handlers_.on_end);
    handlers_ = {};
    if (on_end) on_end(ToStatus(status_));
  }

  const std::shared_ptr<CompletionThread> completions_;
  const std::shared_ptr<std::atomic<size_t>> unfinished_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::NodeRequest, v1::NodeEvent>> stream_;

  Operation start_{&Session::Started};
  Operation read_{&Session::ReadIsDone};
  Operation write_{&Session::WriteIsDone};
  Operation half_close_{&Session::HalfCloseIsDone};
  Operation finish_{&Session::IsDone};

  // Borrowed by operations that run: event_ while reading_, the queue's front while writing_.
  SessionCall::Handlers handlers_;
  std::deque<v1::NodeRequest> queue_;
  v1::NodeEvent event_;
  grpc::Status status_;
  bool started_ = false;
  bool reading_ = false;
  bool read_wanted_ = false;
  bool writing_ = false;
  bool writes_done_ = false;
  bool said_writes_done_ = false;
  bool finishing_ = false;
};

void CompletionThread::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    auto* operation = static_cast<Operation*>(tag);
    // Nothing of the call is left on this thread.
    loop_->Post([call = std::move(operation->call), on_done = operation->on_done, ok] {
      (call.get()->*on_done)(ok);
    });
  }
}

class GrpcSessionCall : public SessionCall {
 public:
  explicit GrpcSessionCall(std::shared_ptr<Session> reactor) : reactor_(std::move(reactor)) {}
  ~GrpcSessionCall() override { reactor_->Abandon(); }

  void Write(const v1::NodeRequest& request) override { reactor_->Write(request); }
  size_t unwritten() const override { return reactor_->unwritten(); }
  void WritesDone() override { reactor_->WritesDone(); }
  void ReadNext() override { reactor_->ReadNext(); }

 private:
  const std::shared_ptr<Session> reactor_;
};

class GrpcControlClient : public ControlClient {
 public:
  GrpcControlClient(std::shared_ptr<transport::EventLoop> loop, UniqueFd socket,
                    std::shared_ptr<std::atomic<size_t>> unfinished)
      : completions_(std::make_shared<CompletionThread>(std::move(loop))),
        unfinished_(std::move(unfinished)),
        channel_(grpc::CreateCustomInsecureChannelFromFd("ivmq-control", socket.Release(),
                                                         ChannelArguments())),
        stub_(v1::Control::NewStub(channel_)) {}

  std::unique_ptr<SessionCall> StartSession(SessionCall::Handlers handlers) override {
    auto reactor = std::make_shared<Session>(completions_, unfinished_, std::move(handlers));
    reactor->Start(stub_.get());
    return std::make_unique<GrpcSessionCall>(std::move(reactor));
  }

 private:
  // An idle agent must not wake up: no ping for a bandwidth estimate.
  static grpc::ChannelArguments ChannelArguments() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetMaxReceiveMessageSize(2 << 20);
    return arguments;
  }

  const std::shared_ptr<CompletionThread> completions_;
  const std::shared_ptr<std::atomic<size_t>> unfinished_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Control::Stub> stub_;
};

}  // namespace

std::unique_ptr<ControlClient> ControlClient::Create(
    std::shared_ptr<transport::EventLoop> loop, UniqueFd socket,
    std::shared_ptr<std::atomic<size_t>> unfinished) {
  return std::make_unique<GrpcControlClient>(std::move(loop), std::move(socket),
                                             std::move(unfinished));
}

}  // namespace ivmq::agent
