#ifndef IVMQ_BROKER_KEEPER_LISTENING_SOCKET_H_
#define IVMQ_BROKER_KEEPER_LISTENING_SOCKET_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "transport/status.h"
#include "transport/unique_fd.h"
#include "transport/unix_socket.h"

namespace ivmq::broker {

// Who may connect.
struct SocketAccess {
  mode_t mode = 0660;
  std::optional<gid_t> group;
};

// A listening UNIX socket whose path goes with it.
class ListeningSocket {
 public:
  ListeningSocket() = default;
  // Creates the directory if there is none (mode 0755). ALREADY_EXISTS names the live process that
  // listens there; a stale socket is replaced.
  static transport::Result<ListeningSocket> Open(const std::string& path,
                                                 transport::UnixSocketType type,
                                                 const SocketAccess& access);
  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&& other) noexcept;
  ~ListeningSocket() { Close(); }

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // Unlinks the path and stops listening.
  void Close();

 private:
  transport::UniqueFd fd_;
  std::string path_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_LISTENING_SOCKET_H_
