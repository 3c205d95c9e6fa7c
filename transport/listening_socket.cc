#include "transport/listening_socket.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace ivmq::transport {

Result<ListeningSocket> ListeningSocket::Open(const std::string& path, UnixSocketType type,
                                              const SocketAccess& access) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  if (!directory.empty() && mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, "cannot create the directory " + directory + " for " + path);
  }
  auto fd = ListenUnix(path, type, access.mode);
  if (!fd.ok()) return fd.status();
  ListeningSocket socket;
  socket.fd_ = std::move(fd).value();
  struct stat bound {};
  if (lstat(path.c_str(), &bound) != 0) return ErrnoStatus(errno, "cannot look at " + path);
  socket.path_ = path;
  socket.device_ = bound.st_dev;
  socket.inode_ = bound.st_ino;
  if (access.group && chown(path.c_str(), static_cast<uid_t>(-1), *access.group) != 0) {
    return ErrnoStatus(errno, "cannot give " + path + " to group " + std::to_string(*access.group));
  }
  return socket;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

ListeningSocket& ListeningSocket::operator=(ListeningSocket&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::move(other.fd_);
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

void ListeningSocket::Close() {
  struct stat there {};
  // Somebody may have removed the file, and another daemon bound its own there.
  if (!path_.empty() && lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ &&
      there.st_ino == inode_) {
    unlink(path_.c_str());
    RemoveStartersLock(path_);
  }
  path_.clear();
  fd_.Reset();
}

}  // namespace ivmq::transport
