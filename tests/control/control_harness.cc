#include "tests/control/control_harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <stdexcept>

#include "broker/control/control.h"
#include "transport/event_loop.h"
#include "transport/fd_passing.h"
#include "transport/log.h"

namespace ivmq::control {
namespace {

using broker::KeeperEvent;
using broker::KeeperEventKind;
using transport::UniqueFd;

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

UniqueFd Copy(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

std::pair<UniqueFd, UniqueFd> Pair(int type) {
  int ends[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    throw std::runtime_error("socketpair");
  }
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

ControlHarness::ControlHarness(const Options& options)
    : options_(options),
      region_(options.region_fd >= 0
                  ? Copy(options.region_fd)
                  : Must(transport::CreateRegionMemfd("test", options.region_bytes,
                                                      transport::RegionPages::kOnDemand))),
      host_vectors_(Must(transport::CreateEventfds(options.vectors))) {
  SetLogLevel(LogLevel::kError);
  auto [mine, its] = Pair(SOCK_SEQPACKET);
  keeper_ = std::move(mine);
  thread_ = std::thread([this, socket = its.Release()] {
    const auto loop = Must(transport::EventLoop::Create());
    Control control(loop.get(), UniqueFd(socket));
    loop->Run();
    failure_ = control.failure();
  });
  KeeperEvent hello = Event(KeeperEventKind::kHello);
  hello.value = options.protocol_version;
  Send(hello);
  KeeperEvent realm = Event(KeeperEventKind::kRealm);
  std::strcpy(realm.name, "test");
  realm.region_bytes = options.region_bytes;
  realm.vectors = options.vectors;
  realm.generation = 1;
  realm.flag = options.is_new ? 1 : 0;
  std::memset(realm.uuid, 0x5a, sizeof(realm.uuid));
  Send(realm, {region_.get()});
  KeeperEvent doorbells = Event(KeeperEventKind::kDoorbells);
  std::vector<int> fds;
  for (const UniqueFd& fd : host_vectors_) fds.push_back(fd.get());
  doorbells.count = options.vectors;
  Send(doorbells, fds);
  Send(Event(KeeperEventKind::kReady));
  if (!options.wait_until_ready) return;
  const auto command = NextCommand();
  if (!command || command->kind != broker::KeeperCommandKind::kRealmReady) {
    throw std::runtime_error(command ? command->text : "control said nothing");
  }
}

ControlHarness::~ControlHarness() { Stop(); }

std::string ControlHarness::Stop() {
  keeper_.Reset();
  if (thread_.joinable()) thread_.join();
  return failure_;
}

KeeperEvent ControlHarness::Event(KeeperEventKind kind) const {
  KeeperEvent event{};
  event.kind = kind;
  return event;
}

void ControlHarness::Send(const KeeperEvent& event, std::vector<int> fds) {
  const bool sent = WaitUntil([&] {
    return transport::SendWithFds(keeper_.get(), std::as_bytes(std::span(&event, 1)), fds) > 0 ||
           errno != EAGAIN;
  });
  if (!sent) throw std::runtime_error("control does not read");
}

std::optional<broker::KeeperCommand> ControlHarness::NextCommand() {
  pollfd ready{keeper_.get(), POLLIN, 0};
  if (poll(&ready, 1, std::chrono::milliseconds(kPatience).count()) != 1) return std::nullopt;
  broker::KeeperCommand command{};
  if (recv(keeper_.get(), &command, sizeof(command), 0) != sizeof(command)) return std::nullopt;
  return command;
}

TestNode ControlHarness::AttachNode(uint32_t vector) {
  auto [mine, its] = Pair(SOCK_STREAM);
  KeeperEvent event = Event(KeeperEventKind::kNodeAttached);
  event.connection = next_connection_++;
  event.vector = vector;
  event.pid = getpid();
  Send(event, {its.get()});
  return TestNode(event.connection, std::move(mine));
}

void ControlHarness::NodeGone(const TestNode& node, broker::GoneProof proof) {
  KeeperEvent event = Event(KeeperEventKind::kNodeGone);
  event.connection = node.connection();
  event.proof = proof;
  Send(event);
}

TestPeer ControlHarness::ConnectPeer(uint32_t id) {
  transport::MemfdDevice::Parts parts;
  parts.region = Copy(region_.get());
  parts.peer_id = id;
  parts.vectors = Must(transport::CreateEventfds(options_.vectors));
  KeeperEvent doorbells = Event(KeeperEventKind::kDoorbells);
  doorbells.peer = id;
  doorbells.count = options_.vectors;
  std::vector<int> fds;
  for (const UniqueFd& fd : parts.vectors) fds.push_back(fd.get());
  Send(doorbells, fds);
  KeeperEvent connected = Event(KeeperEventKind::kPeerConnected);
  connected.peer = id;
  connected.pid = 4711;
  Send(connected);
  TestPeer peer{id, Must(transport::MemfdDevice::Open(std::move(parts)))};
  for (uint32_t v = 0; v < options_.vectors; ++v) {
    peer.device->AddDoorbell(0, v, Copy(host_vectors_[v].get()));
  }
  return peer;
}

void ControlHarness::PeerGone(uint32_t id, broker::GoneProof proof) {
  KeeperEvent event = Event(KeeperEventKind::kPeerGone);
  event.peer = id;
  event.proof = proof;
  Send(event);
}

UniqueFd ControlHarness::ConnectAdmin() {
  auto [mine, its] = Pair(SOCK_STREAM);
  Send(Event(KeeperEventKind::kAdminConnected), {its.get()});
  return std::move(mine);
}

}  // namespace ivmq::control
