#ifndef IVMQ_SDK_COMMAND_INTERRUPT_H_
#define IVMQ_SDK_COMMAND_INTERRUPT_H_

#include <atomic>
#include <functional>
#include <thread>

#include "transport/unique_fd.h"

namespace ivmq::command {

// Ctrl-C and SIGTERM as a call instead of a death: the first one calls `on_interrupt` on a thread
// of its own, a second one ends the process. One at a time.
class Interrupt {
 public:
  // Call first in main(), before there are threads: blocks the signals, and ignores SIGPIPE.
  static void Prepare();

  explicit Interrupt(std::function<void()> on_interrupt);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool happened() const { return happened_.load(std::memory_order_acquire); }

 private:
  void Run();

  const std::function<void()> on_interrupt_;
  transport::UniqueFd signals_;
  transport::UniqueFd stop_;
  std::atomic<bool> happened_{false};
  std::thread thread_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_INTERRUPT_H_
