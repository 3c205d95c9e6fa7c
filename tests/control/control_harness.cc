#include "tests/control/control_harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <stdexcept>

#include "broker/control/control.h"
#include "broker/control/log.h"
#include "broker/keeper/event_loop.h"
#include "transport/fd_passing.h"

namespace ivmq::control {
namespace {

using broker::KeeperEvent;
using broker::KeeperEventKind;
using transport::UniqueFd;
using Clock = std::chrono::steady_clock;

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

bool WaitUntil(const std::function<bool()>& done) {
  const auto deadline = Clock::now() + kPatience;
  while (!done()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

void TestNode::Tell(const v1::NodeRequest& request) {
  (void)channel_.Send(request.SerializeAsString());
}

bool TestNode::Receive(v1::NodeEvent* event) {
  transport::FrameChannel::Frame frame;
  if (!channel_.ReceiveUntil(Clock::now() + kPatience, &frame).ok()) return false;
  if (!frame.fds.empty()) fds_ = std::move(frame.fds);
  return event->ParseFromString(frame.payload);
}

v1::NodeEvent TestNode::Call(v1::NodeRequest request) {
  request.set_request_id(next_request_++);
  Tell(request);
  v1::NodeEvent event;
  while (Receive(&event)) {
    if (event.request_id() == request.request_id() && !event.has_counters_wanted()) return event;
    events_.push_back(event);
  }
  return {};
}

v1::NodeEvent TestNode::Next() {
  v1::NodeEvent event;
  if (!events_.empty()) {
    event = events_.front();
    events_.pop_front();
  } else if (!Receive(&event)) {
    return {};
  }
  return event;
}

v1::NodeEvent TestNode::NextOf(v1::NodeEvent::EventCase kind) {
  for (;;) {
    v1::NodeEvent event = Next();
    if (event.event_case() == kind || event.event_case() == v1::NodeEvent::EVENT_NOT_SET) {
      return event;
    }
  }
}

bool TestNode::AtEof() {
  transport::FrameChannel::Frame frame;
  const auto deadline = Clock::now() + kPatience;
  for (;;) {
    const transport::Status status = channel_.ReceiveUntil(deadline, &frame);
    if (!status.ok()) return status.code() == transport::Code::kUnavailable;
  }
}

uint64_t TestNode::Hello(const std::string& name) {
  v1::NodeRequest request;
  request.mutable_hello()->set_protocol_version(1);
  request.mutable_hello()->set_node_name(name);
  request.mutable_hello()->set_sdk_version("test");
  return Call(request).welcome().node_id();
}

v1::NodeEvent TestNode::Publish(const std::string& topic, const std::string& type,
                                uint64_t ring_bytes) {
  v1::NodeRequest request;
  auto* wish = request.mutable_register_publisher();
  wish->set_topic(topic);
  wish->set_type_name(type);
  wish->mutable_qos()->set_reliability(v1::Qos::RELIABLE);
  wish->mutable_qos()->set_ring_bytes(ring_bytes);
  return Call(request);
}

v1::NodeEvent TestNode::Subscribe(const std::string& topic, const std::string& type,
                                  uint64_t ring_bytes) {
  v1::NodeRequest request;
  auto* wish = request.mutable_register_subscriber();
  wish->set_topic(topic);
  wish->set_type_name(type);
  wish->mutable_qos()->set_reliability(v1::Qos::RELIABLE);
  wish->mutable_qos()->set_ring_bytes(ring_bytes);
  return Call(request);
}

void TestNode::LinkAttached(uint64_t link_id) {
  v1::NodeRequest request;
  request.mutable_link_attached()->set_link_id(link_id);
  Tell(request);
}

void TestNode::LinkClosed(uint64_t link_id) {
  v1::NodeRequest request;
  request.mutable_link_closed()->set_link_id(link_id);
  Tell(request);
}

v1::NodeEvent TestNode::Unregister(uint64_t endpoint_id) {
  v1::NodeRequest request;
  request.mutable_unregister()->set_id(endpoint_id);
  return Call(request);
}

ControlHarness::ControlHarness(const Options& options)
    : options_(options),
      region_(Must(transport::CreateRegionMemfd("test", options.region_bytes, false))),
      host_vectors_(Must(transport::CreateEventfds(options.vectors))) {
  SetLogLevel(LogLevel::kError);
  auto [mine, its] = Pair(SOCK_SEQPACKET);
  keeper_ = std::move(mine);
  thread_ = std::thread([this, socket = its.Release()] {
    broker::EventLoop loop;
    Control control(&loop, UniqueFd(socket));
    loop.Run();
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
