#include "broker/keeper/listening_socket.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace ivmq::broker {

using transport::Code;
using transport::ErrnoStatus;
using transport::Result;
using transport::Status;

Result<ListeningSocket> ListeningSocket::Open(const std::string& path,
                                              transport::UnixSocketType type,
                                              const SocketAccess& access) {
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  if (!directory.empty()) std::filesystem::create_directories(directory, error);
  if (error) {
    return ErrnoStatus(error.value(), "cannot create the directory " + directory.string());
  }
  auto fd = transport::ListenUnix(path, type, access.mode);
  if (!fd.ok()) return fd.status();
  ListeningSocket socket;
  socket.fd_ = std::move(fd).value();
  socket.path_ = path;
  if (access.group && chown(path.c_str(), static_cast<uid_t>(-1), *access.group) != 0) {
    return ErrnoStatus(errno, "cannot give " + path + " to group " + std::to_string(*access.group));
  }
  return socket;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, {})) {}

ListeningSocket& ListeningSocket::operator=(ListeningSocket&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::move(other.fd_);
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

void ListeningSocket::Close() {
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
  fd_.Reset();
}

}  // namespace ivmq::broker
