#include "tests/keeper/daemon.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "transport/unix_socket.h"

namespace ivmq::broker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uid_t kNobody = 65534;

// In the child, before exec.
void Become(const Process::Options& options) {
  const int null = open("/dev/null", O_RDWR);
  const int log = options.stderr_path.empty()
                      ? STDERR_FILENO
                      : open(options.stderr_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  close_range(3, ~0U, 0);
  if (options.open_files) {
    const rlimit limit{*options.open_files, *options.open_files};
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (options.as_nobody && geteuid() == 0) {
    if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) _exit(126);
  }
  for (const std::string& assignment : options.environment) {
    putenv(const_cast<char*>(assignment.c_str()));
  }
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

bool WaitUntil(const std::function<bool()>& done, std::chrono::seconds patience) {
  const auto deadline = Clock::now() + patience;
  while (!done()) {
    if (Clock::now() >= deadline) return done();
    poll(nullptr, 0, 1);
  }
  return true;
}

TemporaryDirectory::TemporaryDirectory() : path_("/tmp/ivmq-test-XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr || chmod(path_.c_str(), 0777) != 0) {
    std::perror("mkdtemp");
    std::abort();
  }
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(const Options& options) : stderr_path_(options.stderr_path) {
  pid_ = fork();
  if (pid_ == 0) Become(options);
}

Process::~Process() {
  if (Reap()) return;
  kill(pid_, SIGKILL);
  kill(pid_, SIGCONT);
  waitpid(pid_, nullptr, 0);
}

bool Process::Reap() {
  int status = 0;
  if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) {
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return status_.has_value();
}

bool Process::running() { return !Reap(); }

void Process::Signal(int signal) const {
  if (!status_) kill(pid_, signal);
}

std::optional<int> Process::Wait(std::chrono::seconds patience) {
  WaitUntil([this] { return Reap(); }, patience);
  return status_;
}

std::string Process::Stderr() const {
  std::ifstream file(stderr_path_);
  return {std::istreambuf_iterator<char>(file), {}};
}

Daemon::Daemon(const Options& options) {
  std::string ivmqd = IVMQD_PATH;
  std::string control = options.control_binary.empty() ? FAKE_CONTROL_PATH : options.control_binary;
  if (options.as_nobody) {
    // Nobody may not be able to reach the build tree.
    std::filesystem::copy_file(ivmqd, directory_ / "ivmqd");
    std::filesystem::copy_file(control, directory_ / "control");
    ivmqd = directory_ / "ivmqd";
    control = directory_ / "control";
  }
  std::vector<std::string> arguments = {ivmqd,         "--control-binary", control,
                                        "--vm-socket", vm_socket(),        "--node-socket",
                                        node_socket(), "--admin-socket",   admin_socket()};
  arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
  process_.emplace(Process::Options{arguments,
                                    {"IVMQ_FAKE_CONTROL=" + options.control_mode},
                                    directory_ / "stderr",
                                    options.open_files,
                                    options.as_nobody});
}

bool Daemon::WaitUntilReady() {
  WaitUntil([this] {
    return process_->Stderr().find("ready: ") != std::string::npos || !process_->running();
  });
  return process_->running();
}

std::string Daemon::Ask(const std::string& request) const {
  auto socket = transport::ConnectUnix(admin_socket(), transport::UnixSocketType::kStream,
                                       Clock::now() + kPatience);
  if (!socket.ok()) return "";
  const int fd = socket.value().get();
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string answer;
  while (answer != ".\n" && !answer.ends_with("\n.\n")) {
    pollfd readable{fd, POLLIN, 0};
    if (poll(&readable, 1, 60'000) <= 0) return "";
    char piece[65536];
    const ssize_t size = recv(fd, piece, sizeof piece, 0);
    if (size <= 0) return answer;
    answer.append(piece, static_cast<size_t>(size));
  }
  answer.resize(answer.size() - 2);
  return answer;
}

bool Daemon::WaitForEvent(const std::string& event) const {
  return WaitUntil([&] { return Ask("seen " + event) == "yes\n"; });
}

}  // namespace ivmq::broker
