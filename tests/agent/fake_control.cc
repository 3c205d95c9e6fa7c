#include "tests/agent/fake_control.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <utility>

#include "ivmq/v1/control.grpc.pb.h"

namespace ivmq::agent {

using transport::LocalRealm;
using transport::PeerEntry;
using transport::UniqueFd;

bool FakeControl::Session::Has(v1::NodeRequest::RequestCase what) const {
  for (const v1::NodeRequest& request : requests) {
    if (request.request_case() == what) return true;
  }
  return false;
}

class FakeControl::Service : public v1::Control::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::NodeEvent, v1::NodeRequest>;

  Service() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Service() override { server_->Shutdown(std::chrono::system_clock::now()); }

  void AddConnection(UniqueFd socket) {
    grpc::AddInsecureChannelFromFd(server_.get(), socket.Release());
  }

  grpc::Status Session(grpc::ServerContext*, Stream* stream) override {
    const size_t index = NewSession();
    v1::NodeRequest request;
    while (stream->Read(&request)) {
      Note(index, request);
      if (!Answer(request, stream)) break;
    }
    const std::lock_guard lock(mutex_);
    sessions_[index].half_closed = true;
    sessions_[index].over = true;
    return grpc::Status::OK;
  }

  std::vector<FakeControl::Session> sessions() const {
    const std::lock_guard lock(mutex_);
    return sessions_;
  }

  std::atomic<uint32_t> flood_events{0};
  std::atomic<uint32_t> flood_bytes{0};

 private:
  size_t NewSession() {
    const std::lock_guard lock(mutex_);
    sessions_.emplace_back();
    return sessions_.size() - 1;
  }
  void Note(size_t index, const v1::NodeRequest& request) {
    const std::lock_guard lock(mutex_);
    sessions_[index].requests.push_back(request);
  }
  // False: the call is over.
  bool Answer(const v1::NodeRequest& request, Stream* stream) {
    v1::NodeEvent event;
    event.set_request_id(request.request_id());
    if (request.has_hello()) {
      event.mutable_welcome()->set_node_id(7);
      stream->Write(event);
    } else if (request.has_watch()) {
      for (uint32_t i = 0; i < flood_events; ++i) {
        event.set_request_id(i);
        event.mutable_discovery()->mutable_topic()->set_name(std::string(flood_bytes, 'x'));
        if (!stream->Write(event)) return false;
      }
    } else if (request.has_goodbye()) {
      event.mutable_done();
      stream->Write(event);
      return false;
    }
    return true;
  }

  mutable std::mutex mutex_;
  std::vector<FakeControl::Session> sessions_;
  std::unique_ptr<grpc::Server> server_;
};

FakeControl::FakeControl()
    : host_(yard.MakeNode(yard.host)),
      loop_(LocalRealm::Must(transport::StreamLoop::Start(host_.wake))),
      service_(std::make_unique<Service>()),
      thread_([this] { Run(); }) {}

FakeControl::~FakeControl() {
  stop_ = true;
  thread_.join();
  loop_.reset();
}

void FakeControl::Announce(uint32_t peer) {
  const std::lock_guard lock(mutex_);
  const auto slot = static_cast<uint32_t>(slots_.size());
  slots_[peer] = slot;
  PeerEntry* entry = transport::PeerEntryAt(yard.host->region(), yard.realm.info(), slot);
  entry->peer_id = peer;
  entry->state = static_cast<uint32_t>(transport::PeerState::kConnected);
}

PeerEntry* FakeControl::EntryOf(uint32_t peer) {
  const auto slot = slots_.find(peer);
  if (slot == slots_.end()) return nullptr;
  return transport::PeerEntryAt(yard.host->region(), yard.realm.info(), slot->second);
}

uint64_t FakeControl::heartbeat_of(uint32_t peer) {
  const std::lock_guard lock(mutex_);
  return EntryOf(peer)->heartbeat;
}

void FakeControl::Run() {
  while (!stop_) {
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [peer, slot] : slots_) {
        PeerEntry* entry = EntryOf(peer);
        if (accepts_ && entry->hello != entry->accepted_hello) Accept(entry);
      }
    }
    // Polls for hellos, and for a test that lets them be accepted: no doorbell tells of the latter.
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void FakeControl::Accept(PeerEntry* entry) {
  const uint32_t peer = entry->peer_id;
  if (streams_.count(peer) > 0) loop_->Remove(streams_[peer]);
  constexpr uint64_t kRingBytes = 64 << 10;
  const bool polls = entry->interrupts == 0;
  const transport::StreamPlaces places = [&] {
    transport::StreamPlaces made;
    made.to_control_ring_offset = yard.Allocate(ringbuf::RingBytes(kRingBytes));
    made.to_agent_ring_offset = yard.Allocate(ringbuf::RingBytes(kRingBytes));
    ringbuf::InitializeRing(yard.At(made.to_control_ring_offset), kRingBytes);
    ringbuf::InitializeRing(yard.At(made.to_agent_ring_offset), kRingBytes);
    made.ring_bytes = kRingBytes;
    made.agent_wake_offset = yard.Allocate(sizeof(transport::WakeBlock));
    made.control_wake_offset = host_.wake_offset;
    made.to_control_ready_offset = yard.Allocate(transport::kCacheLineBytes);
    made.to_control_space_offset = yard.Allocate(transport::kCacheLineBytes);
    made.to_agent_ready_offset = yard.Allocate(transport::kCacheLineBytes);
    made.to_agent_space_offset = yard.Allocate(transport::kCacheLineBytes);
    return made;
  }();
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return;
  const transport::Doorbell bell = LocalRealm::Must(yard.host->OpenDoorbell(peer, 0));
  const transport::StreamOptions options{transport::StreamSide::kControl, peer, polls};
  auto links = transport::OpenStream(yard.host, places, options, bell);
  if (!links.ok()) {
    ADD_FAILURE() << links.status().message();
    return;
  }
  streams_[peer] = loop_->Add(UniqueFd(pair[0]), std::move(links).value(), nullptr);
  service_->AddConnection(UniqueFd(pair[1]));
  transport::StoreStreamPlaces(places, entry);
  entry->session_nonce = 1000 + ++hellos_accepted_;
  entry->accepted_hello.store(entry->hello.load());
  bell.Ring();
}

void FakeControl::set_flood(uint32_t events, uint32_t bytes_each) {
  service_->flood_bytes = bytes_each;
  service_->flood_events = events;
}

void FakeControl::DropStreams() {
  const std::lock_guard lock(mutex_);
  for (const auto& [peer, handle] : streams_) loop_->Remove(handle);
  streams_.clear();
}

std::vector<FakeControl::Session> FakeControl::sessions() const { return service_->sessions(); }

}  // namespace ivmq::agent
