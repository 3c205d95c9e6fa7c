#include "broker/control/frame_session.h"

#include <sys/epoll.h>

#include <utility>

#include "transport/log.h"

namespace ivmq::control {

using transport::Code;
using transport::FrameChannel;
using transport::Result;
using transport::Status;

FrameSession::FrameSession(transport::EventLoop* loop, Realm* realm, const Origin& origin,
                           transport::UniqueFd channel)
    : origin_(origin),
      session_(realm, this, origin),
      channel_(std::move(channel), kMaxQueuedBytes, kMaxReceivedFds),
      lost_(loop),
      retry_(loop),
      more_(loop),
      watch_(loop, channel_.fd(), EPOLLIN, [this](uint32_t events) { OnReady(events); }) {
  account_.Open(&realm->queues, origin.peer_id, [this] {
    Break("more waits for the processes of this machine than may", std::chrono::milliseconds(0));
  });
}

void FrameSession::OnReady(uint32_t events) {
  if ((events & EPOLLOUT) != 0) Flush();
  if (!broken_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) ReadFrames();
}

void FrameSession::Flush() {
  const Status flushed = channel_.Flush();
  if (!flushed.ok()) return Break(flushed.message(), kGrace);
  AfterWrite();
  if (!broken_ && !closing_ && HasRoom()) session_.OnRoom();
}

void FrameSession::ReadFrames() {
  for (int i = 0; i < kFramesPerTurn && !broken_; ++i) {
    FrameChannel::Frame frame;
    const Result<bool> got = channel_.Receive(&frame);
    AccountForWaiting();
    if (broken_) return;
    if (!got.ok()) {
      const bool orderly = got.status().code() == Code::kUnavailable;
      return Break(got.status().message(), orderly ? kGrace : std::chrono::milliseconds(0));
    }
    if (!got.value()) return;
    if (closing_) continue;
    v1::NodeRequest request;
    if (!request.ParseFromString(frame.payload)) {
      return Break("a frame that is no NodeRequest", std::chrono::milliseconds(0));
    }
    session_.Handle(request);
  }
  if (!broken_) more_.Set(std::chrono::milliseconds(0), [this] { ReadFrames(); });
}

void FrameSession::Send(const v1::NodeEvent& event, std::span<const int> fds) {
  if (broken_ || closing_) return;
  event.SerializeToString(&encoded_);
  const Status sent = channel_.Send(encoded_, fds);
  if (!sent.ok()) {
    const bool full = sent.code() == Code::kResourceExhausted;
    return Break(sent.message(), full ? std::chrono::milliseconds(0) : kGrace);
  }
  AfterWrite();
}

void FrameSession::Close() {
  if (broken_) return;
  closing_ = true;
  AfterWrite();
}

void FrameSession::AccountForWaiting() {
  account_.Set(channel_.queued_bytes() + channel_.received_bytes());
}

void FrameSession::AfterWrite() {
  AccountForWaiting();
  if (broken_) return;
  if (channel_.must_retry()) {
    if (!retry_.is_set()) retry_.Set(FrameChannel::kRetry, [this] { Flush(); });
    return watch_.SetEvents(EPOLLIN);
  }
  if (channel_.wants_write()) return watch_.SetEvents(EPOLLIN | EPOLLOUT);
  if (!closing_) return watch_.SetEvents(EPOLLIN);
  Break("closed", kGrace);
}

void FrameSession::Break(const std::string& why, std::chrono::milliseconds grace) {
  if (broken_) return;
  broken_ = true;
  account_.Close();
  LogDebug("process {} (connection {}): session ended: {}", origin_.pid, origin_.connection_id,
           why);
  watch_.Reset();
  retry_.Reset();
  more_.Reset();
  // Moved out, so that the socket closes at the end of the call and the other side sees it.
  const FrameChannel closed = std::move(channel_);
  // Not from here: a caller may be walking over the very links that this ends.
  lost_.Set(grace, [this] { session_.Leave(SideEvent::kLost); });
}

void FrameSession::OnGone(SideEvent how) {
  broken_ = true;
  watch_.Reset();
  retry_.Reset();
  more_.Reset();
  lost_.Reset();
  session_.Leave(how);
}

}  // namespace ivmq::control
