#ifndef IVMQ_SDK_NODE_DEFAULTS_H_
#define IVMQ_SDK_NODE_DEFAULTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/status.h"

namespace ivmq::internal {

inline constexpr size_t kNodeNameBytesMax = 63;

// INVALID_ARGUMENT unless 0 (no wish) or a size that a ring can have.
Status CheckRingBytes(size_t ring_bytes);

// What the choice of a socket depends on.
struct SocketEnvironment {
  std::string node_socket;  // $IVMQ_NODE_SOCKET
  std::string runtime_dir;  // $XDG_RUNTIME_DIR
  bool root = false;
};
SocketEnvironment CurrentSocketEnvironment();

// Node sockets to try, in this order: the one asked for; else $IVMQ_NODE_SOCKET; else
// /run/ivmq/node.sock and $XDG_RUNTIME_DIR/ivmq/node.sock, the latter first unless root.
std::vector<std::string> NodeSocketPaths(std::string_view asked,
                                         const SocketEnvironment& environment);

// Which of all the sockets that were ever made at a path is there: tells a new daemon from the
// last.
struct SocketAge {
  uint64_t inode = 0;  // 0: none is there
  int64_t made_s = 0;
  int64_t made_ns = 0;

  static SocketAge Of(const std::string& path);
  bool exists() const { return inode != 0; }
  friend bool operator==(const SocketAge&, const SocketAge&) = default;
};

// "program-PID", at most 63 bytes, without bytes that are not printable ASCII.
std::string DefaultNodeName();

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_DEFAULTS_H_
