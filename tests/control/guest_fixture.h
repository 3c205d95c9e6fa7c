#ifndef IVMQ_TESTS_CONTROL_GUEST_FIXTURE_H_
#define IVMQ_TESTS_CONTROL_GUEST_FIXTURE_H_

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"
#include "tests/control/fake_agent.h"

namespace ivmq::control {

// Control, an operator, and one VM whose agent is this test's. One thread.
class GuestFixture : public testing::Test {
 protected:
  void SetUp() override {
    peer_ = harness_.ConnectPeer(1);
    agent_.emplace(peer_);
  }
  void Start(const FakeAgent::Identity& identity = {}) {
    ASSERT_TRUE(agent_->SayHello(identity));
    agent_->Connect();
  }
  uint64_t used() { return admin_.Realm().arena_used_bytes(); }
  v1::Peer Peer() { return admin_.Peers().peers(1); }
  v1::NodeRequest PublisherOf(const std::string& topic) {
    v1::NodeRequest request;
    request.mutable_register_publisher()->set_topic(topic);
    return request;
  }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
  TestPeer peer_;
  std::optional<FakeAgent> agent_;
};

}  // namespace ivmq::control

#endif  // IVMQ_TESTS_CONTROL_GUEST_FIXTURE_H_
