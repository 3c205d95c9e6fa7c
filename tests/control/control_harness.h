#ifndef IVMQ_TESTS_CONTROL_CONTROL_HARNESS_H_
#define IVMQ_TESTS_CONTROL_CONTROL_HARNESS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "broker/keeper_protocol.h"
#include "ivmq/v1/control.pb.h"
#include "transport/frame_channel.h"
#include "transport/memfd_device.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

inline constexpr std::chrono::seconds kPatience{60};

// Asks until `done` says true; false after kPatience.
bool WaitUntil(const std::function<bool()>& done);

// A process on the host, as control sees it: a channel that speaks frames. One thread.
class TestNode {
 public:
  TestNode(uint64_t connection, transport::UniqueFd channel)
      : connection_(connection), channel_(std::move(channel)) {}

  // Sends the request and returns its answer; what comes before it is kept for Next().
  v1::NodeEvent Call(v1::NodeRequest request);
  void Tell(const v1::NodeRequest& request);
  void SendRaw(const std::string& payload) { (void)channel_.Send(payload); }
  // The next event that was not an answer; an empty one at EOF or after kPatience.
  v1::NodeEvent Next();
  // The next event of that kind; others are dropped.
  v1::NodeEvent NextOf(v1::NodeEvent::EventCase kind);
  // Whether control has closed the channel; reads what is there.
  bool AtEof();

  // Says hello; 0 if that fails.
  uint64_t Hello(const std::string& name);
  v1::NodeEvent Publish(const std::string& topic, const std::string& type = "",
                        uint64_t ring_bytes = 0);
  v1::NodeEvent Subscribe(const std::string& topic, const std::string& type = "",
                          uint64_t ring_bytes = 0);
  void LinkAttached(uint64_t link_id);
  void LinkClosed(uint64_t link_id);
  v1::NodeEvent Unregister(uint64_t endpoint_id);

  uint64_t connection() const { return connection_; }
  // File descriptors beside the last event that had some.
  std::vector<transport::UniqueFd>& fds() { return fds_; }
  transport::FrameChannel& channel() { return channel_; }

 private:
  bool Receive(v1::NodeEvent* event);

  uint64_t connection_;
  transport::FrameChannel channel_;
  uint64_t next_request_ = 1;
  std::deque<v1::NodeEvent> events_;
  std::vector<transport::UniqueFd> fds_;
};

// A VM as control sees it: doorbells, and a mapping of the region of its own.
struct TestPeer {
  uint32_t id = 0;
  std::shared_ptr<transport::MemfdDevice> device;
};

// Control on a thread of its own, and the test in the place of the keeper. One thread.
class ControlHarness {
 public:
  struct Options {
    uint64_t region_bytes = 8 << 20;
    uint32_t vectors = 2;
    bool is_new = true;
    uint32_t protocol_version = broker::kKeeperProtocolVersion;
    bool wait_until_ready = true;
  };
  ControlHarness() : ControlHarness(Options()) {}
  explicit ControlHarness(const Options& options);
  ~ControlHarness();
  ControlHarness(const ControlHarness&) = delete;
  ControlHarness& operator=(const ControlHarness&) = delete;

  TestNode AttachNode(uint32_t vector = 0);
  void NodeGone(const TestNode& node, broker::GoneProof proof);
  TestPeer ConnectPeer(uint32_t id);
  void PeerGone(uint32_t id, broker::GoneProof proof);
  // The operator's end of a new admin connection.
  transport::UniqueFd ConnectAdmin();

  void Send(const broker::KeeperEvent& event, std::vector<int> fds = {});
  broker::KeeperEvent Event(broker::KeeperEventKind kind) const;
  // The next command of control; none after kPatience, or when it has closed its end.
  std::optional<broker::KeeperCommand> NextCommand();
  // Closes the keeper's end and waits until control has stopped. Why it failed, if it did.
  std::string Stop();

  int region_fd() const { return region_.get(); }
  int host_vector(uint32_t vector) const { return host_vectors_[vector].get(); }
  const Options& options() const { return options_; }

 private:
  const Options options_;
  transport::UniqueFd region_;
  std::vector<transport::UniqueFd> host_vectors_;
  transport::UniqueFd keeper_;
  uint64_t next_connection_ = 1;
  std::thread thread_;
  std::string failure_;
};

}  // namespace ivmq::control

#endif  // IVMQ_TESTS_CONTROL_CONTROL_HARNESS_H_
