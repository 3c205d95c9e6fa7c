#include "broker/keeper/control_process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

#include "broker/keeper_protocol.h"

namespace ivmq::broker {
namespace {

using transport::Code;
using transport::ErrnoStatus;
using transport::Result;
using transport::Status;
using transport::UniqueFd;

// In the child, between fork and exec: async-signal-safe calls only.
[[noreturn]] void Become(const char* binary, const char* log_level, int socket) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (socket == kControlSocketFd) {
    fcntl(socket, F_SETFD, 0);
  } else {
    dup2(socket, kControlSocketFd);
  }
  close_range(kControlSocketFd + 1, ~0U, 0);
  char* const arguments[] = {const_cast<char*>(binary), const_cast<char*>(log_level), nullptr};
  execv(binary, arguments);
  constexpr char kSorry[] = "ivmqd: cannot execute control\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kSorry, sizeof kSorry - 1);
  _exit(127);
}

}  // namespace

Result<std::string> FindControlBinary() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path beside = self.parent_path() / "ivmqd-control";
  const std::filesystem::path installed =
      self.parent_path().parent_path() / "libexec" / "ivmq" / "ivmqd-control";
  for (const auto& path : {beside, installed}) {
    if (access(path.c_str(), X_OK) == 0) return path.string();
  }
  return Status(Code::kNotFound,
                fmt::format("ivmqd-control is neither at {} nor at {}: build or install it",
                            beside.string(), installed.string()));
}

Result<std::unique_ptr<ControlProcess>> ControlProcess::Start(transport::EventLoop* loop,
                                                              const std::string& binary,
                                                              const std::string& log_level,
                                                              UniqueFd socket, OnExit on_exit) {
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus(errno, "fork for control");
  if (pid == 0) Become(binary.c_str(), log_level.c_str(), socket.get());
  // glibc 2.36 declares pidfd_open() without C linkage.
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    const int error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return ErrnoStatus(error, "pidfd_open for control");
  }
  return std::unique_ptr<ControlProcess>(
      new ControlProcess(loop, pid, std::move(pidfd), std::move(on_exit)));
}

ControlProcess::ControlProcess(transport::EventLoop* loop, pid_t pid, UniqueFd pidfd,
                               OnExit on_exit)
    : pid_(pid),
      on_exit_(std::move(on_exit)),
      pidfd_(std::move(pidfd)),
      watch_(loop, pidfd_.get(), EPOLLIN, [this](uint32_t) { Reap(); }) {}

ControlProcess::~ControlProcess() {
  if (!running_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void ControlProcess::Signal(int signal) {
  if (running_) kill(pid_, signal);
}

void ControlProcess::Reap() {
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return;
  running_ = false;
  watch_.Reset();
  on_exit_(WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                               : fmt::format("exited with code {}", WEXITSTATUS(status)));
}

}  // namespace ivmq::broker
