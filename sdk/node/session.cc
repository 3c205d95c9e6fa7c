#include "sdk/node/session.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/threads/own_thread.h"
#include "transport/attach_client.h"
#include "transport/wait_for_events.h"

namespace ivmq::internal {
namespace {

using transport::FrameChannel;

constexpr uint32_t kProtocolVersion = 2;
constexpr auto kGoodbyePatience = std::chrono::milliseconds(500);

Status GoneStatus(const std::string& detail) {
  return {Code::kUnavailable,
          "the daemon is gone (" + detail + "): links that exist go on, new ones need a new node"};
}

bool IsAnswer(const v1::NodeEvent& event) {
  switch (event.event_case()) {
    case v1::NodeEvent::kFailure:
    case v1::NodeEvent::kWelcome:
    case v1::NodeEvent::kPublisherRegistered:
    case v1::NodeEvent::kSubscriberRegistered:
    case v1::NodeEvent::kDone:
    case v1::NodeEvent::kClientRegistered:
    case v1::NodeEvent::kServerRegistered:
    case v1::NodeEvent::kTypeDescribed:
    case v1::NodeEvent::kClockReading:
      return true;
    case v1::NodeEvent::kLinkRefused:
      return event.request_id() != 0;
    default:
      return false;
  }
}

Status StatusOfAnswer(const v1::NodeEvent& answer) {
  if (answer.has_failure()) return FromFailure(answer.failure());
  if (answer.has_link_refused()) {
    return {Code::kFailedPrecondition, answer.link_refused().reason()};
  }
  return {};
}

}  // namespace

struct Session::PendingCall {
  enum class State { kWaiting, kAnswering, kDone };
  State state = State::kWaiting;
  bool abandoned = false;
  Status status;
  OnAnswer on_answer;
  std::condition_variable changed;  // of its own: an answer wakes no other of a thousand callers
};

Session::Session(transport::UniqueFd channel, int connection)
    : connection_(connection),
      channel_fd_(channel.get()),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      channel_(std::move(channel)) {}

Session::~Session() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

Result<v1::Welcome> Session::Hello(const std::string& node_name, Clock::time_point deadline) {
  v1::NodeRequest request;
  request.set_request_id(++last_request_id_);
  request.mutable_hello()->set_protocol_version(kProtocolVersion);
  request.mutable_hello()->set_node_name(node_name);
  request.mutable_hello()->set_sdk_version(IVMQ_VERSION);
  if (const transport::Status sent = Send(request); !sent.ok()) return FromTransport(sent);

  FrameChannel::Frame frame;
  const transport::Status received = channel_.ReceiveUntil(deadline, &frame);
  if (received.code() == transport::Code::kDeadlineExceeded) {
    return Status(Code::kDeadlineExceeded,
                  "the daemon took the connection but did not answer hello in time");
  }
  if (received.code() == transport::Code::kUnavailable) {
    return Status(Code::kUnavailable,
                  "the daemon took the connection and closed it before it answered hello: is "
                  "ivmqd's control gone? `ivmq doctor` says what to restart");
  }
  if (!received.ok()) return FromTransport(received);
  v1::NodeEvent event;
  if (!event.ParseFromString(frame.payload) || !IsAnswer(event)) {
    return Status(Code::kInternal, "the daemon answered hello with something else");
  }
  if (const Status status = StatusOfAnswer(event); !status.ok()) return status;
  if (!event.has_welcome()) {
    return Status(Code::kInternal, "the daemon answered hello with something else");
  }
  if (event.welcome().protocol_version() != kProtocolVersion) {
    return Status(Code::kFailedPrecondition,
                  "the daemon speaks session protocol " +
                      std::to_string(event.welcome().protocol_version()) + ", this SDK " +
                      std::to_string(kProtocolVersion));
  }
  connected_.store(true, std::memory_order_relaxed);
  return event.welcome();
}

Status Session::Start(Listener* listener) {
  listener_ = listener;
  {
    const std::lock_guard lock(calls_mutex_);
    thread_ended_ = false;
  }
  Status status = StartOwnThread(
      "ivmq-session", [this] { Run(); }, &thread_);
  if (!status.ok()) {
    const std::lock_guard lock(calls_mutex_);
    thread_ended_ = true;
  }
  return status;
}

transport::Status Session::Send(const v1::NodeRequest& request) {
  bool wake = false;
  transport::Status status;
  {
    const std::lock_guard lock(channel_mutex_);
    encoded_.clear();
    request.AppendToString(&encoded_);
    const bool watched = channel_.wants_write() || channel_.must_retry();
    status = channel_.Send(encoded_);
    wake = (channel_.wants_write() || channel_.must_retry()) && !watched;
  }
  if (wake) Kick();
  return status;
}

void Session::Post(const v1::NodeRequest& request) {
  // A failure breaks the channel, which the thread then finds.
  if (connected()) static_cast<void>(Send(request));
}

Status Session::Call(v1::NodeRequest* request, Clock::time_point deadline, OnAnswer on_answer) {
  const auto call = Begin(request, std::move(on_answer));
  return call.ok() ? Await(call.value(), deadline) : call.status();
}

Result<std::shared_ptr<Session::PendingCall>> Session::Begin(v1::NodeRequest* request,
                                                             OnAnswer on_answer) {
  if (on_own_thread()) {
    return Status(Code::kFailedPrecondition,
                  "called on the node's own thread (in a discovery or event handler): its answer "
                  "comes there");
  }
  auto call = std::make_shared<PendingCall>();
  call->on_answer = std::move(on_answer);
  {
    const std::lock_guard lock(calls_mutex_);
    if (ended_) return ended_why_;
    request->set_request_id(++last_request_id_);
    calls_[request->request_id()] = call;
  }
  const transport::Status sent = Send(*request);
  if (sent.ok()) return call;
  const std::lock_guard lock(calls_mutex_);
  calls_.erase(request->request_id());
  return ended_ ? ended_why_ : FromTransport(sent);
}

Status Session::Await(const std::shared_ptr<PendingCall>& call, Clock::time_point deadline) {
  std::unique_lock lock(calls_mutex_);
  call->changed.wait_until(lock, deadline,
                           [&] { return call->state != PendingCall::State::kWaiting; });
  if (call->state == PendingCall::State::kWaiting) {
    call->abandoned = true;
    return {Code::kDeadlineExceeded, "the daemon did not answer in time"};
  }
  call->changed.wait(lock, [&] { return call->state == PendingCall::State::kDone; });
  return call->status;
}

void Session::Ask(v1::NodeRequest* request, OnAnswer on_answer) {
  auto call = std::make_shared<PendingCall>();
  call->on_answer = std::move(on_answer);
  {
    const std::lock_guard lock(calls_mutex_);
    if (ended_) return;
    request->set_request_id(++last_request_id_);
    calls_[request->request_id()] = call;
  }
  Post(*request);
}

void Session::Kick() {
  const uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));  // Full means awake already.
}

void Session::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  Kick();
}

bool Session::WaitEnded(Clock::time_point deadline) {
  if (on_own_thread()) return false;
  std::unique_lock lock(calls_mutex_);
  return thread_ended_changed_.wait_until(lock, deadline, [this] { return thread_ended_; });
}

void Session::Run() {
  Status why;
  bool lost = false;
  for (;;) {
    const Clock::time_point until = listener_->OnTurn();
    if (listener_->WantsGoodbye()) {
      listener_->OnGoodbye();
      SayGoodbye();
      why = Status(Code::kClosed, "the node is closed");
      break;
    }
    if (!WaitForInput(until, &why) || !ReadFrames(&why) || put_out_) {
      if (put_out_) why = *put_out_;
      lost = !stop_.load(std::memory_order_relaxed);
      break;
    }
  }
  End(why, lost);
  if (lost) Linger();
  const std::lock_guard lock(calls_mutex_);
  thread_ended_ = true;
  thread_ended_changed_.notify_all();
}

void Session::Linger() {
  for (;;) {
    const Clock::time_point until = listener_->OnTurn();
    if (listener_->WantsGoodbye()) return listener_->OnGoodbye();
    if (stop_.load(std::memory_order_relaxed)) return;
    pollfd fds[] = {{wake_.get(), POLLIN, 0}};
    if (Poll(fds, until)) DrainWake();
  }
}

bool Session::Poll(std::span<pollfd> fds, Clock::time_point until) {
  timespec timeout{};
  if (until != Clock::time_point::max()) {
    timeout = transport::ToTimespec(std::max<std::chrono::nanoseconds>(until - Clock::now(), {}));
  }
  const bool for_ever = until == Clock::time_point::max();
  return ::ppoll(fds.data(), fds.size(), for_ever ? nullptr : &timeout, nullptr) > 0;
}

void Session::DrainWake() {
  uint64_t count = 0;
  static_cast<void>(!::read(wake_.get(), &count, sizeof(count)));
}

bool Session::WaitForInput(Clock::time_point until, Status* why) {
  short channel_events = POLLIN;
  bool must_retry = false;
  {
    const std::lock_guard lock(channel_mutex_);
    if (channel_.wants_write()) channel_events |= POLLOUT;
    must_retry = channel_.must_retry();
  }
  if (must_retry) until = std::min<Clock::time_point>(until, Clock::now() + FrameChannel::kRetry);
  pollfd fds[] = {
      {channel_fd_, channel_events, 0}, {connection_, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  if (!Poll(fds, until) && !must_retry) return true;
  if (fds[2].revents != 0) DrainWake();
  if (stop_.load(std::memory_order_relaxed)) {
    *why = Status(Code::kClosed, "the node is closed");
    return false;
  }
  if ((fds[0].revents & POLLOUT) != 0 || must_retry) {
    const std::lock_guard lock(channel_mutex_);
    static_cast<void>(channel_.Flush());  // A failure shows at the next read.
  }
  if (fds[1].revents == 0) return true;
  // What control said last, an eviction perhaps, may still be in the channel.
  static_cast<void>(ReadFrames(why));
  *why = GoneStatus("the daemon has closed the connection");
  return false;
}

bool Session::ReadFrames(Status* why) {
  for (;;) {
    FrameChannel::Frame frame;
    {
      const std::lock_guard lock(channel_mutex_);
      const auto got = channel_.Receive(&frame);
      if (!got.ok()) {
        *why = GoneStatus(got.status().message());
        return false;
      }
      if (!got.value()) return true;
    }
    Dispatch(&frame);
  }
}

void Session::Dispatch(FrameChannel::Frame* frame) {
  v1::NodeEvent event;
  if (!event.ParseFromString(frame->payload)) return;
  if (IsAnswer(event)) {
    static_cast<void>(Answer(event));
  } else {
    listener_->OnEvent(&event, &frame->fds);
  }
}

bool Session::Answer(const v1::NodeEvent& event) {
  std::shared_ptr<PendingCall> call;
  {
    const std::lock_guard lock(calls_mutex_);
    const auto found = calls_.find(event.request_id());
    if (found == calls_.end()) return false;
    call = std::move(found->second);
    calls_.erase(found);
    call->status = StatusOfAnswer(event);
    if (!call->abandoned) call->state = PendingCall::State::kAnswering;
  }
  if (call->on_answer) call->on_answer(event, call->abandoned);
  const std::lock_guard lock(calls_mutex_);
  call->state = PendingCall::State::kDone;
  call->changed.notify_all();
  return true;
}

void Session::SayGoodbye() {
  v1::NodeRequest request;
  {
    const std::lock_guard lock(calls_mutex_);
    request.set_request_id(++last_request_id_);
  }
  request.mutable_goodbye();
  if (!Send(request).ok()) return;
  const auto deadline = Clock::now() + kGoodbyePatience;
  const std::lock_guard lock(channel_mutex_);
  for (;;) {
    FrameChannel::Frame frame;
    if (!channel_.ReceiveUntil(deadline, &frame).ok()) return;
    v1::NodeEvent event;
    if (event.ParseFromString(frame.payload) && event.request_id() == request.request_id()) return;
  }
}

void Session::End(const Status& why, bool lost) {
  connected_.store(false, std::memory_order_relaxed);
  listener_->OnEnd(why, lost);
  const std::lock_guard lock(calls_mutex_);
  ended_ = true;
  ended_why_ = why;
  for (auto& [id, call] : calls_) {
    call->status = why;
    call->state = PendingCall::State::kDone;
    call->changed.notify_all();
  }
  calls_.clear();
}

}  // namespace ivmq::internal
