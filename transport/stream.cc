#include "transport/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>
#include <utility>

namespace ivmq::transport {
namespace {

// Record flags of a stream. A record with one of them has no payload.
constexpr uint8_t kEndedFlag = 0x02;  // no more bytes follow
constexpr uint8_t kGoneFlag = 0x04;   // the same, and none are read

// What one call moves at most in each direction, so that one stream cannot starve the others.
constexpr int kPiecesPerPump = 8;
constexpr int kRecordsPerPump = 64;

// Anything else says that the application closed its end, or that the socket is unusable.
bool IsRetry(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

StreamPump::StreamPump(UniqueFd socket, StreamLinks links)
    : links_(std::move(links)), socket_(std::move(socket)), buffer_(kPieceBytes) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    Fail(ErrnoStatus(errno, "cannot use the local socket of a stream"));
  }
}

StreamPump::~StreamPump() = default;

void StreamPump::OnSocket(uint32_t epoll_events) {
  if (done_) return;
  if ((epoll_events & EPOLLOUT) != 0) writable_ = true;
  if ((epoll_events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) readable_ = true;
  // Hang-up: the application closed both directions. What it sent before can still be read.
  if ((epoll_events & (EPOLLHUP | EPOLLERR)) != 0) local_gone_ = true;
  Pump();
}

void StreamPump::OnRing() {
  if (!done_) Pump();
}

void StreamPump::Pump() {
  SocketToRing();
  const bool more_in = !done_ && RingToSocket();
  if (done_) return;
  TellEnd();
  links_.out.Flush();
  const bool more_out = readable_ && !local_ended_ && !remote_gone_ && begin_ == end_;
  more_ = more_in || more_out;
  if (Ended()) {
    socket_.Reset();
    done_ = true;
  }
}

void StreamPump::SocketToRing() {
  if (remote_gone_) {  // nobody reads it: what the application writes has no place to go
    begin_ = end_ = 0;
    return;
  }
  for (int piece = 0; piece < kPiecesPerPump; ++piece) {
    if (!SendStaged() || local_ended_ || !readable_) return;
    const ssize_t got = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got > 0) {
      begin_ = 0;
      end_ = static_cast<size_t>(got);
    } else if (got == 0) {
      local_ended_ = true;
    } else if (IsRetry(errno)) {
      if (errno != EINTR) readable_ = false;
    } else {
      local_ended_ = local_gone_ = true;
    }
  }
  (void)SendStaged();
}

bool StreamPump::SendStaged() {
  while (begin_ < end_) {
    const size_t bytes = static_cast<size_t>(WaitsForRoom());
    switch (links_.out.TryWrite(std::span(buffer_).subspan(begin_, bytes))) {
      case WriteResult::kOk:
        begin_ += bytes;
        break;
      case WriteResult::kFull:
        return false;
      case WriteResult::kTooLarge:  // it is not: WaitsForRoom() keeps to the limit
      case WriteResult::kCorrupt:
        Fail(Status(Code::kDataLoss, "the other side of the stream wrote nonsense to its ring"));
        return false;
    }
  }
  return true;
}

void StreamPump::TellEnd() {
  if (begin_ < end_ || !local_ended_ || remote_gone_) return;
  if (told_gone_ || (told_ended_ && !local_gone_)) return;
  const uint8_t flag = local_gone_ ? kGoneFlag : kEndedFlag;
  if (links_.out.TryWrite({}, flag) != WriteResult::kOk) return;
  told_ended_ = true;
  told_gone_ = local_gone_;
}

int64_t StreamPump::WaitsForRoom() const {
  if (begin_ < end_) {
    return static_cast<int64_t>(std::min<uint64_t>(end_ - begin_, links_.out.max_record_bytes()));
  }
  const bool something_to_tell =
      local_ended_ && !remote_gone_ && !(local_gone_ ? told_gone_ : told_ended_);
  return something_to_tell ? 0 : -1;
}

bool StreamPump::RingToSocket() {
  for (int i = 0; i < kRecordsPerPump; ++i) {
    if (!has_record_) {
      if (remote_ended_ && remote_gone_) return false;
      const ReadResult result = links_.in.TryRead(&record_);
      if (result == ReadResult::kEmpty) return false;
      if (result == ReadResult::kCorrupt) {
        Fail(Status(Code::kDataLoss, "the other side of the stream wrote nonsense to its ring"));
        return false;
      }
      has_record_ = true;
      record_sent_ = 0;
      ReadFlags();
    }
    if (!DeliverRecord()) return false;
    has_record_ = false;
    links_.in.Release();
  }
  return true;
}

void StreamPump::ReadFlags() {
  const bool gone = (record_.flags & kGoneFlag) != 0;
  if (!gone && (record_.flags & kEndedFlag) == 0) return;
  record_.size = 0;
  if (!remote_ended_ && !local_gone_) {
    // Fails only if the application is gone meanwhile, and then that is as good.
    (void)::shutdown(socket_.get(), SHUT_WR);
  }
  remote_ended_ = true;
  remote_gone_ = remote_gone_ || gone;
}

// True if nothing is left of the record.
bool StreamPump::DeliverRecord() {
  while (record_sent_ < record_.size && !local_gone_ && !remote_ended_) {
    if (!writable_) return false;
    // The kernel copies from the ring. If the other side changes the bytes meanwhile, it changes
    // what it says, no more.
    const ssize_t sent = ::send(socket_.get(), record_.data + record_sent_,
                                record_.size - record_sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      record_sent_ += static_cast<size_t>(sent);
    } else if (IsRetry(errno)) {
      if (errno != EINTR) writable_ = false;
    } else {
      local_gone_ = true;  // EPIPE, ECONNRESET: the rest is discarded
      readable_ = true;
    }
  }
  return true;
}

bool StreamPump::Ended() const {
  const bool out_ended = remote_gone_ || (local_gone_ ? told_gone_ : told_ended_);
  const bool in_ended = remote_ended_ || local_gone_;
  return out_ended && in_ended && !has_record_;
}

bool StreamPump::HasWork(Look look) {
  if (done_) return false;
  if (more_) return true;
  if (!has_record_ && !remote_gone_) {
    if (look == Look::kSpin ? links_.in.Peek() : !links_.in.Arm()) return true;
    if (links_.in.signalled()) return true;
  }
  const int64_t bytes = WaitsForRoom();
  if (bytes < 0) return false;
  const auto room = static_cast<size_t>(bytes);
  if (look == Look::kSpin) {
    // Corrupt: no room ever comes, and OnRing() ends the stream for it.
    return links_.out.space_signalled() || links_.out.HasRoom(room) || links_.out.corrupt();
  }
  return links_.out.ArmSpace(room) || links_.out.space_signalled();
}

void StreamPump::Shutdown() {
  if (done_) return;
  begin_ = end_ = 0;
  local_ended_ = local_gone_ = true;
  TellEnd();
  links_.out.Flush();
  socket_.Reset();
  done_ = true;
}

void StreamPump::Fail(Status status) {
  status_ = std::move(status);
  Shutdown();
}

}  // namespace ivmq::transport
