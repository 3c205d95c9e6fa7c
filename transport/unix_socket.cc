#include "transport/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace ivmq::transport {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLockPatience{10};
// A daemon that ends leaves the file to a starter that holds it for longer.
constexpr std::chrono::milliseconds kUnlockPatience{200};

int KernelType(UnixSocketType type) {
  return type == UnixSocketType::kStream ? SOCK_STREAM : SOCK_SEQPACKET;
}

Result<UniqueFd> NewSocket(int kernel_type) {
  UniqueFd fd(::socket(AF_UNIX, kernel_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoStatus(errno, "cannot create a UNIX socket");
  return fd;
}

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Status(Code::kInvalidArgument, "socket path '" + path + "' has " +
                                              std::to_string(path.size()) +
                                              " bytes; a UNIX socket path has 1 to " +
                                              std::to_string(sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

int ConnectTo(int fd, const sockaddr_un& address) {
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

void PauseMilliseconds(int milliseconds) { ::poll(nullptr, 0, milliseconds); }

std::string LockOf(const std::string& path) { return path + ".lock"; }

// Whoever held the lock last may have removed the file: then others lock another one.
bool IsAt(int lock, const std::string& lock_path) {
  struct stat held {};
  struct stat there {};
  return ::fstat(lock, &held) == 0 && ::lstat(lock_path.c_str(), &there) == 0 &&
         held.st_dev == there.st_dev && held.st_ino == there.st_ino;
}

// Held while a starter looks, unlinks and binds.
Result<UniqueFd> LockStarters(const std::string& path, std::chrono::milliseconds patience) {
  const std::string lock_path = LockOf(path);
  const Clock::time_point deadline = Clock::now() + patience;
  for (;;) {
    UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock) return ErrnoStatus(errno, "cannot open the lock file " + lock_path);
    const bool locked = ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
    if (locked && IsAt(lock.get(), lock_path)) return lock;
    if (locked) continue;
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return ErrnoStatus(errno, "cannot lock " + lock_path);
    }
    if (Clock::now() >= deadline) {
      return Status(Code::kUnavailable, "another process has been holding " + lock_path + " for " +
                                            std::to_string(patience.count()) + " ms; is it stuck?");
    }
    PauseMilliseconds(10);
  }
}

pid_t PidInLock(int lock) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(lock, text.data(), text.size() - 1, 0);
  if (size <= 0) return 0;
  const auto pid = static_cast<pid_t>(std::strtol(text.data(), nullptr, 10));
  const bool exists = pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM);
  return exists ? pid : 0;
}

void NotePidInLock(int lock) {
  const std::string text = std::to_string(::getpid()) + "\n";
  // Only a message to people depends on it, so a full disk is no reason not to start.
  if (::ftruncate(lock, 0) != 0) return;
  [[maybe_unused]] const ssize_t written = ::pwrite(lock, text.data(), text.size(), 0);
}

// Fails where `path` must not be replaced; otherwise it is free afterwards.
Status ClearPath(const std::string& path, const sockaddr_un& address, UnixSocketType type,
                 int lock) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Status() : ErrnoStatus(errno, "cannot look at " + path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Status(Code::kAlreadyExists, path +
                                            " exists and is no socket; remove it or choose "
                                            "another path");
  }
  // Connecting with the wrong type tells a live listener (EPROTOTYPE) from a dead file
  // (ECONNREFUSED), and the listener sees nothing of it.
  Result<UniqueFd> probe =
      NewSocket(type == UnixSocketType::kStream ? SOCK_SEQPACKET : SOCK_STREAM);
  if (!probe.ok()) return probe.status();
  const int error = ConnectTo(probe.value().get(), address) == 0 ? 0 : errno;
  if (error == ENOENT) return Status();
  if (error == EPROTOTYPE || error == 0 || error == EAGAIN) {
    const pid_t pid = PidInLock(lock);
    const std::string holder =
        pid > 0 ? "the live process " + std::to_string(pid) : "a live process of another program";
    return Status(Code::kAlreadyExists,
                  path + " is in use by " + holder + "; stop it or choose another path");
  }
  if (error != ECONNREFUSED) {
    return ErrnoStatus(error, "cannot tell whether anyone listens on " + path);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "cannot remove the stale socket " + path);
  }
  return Status();
}

// REQUIRES: the starters' lock is held.
Result<UniqueFd> Bind(const std::string& path, const sockaddr_un& address, UnixSocketType type,
                      mode_t mode, int backlog) {
  Result<UniqueFd> fd = NewSocket(KernelType(type));
  if (!fd.ok()) return fd;
  const int listener = fd.value().get();
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(sockaddr_un)) != 0) {
    return ErrnoStatus(errno, "cannot bind " + path);
  }
  // Nobody gets in before listen(), so the mode is never wider than asked for.
  if (::chmod(path.c_str(), mode) != 0) return ErrnoStatus(errno, "cannot set the mode of " + path);
  if (::listen(listener, backlog) != 0) return ErrnoStatus(errno, "cannot listen on " + path);
  return fd;
}

}  // namespace

Result<UniqueFd> ListenUnix(const std::string& path, UnixSocketType type, mode_t mode,
                            int backlog) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address.ok()) return address.status();
  const Result<UniqueFd> lock = LockStarters(path, kLockPatience);
  if (!lock.ok()) return lock.status();
  const Status clear = ClearPath(path, address.value(), type, lock.value().get());
  Result<UniqueFd> fd =
      clear.ok() ? Bind(path, address.value(), type, mode, backlog) : Result<UniqueFd>(clear);
  if (fd.ok()) {
    NotePidInLock(lock.value().get());
  } else if (PidInLock(lock.value().get()) == 0) {
    ::unlink(LockOf(path).c_str());
  }
  return fd;
}

void RemoveStartersLock(const std::string& path) {
  const Result<UniqueFd> lock = LockStarters(path, kUnlockPatience);
  if (!lock.ok()) return;
  const pid_t last = PidInLock(lock.value().get());
  if (last == 0 || last == ::getpid()) ::unlink(LockOf(path).c_str());
}

Result<UniqueFd> ConnectUnix(const std::string& path, UnixSocketType type,
                             Clock::time_point deadline) {
  const Result<sockaddr_un> address = AddressOf(path);
  if (!address.ok()) return address.status();
  Result<UniqueFd> fd = NewSocket(KernelType(type));
  if (!fd.ok()) return fd;
  for (;;) {
    if (ConnectTo(fd.value().get(), address.value()) == 0) return fd;
    const int error = errno;
    if (error == EINTR) continue;
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
      return Status(Code::kInvalidArgument, path + " is a directory; name the socket in it");
    }
    if (error == ECONNREFUSED) {
      return Status(Code::kUnavailable, "nobody listens on " + path + "; is the daemon running?");
    }
    if (error == EPROTOTYPE) {
      return Status(Code::kFailedPrecondition,
                    path + " is a socket of another type; is it the path of another service?");
    }
    if (error != EAGAIN) return ErrnoStatus(error, "cannot connect to " + path);
    // The backlog is full. UNIX sockets report that it has room again to nobody: look again.
    if (Clock::now() >= deadline) {
      return Status(Code::kDeadlineExceeded,
                    "the listener on " + path + " accepts no connections; is it stuck?");
    }
    PauseMilliseconds(5);
  }
}

uint64_t ProcessStartTime(pid_t pid) {
  UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return 0;
  std::array<char, 1024> text{};
  const ssize_t size = ::read(file.get(), text.data(), text.size() - 1);
  if (size <= 0) return 0;
  // The second field is the name in parentheses and may itself hold spaces and parentheses.
  const char* field = std::strrchr(text.data(), ')');
  if (field == nullptr) return 0;
  ++field;  // before the space in front of field 3
  for (int number = 3; number < 22; ++number) {
    field = std::strchr(field + 1, ' ');
    if (field == nullptr) return 0;
  }
  return std::strtoull(field, nullptr, 10);
}

Result<UniqueFd> OpenProcess(const PeerProcess& process) {
  if (process.pid <= 0) {
    return Status(Code::kFailedPrecondition,
                  "the process at the other end cannot be watched: it is in a PID namespace that "
                  "this daemon does not see; both have to share one");
  }
  const std::string name = "process " + std::to_string(process.pid);
  // glibc 2.36 declares pidfd_open() without C linkage.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!pidfd) {
    const int error = errno;
    if (error == ESRCH) return Status(Code::kNotFound, name + " has ended");
    return ErrnoStatus(error, "cannot watch " + name);
  }
  // Looked at after the pidfd was taken: if it is the same, so is the process.
  if (process.start_time == 0 || ProcessStartTime(process.pid) != process.start_time) {
    return Status(Code::kNotFound, name + " has ended");
  }
  return pidfd;
}

Result<PeerProcess> PeerOf(int socket) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrnoStatus(errno, "cannot read the credentials of a connection");
  }
  return PeerProcess{credentials.pid, credentials.uid, credentials.gid,
                     ProcessStartTime(credentials.pid)};
}

}  // namespace ivmq::transport
