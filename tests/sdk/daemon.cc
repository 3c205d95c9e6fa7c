#include "tests/sdk/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace ivmq::test {
namespace {

constexpr int kPatienceMs = 60'000;

std::string BinaryPath(const std::string& program) {
  return program.front() != '/' ? std::string(IVMQ_BIN_DIR) + "/" + program : program;
}

// Only async-signal-safe calls between fork and exec: the parent has threads.
pid_t Spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            int out, int err) {
  const std::string path = BinaryPath(arguments.at(0));
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  envp.reserve(environment.size());
  for (const std::string& one : environment) envp.push_back(const_cast<char*>(one.c_str()));
  for (char** one = environ; *one != nullptr; ++one) envp.push_back(*one);
  envp.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork");
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // A test that crashes leaves nobody behind.
  if (out >= 0) ::dup2(out, STDOUT_FILENO);
  if (err >= 0) ::dup2(err, STDERR_FILENO);
  ::execve(path.c_str(), argv.data(), envp.data());
  ::_exit(127);
}

// The exit code, 128 + signal, or -1 if it had to be killed after a minute.
int Reap(pid_t pid) {
  int status = 0;
  const bool ended = WaitUntil([&] { return ::waitpid(pid, &status, WNOHANG) == pid; });
  if (!ended) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

bool WaitUntil(const std::function<bool()>& done, std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

Child::Child(const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  pid_ = Spawn(arguments, environment, fds[1], -1);
  ::close(fds[1]);
  out_ = fds[0];
}

Child::~Child() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::kill(pid_, SIGCONT);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(out_);
}

void Child::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

void Child::Stop() const {
  Signal(SIGSTOP);
  int status = 0;
  if (::waitpid(pid_, &status, WUNTRACED) != pid_ || !WIFSTOPPED(status)) {
    throw std::runtime_error("the child ended instead of stopping");
  }
}

int Child::Wait() {
  if (pid_ > 0) exit_code_ = Reap(pid_);
  pid_ = -1;
  return exit_code_;
}

bool Child::ReadSome() {
  pollfd readable{out_, POLLIN, 0};
  if (::poll(&readable, 1, kPatienceMs) != 1) return false;
  char bytes[65536];
  const ssize_t size = ::read(out_, bytes, sizeof(bytes));
  if (size <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(size));
  return true;
}

std::string Child::ReadLine() {
  size_t end = buffer_.find('\n');
  while (end == std::string::npos && ReadSome()) end = buffer_.find('\n');
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

std::string Child::ReadAll() {
  while (ReadSome()) {
  }
  return std::move(buffer_);
}

Daemon::Daemon(std::vector<std::string> flags) {
  std::string pattern = (std::filesystem::temp_directory_path() / "ivmqd-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  directory_ = pattern;
  std::vector<std::string> arguments = {"ivmqd",     "--node-socket",  node_socket(), "--vm-socket",
                                        vm_socket(), "--admin-socket", admin_socket()};
  bool sized = false;
  for (const std::string& flag : flags) sized |= flag == "--size";
  if (!sized) arguments.insert(arguments.end(), {"--size", "64MiB"});
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const int log = ::open((directory_ + "/log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  pid_ = Spawn(arguments, {}, log, log);
  ::close(log);
  const bool ready = WaitUntil([this] {
    return (std::filesystem::exists(node_socket()) && std::filesystem::exists(admin_socket())) ||
           ::waitpid(pid_, nullptr, WNOHANG) == pid_;
  });
  if (!ready || !std::filesystem::exists(node_socket())) {
    const std::string said = this->log();
    throw std::runtime_error("ivmqd did not get ready: " + said);
  }
}

Daemon::~Daemon() {
  Stop();
  std::filesystem::remove_all(directory_);
}

std::string Daemon::log() const { return ReadFile(directory_ + "/log"); }

pid_t Daemon::FindControl() const {
  const std::string pid = std::to_string(pid_);
  std::istringstream children(ReadFile("/proc/" + pid + "/task/" + pid + "/children"));
  pid_t child = -1;
  while (children >> child) {
    const std::string name = ReadFile("/proc/" + std::to_string(child) + "/comm");
    if (name.rfind("ivmqd-control", 0) == 0) return child;
  }
  return -1;
}

pid_t Daemon::control_pid() const {
  pid_t control = -1;
  if (!WaitUntil([this, &control] { return (control = FindControl()) > 0; })) {
    throw std::runtime_error("ivmqd has no control");
  }
  return control;
}

void Daemon::KillControl() {
  const pid_t control = control_pid();
  ::kill(control, SIGKILL);
  if (!WaitUntil([this, control] { return FindControl() != control; })) {
    throw std::runtime_error("control survived kill -9");
  }
}

void Daemon::KillKeeper() {
  ::kill(pid_, SIGKILL);
  Reap(pid_);
  pid_ = -1;
}

int Daemon::Stop() {
  if (pid_ <= 0) return 0;
  ::kill(pid_, SIGTERM);
  const int code = Reap(pid_);
  pid_ = -1;
  return code;
}

}  // namespace ivmq::test
