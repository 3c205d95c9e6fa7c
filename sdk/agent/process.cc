#include "sdk/agent/process.h"

#include <sys/epoll.h>

#include <string>
#include <utility>

#include "ivmq/v1/control.pb.h"
#include "transport/log.h"

namespace ivmq::agent {
namespace {

using transport::FrameChannel;
using transport::Result;
using transport::Status;

// Requests of a process that gRPC has not sent yet; beyond that its channel is left to fill up.
constexpr size_t kMaxUnwritten = 16;

}  // namespace

Process::Process(transport::EventLoop* loop, transport::AttachServer::Client client,
                 bool interrupts, std::function<void()> on_finished)
    : loop_(loop),
      interrupts_(interrupts),
      on_finished_(std::move(on_finished)),
      client_(std::move(client)),
      retry_timer_(loop),
      finish_timer_(loop) {
  // No request has file descriptors.
  channel_.emplace(std::move(client_.channel), FrameChannel::kMaxQueuedBytes, 0U);
}

void Process::Connect(ControlClient* control, uint64_t session_nonce) {
  control_ = control;
  session_nonce_ = session_nonce;
  if (channel_ || died_) StartCall();
}

void Process::StartCall() {
  said_exited_ = false;
  call_ = control_->StartSession({
      .on_event = [this](const v1::NodeEvent& event) { PassEvent(event); },
      .on_written = [this] { PassRequests(); },
      .on_end = [this](const Status& status) { OnCallEnd(status); },
  });
  v1::NodeRequest request;
  v1::AttachedProcess* attached = request.mutable_attached();
  attached->set_pid(client_.process.pid);
  attached->set_uid(client_.process.uid);
  attached->set_gid(client_.process.gid);
  attached->set_start_time(client_.process.start_time);
  attached->set_vector(client_.vector);
  attached->set_interrupts(interrupts_);
  attached->set_connection_id(client_.connection_id);
  attached->set_session_nonce(session_nonce_);
  call_->Write(request);
  PassRequests();
}

void Process::Disconnect() {
  control_ = nullptr;
  EndSession();
}

void Process::EndSession() {
  call_.reset();
  CloseChannel();
}

void Process::Died() {
  died_ = true;
  if (call_ == nullptr && control_ != nullptr) return StartCall();
  PassRequests();
}

void Process::OnChannel(uint32_t events) {
  if ((events & EPOLLOUT) != 0 && channel_ && !channel_->Flush().ok()) channel_ended_ = true;
  if (channel_ && call_ && AllIsSent()) call_->ReadNext();
  PassRequests();
}

void Process::PassRequests() {
  if (call_ == nullptr || said_exited_) return;
  FrameChannel::Frame frame;
  while (channel_ && !channel_ended_ && call_->unwritten() < kMaxUnwritten) {
    const Result<bool> got = channel_->Receive(&frame);
    if (!got.ok()) {
      // UNAVAILABLE is an end-of-file: the process has left or died.
      if (got.status().code() != transport::Code::kUnavailable) {
        LogWarning("process {}: {}", client_.process.pid, got.status().message());
      }
      channel_ended_ = true;
      break;
    }
    if (!got.value()) {
      if (died_) channel_ended_ = true;  // a dead process writes no more
      break;
    }
    if (!PassRequest(frame.payload)) return;
  }
  if (died_ && (!channel_ || channel_ended_)) SayExited();
  WatchChannel();
}

bool Process::PassRequest(const std::string& payload) {
  v1::NodeRequest request;
  const char* wrong = nullptr;
  if (!request.ParseFromString(payload)) {
    wrong = "sent a frame that is no request";
  } else if (request.has_attached() || request.has_exited()) {
    wrong = "claimed what only the agent may say";
  }
  if (wrong == nullptr) {
    if (request.has_hello()) is_node_ = true;
    if (request.has_goodbye()) goodbye_id_ = request.request_id();
    call_->Write(request);
    return true;
  }
  LogWarning("process {} {}: its session is closed", client_.process.pid, wrong);
  call_.reset();  // cancelled: proves nothing about the process
  CloseChannel();
  if (died_) StartCall();
  return false;
}

void Process::PassEvent(const v1::NodeEvent& event) {
  if (event.has_done() && goodbye_id_ != 0 && event.request_id() == goodbye_id_) is_node_ = false;
  if (!channel_ || channel_ended_) return call_->ReadNext();  // nobody is left to hear it
  const Status sent = channel_->Send(event.SerializeAsString());
  if (!sent.ok()) {
    LogDebug("process {}: {}", client_.process.pid, sent.message());
    return call_->ReadNext();  // its end-of-file follows
  }
  if (AllIsSent()) call_->ReadNext();
  WatchChannel();
}

void Process::OnCallEnd(const Status& status) {
  if (!said_exited_ && !status.ok()) {
    LogInfo("session of process {} ended: {}", client_.process.pid, status.message());
  }
  call_.reset();
  CloseChannel();
  if (!died_) return;
  if (said_exited_ && status.ok()) return Finish();
  // Control had ended the call before it read of the death. After an error: in its next session.
  if (!said_exited_) StartCall();
}

bool Process::AllIsSent() const { return !channel_->wants_write() && !channel_->must_retry(); }

void Process::WatchChannel() {
  if (!channel_) return;
  if (!channel_ended_ && channel_->must_retry() && !retry_timer_.is_set()) {
    retry_timer_.Set(FrameChannel::kRetry, [this] { OnChannel(EPOLLOUT); });
  }
  uint32_t events = 0;
  if (!channel_ended_ && call_ && call_->unwritten() < kMaxUnwritten) events |= EPOLLIN;
  if (!channel_ended_ && channel_->wants_write()) events |= EPOLLOUT;
  // Taken out altogether, not left with no events: EPOLLHUP comes unasked.
  if (events == 0) {
    watch_.Reset();
  } else if (watch_) {
    watch_.SetEvents(events);
  } else {
    watch_ = transport::FdWatch(loop_, channel_->fd(), events,
                                [this](uint32_t seen) { OnChannel(seen); });
  }
}

void Process::CloseChannel() {
  retry_timer_.Reset();
  watch_.Reset();
  channel_.reset();
}

void Process::SayExited() {
  if (said_exited_) return;
  said_exited_ = true;
  v1::NodeRequest request;
  request.mutable_exited()->set_connection_id(client_.connection_id);
  request.mutable_exited()->set_session_nonce(session_nonce_);
  call_->Write(request);
  call_->WritesDone();
  // Whatever control still says goes nowhere, but the end of the call must be read.
  CloseChannel();
  call_->ReadNext();
}

void Process::Finish() {
  if (std::exchange(finished_, true)) return;
  // Not from here: the owner destroys this when it hears of it.
  finish_timer_.Set(std::chrono::milliseconds(0), on_finished_);
}

}  // namespace ivmq::agent
