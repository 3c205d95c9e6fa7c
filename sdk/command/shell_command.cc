#include "sdk/command/shell_command.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>
#include <utility>

#include "transport/unique_fd.h"

extern char** environ;

namespace ivmq::command {
namespace {

using transport::UniqueFd;

constexpr int kLookEveryMs = 100;
// Leads the command's process group and kills it when we die, be it by SIGKILL: its standard input
// is a pipe that only we can write to, and never do.
constexpr const char* kGuardian = "read -r never; kill -KILL 0";

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

bool MakePipe(Pipe* made) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return false;
  made->read = UniqueFd(fds[0]);
  made->write = UniqueFd(fds[1]);
  return true;
}

// Whether `one`, a NAME=value of ours, is given another value.
bool IsGiven(const std::vector<std::string>& given, std::string_view one) {
  const std::string_view name = one.substr(0, one.find('=') + 1);
  return std::any_of(given.begin(), given.end(),
                     [&](const std::string& other) { return other.starts_with(name); });
}

// Starts a shell in the process group `group` (0: one of its own), with the signals that we block
// or ignore as they are by default. An errno.
int Spawn(const ShellCommand& command, int in, int out, pid_t group, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigaddset(&signals, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setpgroup(&attributes, group);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::string text = command.command;
  std::array<char*, 4> argv = {const_cast<char*>("sh"), const_cast<char*>("-c"), text.data(),
                               nullptr};
  std::vector<char*> envp;
  for (const std::string& one : command.environment) {
    envp.push_back(const_cast<char*>(one.c_str()));
  }
  for (char** one = environ; *one != nullptr; ++one) {
    if (!IsGiven(command.environment, *one)) envp.push_back(*one);
  }
  envp.push_back(nullptr);
  const int error = ::posix_spawn(pid, "/bin/sh", &actions, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// A child that is killed and reaped at the end.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    static_cast<void>(Reap());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // What waitpid says.
  int Reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

Status StatusOf(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return {Code::kInternal,
          WIFEXITED(status) ? fmt::format("the command ended with status {}", WEXITSTATUS(status))
                            : fmt::format("signal {} killed the command", WTERMSIG(status))};
}

Status ErrnoStatus(const char* what, int error) {
  return {Code::kInternal, fmt::format("{}: {}", what, std::generic_category().message(error))};
}

// Feeds and reads until the child has ended and closed its output.
class Exchange {
 public:
  Exchange(UniqueFd in, UniqueFd out, UniqueFd ended, std::span<const std::byte> input)
      : in_(std::move(in)), out_(std::move(out)), ended_(std::move(ended)), input_(input) {
    ::fcntl(in_.get(), F_SETFL, O_NONBLOCK);
  }

  Status Run(size_t output_bytes_max, const std::function<bool()>& give_up) {
    while (out_ || ended_) {
      Feed();
      // poll() passes over what is negative.
      std::array<pollfd, 3> fds{
          {{in_.get(), POLLOUT, 0}, {out_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), kLookEveryMs) < 0 && errno != EINTR) {
        return ErrnoStatus("poll", errno);
      }
      if (give_up()) return {Code::kCancelled, "the command was stopped"};
      if (fds[1].revents != 0 && !Read()) out_ = UniqueFd();
      if (fds[2].revents != 0) ended_ = UniqueFd();
      if (output_.size() > output_bytes_max) {
        return {Code::kResourceExhausted,
                fmt::format("the command wrote more than the {} bytes that a reply may have",
                            output_bytes_max)};
      }
    }
    return {};
  }
  std::string TakeOutput() { return std::move(output_); }

 private:
  void Feed() {
    if (!in_) return;
    if (!input_.empty()) {
      const ssize_t written = ::write(in_.get(), input_.data(), input_.size());
      if (written < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // It need not read all of its input.
      input_ =
          written < 0 ? std::span<const std::byte>() : input_.subspan(static_cast<size_t>(written));
    }
    if (input_.empty()) in_ = UniqueFd();
  }
  bool Read() {
    char bytes[65536];
    const ssize_t size = ::read(out_.get(), bytes, sizeof(bytes));
    if (size < 0) return errno == EINTR;
    output_.append(bytes, static_cast<size_t>(size));
    return size > 0;
  }

  UniqueFd in_;
  UniqueFd out_;
  UniqueFd ended_;
  std::span<const std::byte> input_;
  std::string output_;
};

}  // namespace

Result<std::string> RunShellCommand(const ShellCommand& command, std::span<const std::byte> input,
                                    const std::function<bool()>& give_up) {
  Pipe life;
  Pipe in;
  Pipe out;
  if (!MakePipe(&life) || !MakePipe(&in) || !MakePipe(&out)) return ErrnoStatus("pipe", errno);
  pid_t group = -1;
  int error = Spawn({kGuardian, {}, 0}, life.read.get(), STDOUT_FILENO, 0, &group);
  if (error != 0) return ErrnoStatus("cannot start /bin/sh", error);
  const Child guardian(group);
  pid_t pid = -1;
  error = Spawn(command, in.read.get(), out.write.get(), group, &pid);
  if (error != 0) return ErrnoStatus("cannot start /bin/sh", error);
  Child child(pid);
  // The wrapper of glibc 2.36 is declared for C alone.
  UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!ended) return ErrnoStatus("pidfd_open", errno);
  in.read = UniqueFd();
  out.write = UniqueFd();
  Exchange exchange(std::move(in.write), std::move(out.read), std::move(ended), input);
  if (Status status = exchange.Run(command.output_bytes_max, give_up); !status.ok()) {
    ::kill(-group, SIGKILL);
    return status;
  }
  if (Status status = StatusOf(child.Reap()); !status.ok()) return status;
  return exchange.TakeOutput();
}

}  // namespace ivmq::command
