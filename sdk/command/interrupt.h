#ifndef IVMQ_SDK_COMMAND_INTERRUPT_H_
#define IVMQ_SDK_COMMAND_INTERRUPT_H_

#include <atomic>
#include <functional>
#include <thread>

#include "transport/unique_fd.h"

namespace ivmq::command {

// Ctrl-C and SIGTERM as a call instead of a death: the first one calls `on_interrupt` on a thread
// of its own, a second one ends the process. From the first one on nothing that is printed waits
// for its reader. One at a time.
//
// That thread also notices when nobody reads the standard output any more (`ivmq sub | head`): then
// the process ends, quietly and with kDone, also while there is nothing to print.
class Interrupt {
 public:
  // Whether the command prints what it finds, so that it is of no use without a reader.
  enum class Output { kPrints, kSilent };

  // Call before there are threads: blocks the signals. Without an Interrupt nobody hears of them
  // any more.
  static void Prepare();

  explicit Interrupt(std::function<void()> on_interrupt, Output output = Output::kPrints);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool happened() const { return happened_.load(std::memory_order_acquire); }
  // Readable once it has happened; for poll alone.
  int fd() const { return happened_fd_.get(); }

 private:
  void Run();

  const std::function<void()> on_interrupt_;
  const Output output_;
  transport::UniqueFd happened_fd_;
  transport::UniqueFd signals_;
  transport::UniqueFd stop_;
  std::atomic<bool> happened_{false};
  std::thread thread_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_INTERRUPT_H_
