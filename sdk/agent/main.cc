#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <utility>

#include "sdk/agent/agent.h"
#include "sdk/agent/flags.h"
#include "transport/event_loop.h"
#include "transport/log.h"
#include "transport/pci_open.h"

namespace ivmq::agent {
namespace {

using transport::Result;
using transport::Status;
using transport::UniqueFd;

// Before there are threads, so that only the loop hears of them.
UniqueFd BlockSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

// gRPC otherwise looks after its channels every five seconds, which an idle agent need not do.
void QuietenGrpc() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads
  ::setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "0", 0);
}

Status Run(const Flags& flags, const UniqueFd& signals) {
  Result<transport::OpenedDevice> opened = transport::OpenDevice(flags.device, flags.bind);
  if (!opened.ok()) return opened.status();
  if (!opened.value().note.empty()) LogWarning("{}", opened.value().note);
  Result<std::unique_ptr<transport::EventLoop>> created = transport::EventLoop::Create();
  if (!created.ok()) return created.status();
  const std::shared_ptr<transport::EventLoop> loop = std::move(created).value();
  const std::shared_ptr<transport::Device> device = std::move(opened).value().device;
  Result<std::unique_ptr<Agent>> agent = Agent::Create(
      loop, device, {.node_socket = flags.node_socket, .node_socket_access = flags.access});
  if (!agent.ok()) return agent.status();
  const transport::RegionInfo& region = agent.value()->region();
  LogInfo("{}: realm '{}', {} MiB, peer {}; processes attach at {}", device->description(),
          region.realm_name, region.region_bytes >> 20, device->peer_id(), flags.node_socket);
  const transport::FdWatch watch(loop.get(), signals.get(), EPOLLIN,
                                 [&loop](uint32_t) { loop->Stop(); });
  ::sd_notify(0, "READY=1");
  loop->Run();
  ::sd_notify(0, "STOPPING=1");
  LogInfo("stopping; processes go on with the links that they have");
  return Status();
}

}  // namespace
}  // namespace ivmq::agent

int main(int argc, char** argv) {
  ivmq::agent::Flags flags;
  int exit_code = 0;
  if (!ivmq::agent::ParseFlags(argc, argv, &flags, &exit_code)) return exit_code;
  ivmq::SetLogName("ivmq-agent");
  ivmq::SetLogLevel(flags.log_level);
  const ivmq::transport::UniqueFd signals = ivmq::agent::BlockSignals();
  ivmq::agent::QuietenGrpc();
  const ivmq::transport::Status status = ivmq::agent::Run(flags, signals);
  if (status.ok()) return 0;
  ivmq::LogError("{}", status.message());
  return 1;
}
