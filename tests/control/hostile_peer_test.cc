#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"
#include "tests/control/fake_agent.h"
#include "transport/region.h"

namespace ivmq::control {
namespace {

// A member of the realm can write anywhere at any time. Whatever it writes, control goes on and
// serves the others.
class HostilePeerTest : public testing::Test {
 protected:
  bool StillServes() {
    TestNode node = harness_.AttachNode();
    return node.Hello("still.here") != 0 && node.Publish("a").has_publisher_registered() &&
           admin_.Peers().peers_size() > 0;
  }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
};

TEST_F(HostilePeerTest, SurvivesAScribbledPeerTable) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<TestPeer> peers;
  for (uint32_t id = 1; id <= 4; ++id) peers.push_back(harness_.ConnectPeer(id));
  FakeAgent agent(peers[0]);
  const auto region = peers[0].device->region();
  const transport::RegionInfo info = transport::OpenRegion(region).value();
  const auto doorbell = peers[0].device->OpenDoorbell(0, 0).value();
  for (int round = 0; round < 300; ++round) {
    auto* words = reinterpret_cast<std::atomic<uint64_t>*>(region.data() + info.peer_table_offset);
    for (size_t i = 0; i < 4 * sizeof(transport::PeerEntry) / 8; ++i) {
      if (random() % 3 == 0) words[i].store(random() % 4 == 0 ? random() % 8 : random());
    }
    if (round % 2 == 0) {
      for (const TestPeer& peer : peers) {
        auto* entry = transport::PeerEntryAt(region, info, peer.id - 1);
        entry->layout_version.store(transport::kLayoutVersion);
        entry->hello.fetch_add(1);
      }
    }
    doorbell.Ring();
    if (round % 50 == 0) {
      ASSERT_TRUE(StillServes()) << round;
    }
  }
  EXPECT_TRUE(StillServes());
  for (const TestPeer& peer : peers) harness_.PeerGone(peer.id, broker::GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Peers().peers_size() == 1; }));
}

TEST_F(HostilePeerTest, BoundsWhatAnAgentThatRestartsForeverTakes) {
  const TestPeer peer = harness_.ConnectPeer(1);
  FakeAgent agent(peer);
  FakeAgent::Identity identity;
  ASSERT_TRUE(agent.SayHello(identity));
  int accepted = 1;
  while (accepted < 200) {
    ++identity.nonce;
    if (!agent.SayHello(identity, std::chrono::milliseconds(1500))) break;
    ++accepted;
  }
  EXPECT_LE(accepted, 66);
  EXPECT_TRUE(StillServes());
  harness_.PeerGone(1, broker::GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Realm().arena_used_bytes() < 65536; }));
}

TEST_F(HostilePeerTest, BoundsWhatAnAgentWhoseStreamBreaksForeverTakes) {
  const TestPeer peer = harness_.ConnectPeer(1);
  FakeAgent agent(peer);
  ASSERT_TRUE(agent.SayHello({}));
  int accepted = 1;
  while (accepted < 200) {
    const auto* entry = agent.entry();
    auto* ring = reinterpret_cast<ringbuf::RingDescriptor*>(peer.device->region().data() +
                                                            entry->to_control_ring_offset.load());
    ring->tail.store(~uint64_t{0});
    peer.device->OpenDoorbell(0, 0).value().Ring();
    ASSERT_TRUE(WaitUntil([&] { return admin_.Peers().peers(1).state() == v1::Peer::CONNECTED; }));
    if (!agent.SayHello({}, std::chrono::milliseconds(1500))) break;
    ++accepted;
  }
  EXPECT_LE(accepted, 66);
  EXPECT_TRUE(StillServes());
  harness_.PeerGone(1, broker::GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Realm().arena_used_bytes() < 65536; }));
}

TEST_F(HostilePeerTest, EndsAStreamThatHoldsNonsenseAndTakesANewHello) {
  const TestPeer peer = harness_.ConnectPeer(1);
  FakeAgent agent(peer);
  ASSERT_TRUE(agent.SayHello({}));
  agent.Connect();
  GuestNode node(&agent);
  node.Attach(1);
  node.Hello("x");
  const auto region = peer.device->region();
  const uint64_t ring = agent.entry()->to_control_ring_offset.load();
  for (uint64_t at = ring + sizeof(ringbuf::RingDescriptor); at < ring + 65536; at += 8) {
    reinterpret_cast<std::atomic<uint64_t>*>(region.data() + at)->store(~uint64_t{0});
  }
  peer.device->OpenDoorbell(0, 0).value().Ring();
  EXPECT_TRUE(WaitUntil([&] { return admin_.Peers().peers(1).state() != v1::Peer::READY; }));
  EXPECT_TRUE(StillServes());
  agent.Disconnect();
  ASSERT_TRUE(agent.SayHello({}));
  agent.Connect();
  GuestNode again(&agent);
  again.Attach(2);
  EXPECT_NE(again.Hello("y"), 0u);
}

TEST_F(HostilePeerTest, ShowsNoNonsenseFromARingsPositions) {
  TestNode publisher = harness_.AttachNode();
  publisher.Hello("pub");
  TestNode subscriber = harness_.AttachNode();
  subscriber.Hello("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const v1::LinkUp up = subscriber.NextOf(v1::NodeEvent::kLinkUp).link_up();
  const TestPeer peer = harness_.ConnectPeer(1);
  auto* ring =
      reinterpret_cast<ringbuf::RingDescriptor*>(peer.device->region().data() + up.ring_offset());
  ring->tail.store(~uint64_t{0} - 7);
  ring->records_published.store(~uint64_t{0});
  const v1::ListLinksResponse links = admin_.Links();
  EXPECT_EQ(links.links(0).counters().ring_used_bytes(), 0u);
  EXPECT_EQ(links.links(0).counters().published(), 0u);
}

}  // namespace
}  // namespace ivmq::control
