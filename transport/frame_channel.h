#ifndef IVMQ_TRANSPORT_FRAME_CHANNEL_H_
#define IVMQ_TRANSPORT_FRAME_CHANNEL_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/status.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

// Length-prefixed frames, each with zero to four file descriptors, over a connected UNIX stream
// socket: the control channel of a node.
//
//   u32 payload bytes (at most kMaxFrameBytes) | u32 fd count | payload
//
// Non-blocking: Send queues what the socket does not take, up to `max_queued_bytes`, and Flush
// goes on with it. The caller watches fd() for EPOLLIN, and for EPOLLOUT while wants_write(); while
// must_retry() it calls Flush() again after kRetry, as the socket has nothing to say then.
// One thread at a time. A frame over the limit, a bad fd count or a half frame at EOF breaks the
// channel: every later call says the same status.
class FrameChannel {
 public:
  static constexpr uint32_t kMaxFrameBytes = 1 << 20;
  static constexpr uint32_t kMaxFrameFds = 4;
  static constexpr size_t kMaxQueuedBytes = 16 << 20;

  static constexpr std::chrono::milliseconds kRetry{5};

  struct Frame {
    std::string payload;
    std::vector<UniqueFd> fds;
  };

  // Frames with more than `max_received_fds` break it; so do fds that come without a frame.
  explicit FrameChannel(UniqueFd socket, size_t max_queued_bytes = kMaxQueuedBytes,
                        uint32_t max_received_fds = kMaxFrameFds);
  FrameChannel(FrameChannel&&) noexcept;
  FrameChannel& operator=(FrameChannel&&) noexcept;

  // Queues and tries to send. The fds are duplicated: the caller keeps its own.
  // RESOURCE_EXHAUSTED when the other side does not read and the queue is full: close it.
  Status Send(std::string_view payload, std::span<const int> fds = {});
  Status Flush();
  size_t queued_bytes() const { return queued_bytes_; }
  // What has come and is not taken, as it is no whole frame or nobody asked for it.
  size_t received_bytes() const { return in_.size() - in_consumed_; }
  // The socket has no room.
  bool wants_write() const { return !out_.empty() && !must_retry_; }
  // The kernel has no room: too many fds of this user in flight, or no memory.
  bool must_retry() const { return must_retry_; }

  // One frame that is there, without blocking: true and *frame; false and OK when there is none
  // yet; UNAVAILABLE at EOF; DATA_LOSS on a malformed frame.
  Result<bool> Receive(Frame* frame);
  // Blocks until a frame, EOF or the deadline (DEADLINE_EXCEEDED).
  Status ReceiveUntil(std::chrono::steady_clock::time_point deadline, Frame* frame);

  int fd() const;

 private:
  // True if a whole frame was in `in_`.
  Result<bool> TakeFrame(Frame* frame);
  // True if bytes came.
  Result<bool> ReadSome();

  struct Outgoing {
    std::string bytes;
    size_t sent = 0;
    std::vector<UniqueFd> fds;
  };
  UniqueFd socket_;
  size_t max_queued_bytes_;
  uint32_t max_received_fds_;
  size_t queued_bytes_ = 0;
  bool must_retry_ = false;
  std::deque<Outgoing> out_;
  std::string in_;
  size_t in_consumed_ = 0;
  std::deque<UniqueFd> in_fds_;
  Status broken_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_FRAME_CHANNEL_H_
