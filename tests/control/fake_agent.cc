#include "tests/control/fake_agent.h"

#include <grpcpp/create_channel_posix.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <stdexcept>
#include <thread>

#include "transport/stream.h"

namespace ivmq::control {
namespace {

using Clock = std::chrono::steady_clock;

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

}  // namespace

FakeAgent::FakeAgent(const TestPeer& peer) : peer_(peer) {
  const auto region = peer.device->region();
  const transport::RegionInfo info = Must(transport::OpenRegion(region));
  if (!WaitUntil([&] {
        const auto slot = transport::FindPeerSlot(region, info, peer.id);
        if (slot) entry_ = transport::PeerEntryAt(region, info, *slot);
        return entry_ != nullptr;
      })) {
    throw std::runtime_error("no entry for the peer");
  }
}

FakeAgent::~FakeAgent() { Disconnect(); }

bool FakeAgent::SayHello(const Identity& identity, std::chrono::milliseconds patience) {
  entry_->boot_id[0].store(identity.boot_id[0]);
  entry_->boot_id[1].store(identity.boot_id[1]);
  entry_->nonce.store(identity.nonce);
  entry_->echoed_nonce.store(identity.echoed_nonce.value_or(session_nonce()));
  entry_->interrupts.store(identity.interrupts ? 1 : 0);
  entry_->layout_version.store(identity.layout_version);
  entry_->vectors.store(2);
  const uint64_t hello = entry_->hello.load() + 1;
  entry_->hello.store(hello);
  Must(peer_.device->OpenDoorbell(0, 0)).Ring();
  const auto deadline = Clock::now() + patience;
  while (entry_->accepted_hello.load() != hello) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void FakeAgent::Connect() {
  Disconnect();
  const transport::StreamPlaces places = transport::LoadStreamPlaces(*entry_);
  auto wake = Must(transport::NodeWake::Open(peer_.device, places.agent_wake_offset, 0));
  streams_ = Must(transport::StreamLoop::Start(wake));
  transport::StreamOptions options;
  options.side = transport::StreamSide::kAgent;
  options.stream_id = peer_.id;
  auto links = Must(
      transport::OpenStream(peer_.device, places, options, Must(peer_.device->OpenDoorbell(0, 0))));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    throw std::runtime_error("socketpair");
  }
  streams_->Add(transport::UniqueFd(ends[1]), std::move(links), [](const transport::Status&) {});
  channel_ = grpc::CreateInsecureChannelFromFd("control", ends[0]);
  stub_ = v1::Control::NewStub(channel_);
}

void FakeAgent::Disconnect() {
  stub_.reset();
  channel_.reset();
  streams_.reset();
}

void FakeAgent::Beat() { entry_->heartbeat.fetch_add(1); }

uint64_t FakeAgent::session_nonce() const { return entry_->session_nonce.load(); }

bool GuestNode::Attach(uint64_t connection_id, uint64_t session_nonce, uint32_t vector) {
  v1::NodeRequest request;
  v1::AttachedProcess* attached = request.mutable_attached();
  attached->set_pid(100);
  attached->set_interrupts(true);
  attached->set_vector(vector);
  attached->set_connection_id(connection_id);
  attached->set_session_nonce(session_nonce);
  return stream_->Write(request);
}

void GuestNode::Exited(uint64_t connection_id, uint64_t session_nonce) {
  v1::NodeRequest request;
  request.mutable_exited()->set_connection_id(connection_id);
  request.mutable_exited()->set_session_nonce(session_nonce);
  stream_->Write(request);
}

GuestNode::GuestNode(FakeAgent* agent, uint64_t connection_id, const std::string& name)
    : GuestNode(agent) {
  Attach(connection_id);
  EXPECT_NE(Hello(name), 0u);
}

v1::NodeEvent GuestNode::Call(v1::NodeRequest request) {
  request.set_request_id(next_request_++);
  stream_->Write(request);
  v1::NodeEvent event;
  while (stream_->Read(&event)) {
    if (event.request_id() == request.request_id() && !event.has_counters_wanted()) return event;
    events_.push_back(event);
  }
  return {};
}

v1::NodeEvent GuestNode::NextOf(v1::NodeEvent::EventCase kind) {
  for (;;) {
    v1::NodeEvent event;
    if (!events_.empty()) {
      event = events_.front();
      events_.pop_front();
    } else if (!stream_->Read(&event)) {
      return {};
    }
    if (event.event_case() == kind) return event;
  }
}

uint64_t GuestNode::Hello(const std::string& name) {
  v1::NodeRequest request;
  request.mutable_hello()->set_protocol_version(2);
  request.mutable_hello()->set_node_name(name);
  return Call(request).welcome().node_id();
}

grpc::Status GuestNode::Finish() {
  stream_->WritesDone();
  v1::NodeEvent event;
  while (stream_->Read(&event)) {
  }
  return stream_->Finish();
}

}  // namespace ivmq::control
