// ivmqd: keeps realms and everyone's file descriptors, and runs control beside it.
//
// Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 misused.

#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include "broker/keeper/command_line.h"
#include "broker/keeper/config.h"
#include "broker/keeper/keeper.h"
#include "transport/event_loop.h"
#include "transport/log.h"

namespace ivmq::broker {
namespace {

constexpr int kFailed = 1;
constexpr int kMisused = 2;

int Report(int code, const std::string& message) {
  std::fprintf(stderr, "ivmqd: %s\n", message.c_str());
  return code;
}

transport::Result<KeeperConfig> LoadConfig(const CommandLine& line) {
  ConfigText file;
  if (line.config_path) {
    auto read = ReadConfigFile(*line.config_path);
    if (!read.ok()) return read.status();
    file = std::move(read).value();
  }
  auto text = Merge(std::move(file), line.flags);
  if (!text.ok()) return text.status();
  return Resolve(text.value(), Machine::ThisOne());
}

// SIGTERM and SIGINT as readable events; both stay blocked.
transport::UniqueFd TakeStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return transport::UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

int Main(int argc, char** argv) {
  const CommandLine line = ParseCommandLine(argc, argv);
  if (line.exit_code) return *line.exit_code;
  auto config = LoadConfig(line);
  if (!config.ok()) return Report(kMisused, config.status().message());
  SetLogName("ivmqd");
  SetLogLevel(config.value().log_level);

  const auto created = transport::EventLoop::Create();
  if (!created.ok()) return Report(kFailed, created.status().message());
  transport::EventLoop& loop = *created.value();
  Keeper keeper(&loop, std::move(config).value());
  const transport::UniqueFd signals = TakeStopSignals();
  const transport::FdWatch watch(&loop, signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info;
    while (read(signals.get(), &info, sizeof info) == sizeof info) {
    }
    keeper.Stop();
  });
  if (transport::Status status = keeper.Start(); !status.ok()) {
    return Report(kFailed, status.message());
  }
  return keeper.Run();
}

}  // namespace
}  // namespace ivmq::broker

int main(int argc, char** argv) {
  try {
    return ivmq::broker::Main(argc, argv);
  } catch (const std::exception& error) {
    return ivmq::broker::Report(ivmq::broker::kFailed, error.what());
  }
}
