#ifndef IVMQ_TRANSPORT_FD_PASSING_H_
#define IVMQ_TRANSPORT_FD_PASSING_H_

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

#include "transport/unique_fd.h"

namespace ivmq::transport {

// The kernel's limit of file descriptors in one message (SCM_MAX_FD).
inline constexpr size_t kMaxFdsPerMessage = 253;

// One sendmsg(2) with `fds` beside the first byte, never blocking, never SIGPIPE.
// Returns what sendmsg does: bytes taken, or -1 and errno. The fds stay the caller's.
// REQUIRES: fds.size() <= kMaxFdsPerMessage.
ssize_t SendWithFds(int socket, std::span<const std::byte> bytes, std::span<const int> fds);

struct ReceivedWithFds {
  ssize_t bytes = -1;      // as recvmsg(2): 0 at EOF, -1 and `error`
  int error = 0;           // errno where bytes is -1
  bool truncated = false;  // the message was longer than the buffer
  bool fds_lost = false;   // more fds than `max_fds`, or this process is at its open-file limit
};
// One recvmsg(2), never blocking. Appends the fds that came, close-on-exec.
ReceivedWithFds ReceiveWithFds(int socket, std::span<std::byte> buffer, size_t max_fds,
                               std::vector<UniqueFd>* fds);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_FD_PASSING_H_
