#ifndef IVMQ_BROKER_KEEPER_CONTROL_PROCESS_H_
#define IVMQ_BROKER_KEEPER_CONTROL_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "transport/event_loop.h"
#include "transport/status.h"
#include "transport/unique_fd.h"

namespace ivmq::broker {

// Where control's executable lies: beside this one (build tree) or in ../libexec/ivmq of it
// (installed). NOT_FOUND names both.
transport::Result<std::string> FindControlBinary();

// The running control. One thread, the event loop's.
class ControlProcess {
 public:
  // `how` is a half-sentence: "exited with code 1", "was killed by signal 9".
  using OnExit = std::function<void(const std::string& how)>;

  // Starts `binary` with `socket` as its fd kControlSocketFd, and tells it by its argument what to
  // log; of our other descriptors it inherits stdin, stdout and stderr only. A binary that cannot
  // be executed exits with code 127.
  static transport::Result<std::unique_ptr<ControlProcess>> Start(transport::EventLoop* loop,
                                                                  const std::string& binary,
                                                                  const std::string& log_level,
                                                                  transport::UniqueFd socket,
                                                                  OnExit on_exit);
  ~ControlProcess();
  ControlProcess(const ControlProcess&) = delete;
  ControlProcess& operator=(const ControlProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool running() const { return running_; }
  void Signal(int signal);

 private:
  ControlProcess(transport::EventLoop* loop, pid_t pid, transport::UniqueFd pidfd, OnExit on_exit);
  void Reap();

  const pid_t pid_;
  bool running_ = true;
  OnExit on_exit_;
  transport::UniqueFd pidfd_;
  transport::FdWatch watch_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_CONTROL_PROCESS_H_
