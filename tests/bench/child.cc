#include "tests/bench/child.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <span>
#include <thread>

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLimit = std::chrono::seconds(30);
// What daemons do when a process ends would spoil the calibration that comes next.
constexpr auto kCleaningUp = std::chrono::milliseconds(20);
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t interrupted = 0;

[[noreturn]] void RunChild(const std::function<std::optional<Figures>()>& measure, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int caught : kSignals) std::signal(caught, SIG_DFL);
  const auto measured = measure();
  const Figures figures = measured.value_or(Figures());
  const auto bytes = std::as_bytes(std::span(figures));
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t some = write(out, bytes.data() + written, bytes.size() - written);
    if (some <= 0) _exit(3);
    written += static_cast<size_t>(some);
  }
  _exit(measured ? 0 : 1);
}

// All until the child has closed its end; why not, if so.
std::string ReadAll(int in, std::vector<std::byte>* bytes) {
  const auto deadline = Clock::now() + kLimit;
  for (;;) {
    if (interrupted != 0) return "interrupted";
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return "no end after 30 s";
    pollfd readable{in, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left.count())) <= 0) continue;
    std::byte buffer[4096];
    const ssize_t some = read(in, buffer, sizeof buffer);
    if (some < 0 && errno != EINTR) return "read";
    if (some == 0) return "";
    if (some > 0) bytes->insert(bytes->end(), buffer, buffer + some);
  }
}

}  // namespace

std::optional<Figures> InAChild(const std::function<std::optional<Figures>()>& measure) {
  int ends[2];
  if (pipe(ends) != 0) throw Failed("pipe");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) throw Failed("fork");
  if (child == 0) {
    close(ends[0]);
    RunChild(measure, ends[1]);
  }
  close(ends[1]);
  std::vector<std::byte> bytes;
  const std::string failure = ReadAll(ends[0], &bytes);
  close(ends[0]);
  if (!failure.empty()) kill(child, SIGKILL);  // what it forked dies with it
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::this_thread::sleep_for(kCleaningUp);
  if (!failure.empty()) throw Failed(failure);
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) throw Failed("an end failed");
  if (WEXITSTATUS(status) == 1) return std::nullopt;
  Figures figures(bytes.size() / sizeof(double));
  std::memcpy(figures.data(), bytes.data(), figures.size() * sizeof(double));
  return figures;
}

void CatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = [](int /*signal*/) { interrupted = 1; };  // no SA_RESTART: it ends waits
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

}  // namespace ivmq::bench
