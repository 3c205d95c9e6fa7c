#ifndef IVMQ_TRANSPORT_SOCKET_ACCESS_H_
#define IVMQ_TRANSPORT_SOCKET_ACCESS_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "transport/status.h"

namespace ivmq::transport {

// Who may connect to a listening UNIX socket.
struct SocketAccess {
  mode_t mode = 0660;
  std::optional<gid_t> group;  // none: that of whoever creates it
};

// From text as people give it, to every daemon in the same way. INVALID_ARGUMENT is a half-sentence
// that follows what was given: "must be an octal mode up to 0777", "no such group".
Result<mode_t> ParseSocketMode(const std::string& text);
// A name or a number. One thread at a time.
Result<gid_t> ParseSocketGroup(const std::string& text);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_SOCKET_ACCESS_H_
