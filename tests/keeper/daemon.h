#ifndef IVMQ_TESTS_KEEPER_DAEMON_H_
#define IVMQ_TESTS_KEEPER_DAEMON_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "transport/unique_fd.h"

namespace ivmq::broker {

inline constexpr std::chrono::seconds kPatience{60};

// Asks until `done` says true or the deadline has passed; returns what it said last.
bool WaitUntil(const std::function<bool()>& done, std::chrono::seconds patience = kPatience);

// A directory in /tmp that goes with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A child process with its stderr in a file. Killed and reaped at the end.
class Process {
 public:
  struct Options {
    std::vector<std::string> arguments;         // the program first
    std::vector<std::string> environment = {};  // NAME=value, added to ours
    std::string stderr_path = {};
    std::optional<uint64_t> open_files = {};  // RLIMIT_NOFILE, soft and hard
    bool as_nobody = false;                   // where this process may: without root's rights
  };
  explicit Process(const Options& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  bool running();
  // The exit code, 128 + signal if it was killed; none at the deadline.
  std::optional<int> Wait(std::chrono::seconds patience = kPatience);
  // What it has written to stderr.
  std::string Stderr() const;

 private:
  bool Reap();

  pid_t pid_ = -1;
  std::optional<int> status_;
  std::string stderr_path_;
};

// ivmqd with a fake control (fake_control.cc) and its sockets in a directory of its own.
class Daemon {
 public:
  struct Options {
    std::vector<std::string> flags = {"--size", "1MiB", "--vectors", "2"};
    std::string control_mode = {};
    std::string control_binary = {};  // empty: the fake one
    std::optional<uint64_t> open_files = {};
    bool as_nobody = false;
  };
  Daemon() : Daemon(Options()) {}
  explicit Daemon(const Options& options);

  // Whether it says "ready" in time.
  bool WaitUntilReady();
  // Sends one request to the fake control and returns its answer, "" if there is none.
  std::string Ask(const std::string& request) const;
  // Whether the fake control has seen an event that contains this.
  bool WaitForEvent(const std::string& event) const;

  std::string vm_socket() const { return directory_ / "vm.sock"; }
  std::string node_socket() const { return directory_ / "node.sock"; }
  std::string admin_socket() const { return directory_ / "admin.sock"; }
  const TemporaryDirectory& directory() const { return directory_; }
  Process& process() { return *process_; }

 private:
  TemporaryDirectory directory_;
  std::optional<Process> process_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_TESTS_KEEPER_DAEMON_H_
