#include "sdk/command/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

void Set(int eventfd) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(eventfd, &one, sizeof(one));
}

}  // namespace

void Interrupt::Prepare() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

Interrupt::Interrupt(std::function<void()> on_interrupt, Output output)
    : on_interrupt_(std::move(on_interrupt)),
      output_(output),
      happened_fd_(::eventfd(0, EFD_CLOEXEC)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  const sigset_t signals = Signals();
  signals_ = transport::UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  StopWaitingForRoomOnce(happened_fd_.get());
  thread_ = std::thread([this] { Run(); });
}

Interrupt::~Interrupt() {
  Set(stop_.get());
  thread_.join();
  StopWaitingForRoomOnce(-1);
}

void Interrupt::Run() {
  const int output = output_ == Output::kPrints ? STDOUT_FILENO : -1;
  std::array<pollfd, 3> fds{
      {{signals_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}, {output, 0, 0}}};
  for (;;) {
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0) return;
    if ((fds[2].revents & POLLERR) != 0) std::_Exit(kDone);
    if (fds[2].revents != 0) fds[2].fd = -1;  // closed: whoever writes says so
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) continue;
    // Pairs with the acquire in happened().
    if (happened_.exchange(true, std::memory_order_acq_rel)) std::_Exit(kFailed);
    Set(happened_fd_.get());
    on_interrupt_();
  }
}

}  // namespace ivmq::command
