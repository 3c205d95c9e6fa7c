#ifndef IVMQ_TESTS_CONTROL_FAKE_AGENT_H_
#define IVMQ_TESTS_CONTROL_FAKE_AGENT_H_

#include <grpcpp/grpcpp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "ivmq/v1/control.grpc.pb.h"
#include "tests/control/control_harness.h"
#include "transport/region.h"
#include "transport/stream_loop.h"

namespace ivmq::control {

// The agent of a guest, in this process: says hello in the peer's entry and speaks gRPC over the
// stream that control answers with. Throws where that fails. One thread.
class FakeAgent {
 public:
  struct Identity {
    std::array<uint64_t, 2> boot_id{1, 2};
    uint64_t nonce = 3;
    uint32_t layout_version = transport::kLayoutVersion;
    bool interrupts = true;
    std::optional<uint64_t> echoed_nonce{};  // none: what the entry says, as it should be
  };
  explicit FakeAgent(const TestPeer& peer);
  ~FakeAgent();

  // Writes the hello and rings control. False if it is not accepted in time.
  bool SayHello(const Identity& identity, std::chrono::milliseconds patience = kPatience);
  // Opens the stream that the entry tells of, and gRPC over it.
  void Connect();
  // Ends the stream, as the death of the agent does.
  void Disconnect();
  void Beat();

  transport::PeerEntry* entry() const { return entry_; }
  uint64_t session_nonce() const;
  v1::Control::Stub* stub() { return stub_.get(); }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const TestPeer& peer() const { return peer_; }

 private:
  TestPeer peer_;
  transport::PeerEntry* entry_ = nullptr;
  std::unique_ptr<transport::StreamLoop> streams_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Control::Stub> stub_;
};

// One Session call: a process in the guest. One thread.
class GuestNode {
 public:
  explicit GuestNode(FakeAgent* agent)
      : agent_(agent), stream_(agent->stub()->Session(&context_)) {}
  // Attached, and welcome.
  GuestNode(FakeAgent* agent, uint64_t connection_id, const std::string& name);

  bool Attach(uint64_t connection_id, uint64_t session_nonce, uint32_t vector = 0);
  bool Attach(uint64_t connection_id) { return Attach(connection_id, agent_->session_nonce()); }
  void Exited(uint64_t connection_id, uint64_t session_nonce);
  bool Write(v1::NodeRequest request) { return stream_->Write(request); }
  v1::NodeEvent Call(v1::NodeRequest request);
  v1::NodeEvent NextOf(v1::NodeEvent::EventCase kind);
  uint64_t Hello(const std::string& name);
  // Half-closes and reads to the end.
  grpc::Status Finish();
  void Cancel() { context_.TryCancel(); }

 private:
  FakeAgent* agent_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::NodeRequest, v1::NodeEvent>> stream_;
  uint64_t next_request_ = 1;
  std::deque<v1::NodeEvent> events_;
};

}  // namespace ivmq::control

#endif  // IVMQ_TESTS_CONTROL_FAKE_AGENT_H_
