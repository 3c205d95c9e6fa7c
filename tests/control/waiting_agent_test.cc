// An agent for whose stream there is no room.
#include <gtest/gtest.h>

#include <string>

#include "tests/control/guest_fixture.h"

namespace ivmq::control {
namespace {

using broker::GoneProof;

class WaitingAgentTest : public GuestFixture {
 protected:
  // A node with as many links to itself as there is room for.
  TestNode Fill() {
    TestNode node = harness_.AttachNode();
    EXPECT_NE(node.Hello("glutton"), 0u);
    for (uint64_t bytes = 4 << 20; bytes >= 4096; bytes /= 2) {
      const std::string topic = "of." + std::to_string(bytes);
      EXPECT_TRUE(node.Publish(topic, "", bytes).has_publisher_registered());
      while (node.Subscribe(topic, "", bytes).has_subscriber_registered()) {
      }
    }
    return node;
  }
  // As an agent that was restarted, and does not know yet what control wrote for it.
  uint64_t SayHelloAnew() {
    transport::PeerEntry* const entry = agent_->entry();
    entry->echoed_nonce.store(entry->session_nonce.load());
    return entry->hello.fetch_add(1) + 1;
  }
  void AwaitTicks(uint64_t ticks) {
    auto* header = transport::HeaderOf(peer_.device->region());
    const uint64_t before = header->heartbeat.load();
    EXPECT_TRUE(WaitUntil([&] { return header->heartbeat.load() >= before + ticks; }));
  }
};

TEST_F(WaitingAgentTest, HasItsStreamWhenMemoryIsFree) {
  Start();
  const TestNode glutton = Fill();
  const uint64_t hello = SayHelloAnew();
  AwaitTicks(5);
  EXPECT_NE(agent_->entry()->accepted_hello.load(), hello);
  harness_.NodeGone(glutton, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return agent_->entry()->accepted_hello.load() == hello; }));
  agent_->Connect();
  GuestNode node(&*agent_, 7, "x");
}

}  // namespace
}  // namespace ivmq::control
