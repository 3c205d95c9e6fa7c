#ifndef IVMQ_TESTS_CONTROL_CONTROL_HARNESS_H_
#define IVMQ_TESTS_CONTROL_CONTROL_HARNESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "broker/keeper_protocol.h"
#include "tests/control/test_node.h"
#include "transport/memfd_device.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

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
    bool is_new = true;  // false: a region of an earlier control, in the same process
    int region_fd = -1;  // use this one
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
