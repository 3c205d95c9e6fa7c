#include "transport/frame_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/fd_passing.h"

namespace ivmq::transport {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kKeptBytes = 1 << 10;  // of an idle channel: control has one a node

struct FrameHeader {
  uint32_t payload_bytes;
  uint32_t fd_count;
};
static_assert(sizeof(FrameHeader) == 8);

bool IsGone(int error) { return error == EPIPE || error == ECONNRESET || error == ENOTCONN; }

}  // namespace

FrameChannel::FrameChannel(UniqueFd socket, size_t max_queued_bytes, uint32_t max_received_fds)
    : socket_(std::move(socket)),
      max_queued_bytes_(max_queued_bytes),
      max_received_fds_(max_received_fds) {}
FrameChannel::FrameChannel(FrameChannel&&) noexcept = default;
FrameChannel& FrameChannel::operator=(FrameChannel&&) noexcept = default;

int FrameChannel::fd() const { return socket_.get(); }

Status FrameChannel::Send(std::string_view payload, std::span<const int> fds) {
  if (!broken_.ok()) return broken_;
  if (payload.size() > kMaxFrameBytes || fds.size() > kMaxFrameFds) {
    return Status(Code::kInvalidArgument, "a frame of " + std::to_string(payload.size()) +
                                              " bytes and " + std::to_string(fds.size()) +
                                              " fds; at most " + std::to_string(kMaxFrameBytes) +
                                              " and " + std::to_string(kMaxFrameFds));
  }
  const size_t frame_bytes = sizeof(FrameHeader) + payload.size();
  if (queued_bytes_ + frame_bytes > max_queued_bytes_) {
    return Status(Code::kResourceExhausted,
                  "the other side does not read: " + std::to_string(queued_bytes_) +
                      " bytes wait on its channel, at most " + std::to_string(max_queued_bytes_));
  }
  Outgoing frame;
  for (const int fd : fds) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) return ErrnoStatus(errno, "cannot duplicate fd " + std::to_string(fd));
    frame.fds.push_back(std::move(copy));
  }
  const FrameHeader header{static_cast<uint32_t>(payload.size()),
                           static_cast<uint32_t>(fds.size())};
  frame.bytes.reserve(frame_bytes);
  frame.bytes.append(reinterpret_cast<const char*>(&header), sizeof(header));
  frame.bytes.append(payload);
  queued_bytes_ += frame_bytes;
  out_.push_back(std::move(frame));
  return Flush();
}

Status FrameChannel::Flush() {
  if (!broken_.ok()) return broken_;
  must_retry_ = false;
  while (!out_.empty()) {
    Outgoing& frame = out_.front();
    std::array<int, kMaxFrameFds> fds{};
    std::transform(frame.fds.begin(), frame.fds.end(), fds.begin(),
                   [](const UniqueFd& fd) { return fd.get(); });
    const ssize_t sent =
        SendWithFds(socket_.get(), std::as_bytes(std::span(frame.bytes).subspan(frame.sent)),
                    std::span(fds).first(frame.fds.size()));
    if (sent < 0) {
      if (errno == EAGAIN) return Status();
      if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) {
        // The socket stays writable all the while: a loop that watched it would spin.
        must_retry_ = true;
        return Status();
      }
      const int error = errno;
      out_.clear();
      queued_bytes_ = 0;
      // Not broken_: what the other side sent before it went can still be read.
      if (IsGone(error)) return Status(Code::kUnavailable, "the other side closed the channel");
      return ErrnoStatus(error, "cannot send on a control channel");
    }
    frame.fds.clear();  // they went with the first byte
    frame.sent += static_cast<size_t>(sent);
    queued_bytes_ -= static_cast<size_t>(sent);
    if (frame.sent == frame.bytes.size()) out_.pop_front();
  }
  return Status();
}

Result<bool> FrameChannel::TakeFrame(Frame* frame) {
  const size_t there = in_.size() - in_consumed_;
  FrameHeader header{};
  if (there < sizeof(header)) return false;
  std::memcpy(&header, in_.data() + in_consumed_, sizeof(header));
  if (header.payload_bytes > kMaxFrameBytes || header.fd_count > max_received_fds_) {
    return Status(Code::kDataLoss, "malformed frame: " + std::to_string(header.payload_bytes) +
                                       " bytes and " + std::to_string(header.fd_count) +
                                       " fds; at most " + std::to_string(kMaxFrameBytes) + " and " +
                                       std::to_string(max_received_fds_));
  }
  if (there < sizeof(header) + header.payload_bytes) return false;
  if (in_fds_.size() < header.fd_count) {
    return Status(Code::kDataLoss, "malformed frame: it announces " +
                                       std::to_string(header.fd_count) + " fds, " +
                                       std::to_string(in_fds_.size()) + " came");
  }
  frame->payload.assign(in_, in_consumed_ + sizeof(header), header.payload_bytes);
  frame->fds.clear();
  for (uint32_t i = 0; i < header.fd_count; ++i) {
    frame->fds.push_back(std::move(in_fds_.front()));
    in_fds_.pop_front();
  }
  in_consumed_ += sizeof(header) + header.payload_bytes;
  if (in_consumed_ == in_.size()) {
    in_consumed_ = 0;
    in_.clear();
    if (in_.capacity() > kKeptBytes) in_.shrink_to_fit();
  }
  return true;
}

Result<bool> FrameChannel::ReadSome() {
  if (in_consumed_ > 0) {
    in_.erase(0, in_consumed_);
    in_consumed_ = 0;
  }
  std::array<char, kReadBytes> piece;  // uninitialized; a channel keeps only what came
  std::vector<UniqueFd> fds;
  // Those of one half frame and of the piece that completes it. More the kernel closes.
  const size_t max_waiting_fds = 2 * size_t{max_received_fds_};
  const ReceivedWithFds received = ReceiveWithFds(
      socket_.get(), std::as_writable_bytes(std::span(piece)), max_waiting_fds, &fds);
  if (received.bytes > 0) in_.append(piece.data(), static_cast<size_t>(received.bytes));
  if (received.bytes < 0 && received.error == EAGAIN) return false;
  if (received.bytes < 0 && !IsGone(received.error)) {
    return ErrnoStatus(received.error, "cannot receive on a control channel");
  }
  if (received.bytes <= 0) {
    if (!in_.empty()) return Status(Code::kDataLoss, "the channel ended inside a frame");
    return Status(Code::kUnavailable, "the other side closed the channel");
  }
  if (received.fds_lost) {
    return Status(Code::kDataLoss,
                  "fds of a frame were lost: the open-file limit is reached (ulimit -n), or the "
                  "other side sent more than a frame takes");
  }
  for (UniqueFd& fd : fds) in_fds_.push_back(std::move(fd));
  if (in_fds_.size() > max_waiting_fds) {
    return Status(Code::kDataLoss, "more fds came than frames announce");
  }
  return true;
}

Result<bool> FrameChannel::Receive(Frame* frame) {
  if (!broken_.ok()) return broken_;
  for (;;) {
    Result<bool> taken = TakeFrame(frame);
    if (taken.ok() && taken.value()) return true;
    Result<bool> read = taken.ok() ? ReadSome() : std::move(taken);
    if (!read.ok()) {
      broken_ = read.status();
      return broken_;
    }
    if (!read.value()) return false;
  }
}

Status FrameChannel::ReceiveUntil(std::chrono::steady_clock::time_point deadline, Frame* frame) {
  for (;;) {
    if (wants_write() || must_retry_) {
      // A failure to send does not hide what was received before: Receive() tells of the end.
      [[maybe_unused]] const Status flushed = Flush();
    }
    const Result<bool> received = Receive(frame);
    if (!received.ok()) return received.status();
    if (received.value()) return Status();
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return Status(Code::kDeadlineExceeded, "no frame came from the other side in time");
    }
    if (must_retry_) left = std::min(left, kRetry);
    pollfd watched{socket_.get(), static_cast<short>(wants_write() ? POLLIN | POLLOUT : POLLIN), 0};
    ::poll(&watched, 1, static_cast<int>(std::min<int64_t>(left.count(), 3600 * 1000)));
  }
}

}  // namespace ivmq::transport
