#ifndef IVMQ_TESTS_SDK_DAEMON_H_
#define IVMQ_TESTS_SDK_DAEMON_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace ivmq::test {

// Asks every few milliseconds until `done` says true; false after `patience`.
bool WaitUntil(const std::function<bool()>& done,
               std::chrono::seconds patience = std::chrono::seconds(60));

// A child process by exec, with its stdout in a pipe. Killed and reaped at the end. One thread.
class Child {
 public:
  // The program first: an absolute path, or one in the bin folder of the build. Throws if it
  // cannot start.
  explicit Child(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment = {});
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // SIGSTOP; returns when every thread of it has stopped.
  void Stop() const;
  // The exit code, or 128 + signal. Waits up to a minute, then kills it and says -1.
  int Wait();
  // One line of its stdout without the newline; what there is at EOF. Waits up to a minute.
  std::string ReadLine();
  // All that is left until EOF.
  std::string ReadAll();

 private:
  bool ReadSome();

  pid_t pid_ = -1;
  int out_ = -1;
  std::string buffer_;
  int exit_code_ = -1;
};

// The build's ivmqd with its control in a directory of its own; ready when constructed, stopped
// at the end. Throws if it does not get ready. One thread.
class Daemon {
 public:
  // `flags` after the sockets and --size, which they may repeat.
  explicit Daemon(std::vector<std::string> flags = {});
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  std::string node_socket() const { return directory_ + "/node.sock"; }
  std::string vm_socket() const { return directory_ + "/vm.sock"; }
  std::string admin_socket() const { return directory_ + "/admin.sock"; }
  const std::string& directory() const { return directory_; }
  // What the daemon logged to its stderr so far.
  std::string log() const;

  pid_t pid() const { return pid_; }
  // Waits for it: the sockets are there before control is. Throws if it does not come, so that
  // nobody signals a process that is none.
  pid_t control_pid() const;
  // kill -9 of control, or of the keeper; returns when it is gone.
  void KillControl();
  void KillKeeper();
  // SIGTERM; the exit code, -1 if it had to be killed.
  int Stop();

 private:
  // -1 if there is none.
  pid_t FindControl() const;

  std::string directory_;
  pid_t pid_ = -1;
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_DAEMON_H_
