#ifndef IVMQ_TRANSPORT_LISTENING_SOCKET_H_
#define IVMQ_TRANSPORT_LISTENING_SOCKET_H_

#include <sys/types.h>

#include <string>

#include "transport/socket_access.h"
#include "transport/status.h"
#include "transport/unique_fd.h"
#include "transport/unix_socket.h"

namespace ivmq::transport {

// A listening UNIX socket whose path, and the lock file beside it, go with it. One thread at a
// time.
class ListeningSocket {
 public:
  ListeningSocket() = default;
  // Creates the last directory of the path if there is none (mode 0755), but not a whole chain of
  // them, as whoever mistypes a path would find them all over the place. ALREADY_EXISTS names the
  // live process that listens there; a stale socket is replaced.
  static Result<ListeningSocket> Open(const std::string& path, UnixSocketType type,
                                      const SocketAccess& access);
  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&& other) noexcept;
  ~ListeningSocket() { Close(); }

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // Unlinks the path, unless something else is there by now, and stops listening.
  void Close();

 private:
  UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;  // what was bound at the path
  ino_t inode_ = 0;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LISTENING_SOCKET_H_
