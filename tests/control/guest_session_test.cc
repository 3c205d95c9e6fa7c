#include "broker/control/guest_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/control/guest_fixture.h"

namespace ivmq::control {
namespace {

using broker::GoneProof;
using testing::HasSubstr;
using Event = v1::NodeEvent;

using GuestSessionTest = GuestFixture;

TEST_F(GuestSessionTest, AnswersAHelloWithAStreamThatCarriesSessions) {
  EXPECT_EQ(Peer().state(), v1::Peer::CONNECTED);
  Start();
  EXPECT_EQ(Peer().state(), v1::Peer::READY);
  EXPECT_EQ(Peer().boot_id(), "01000000-0000-0000-0200-000000000000");
  GuestNode node(&*agent_);
  ASSERT_TRUE(node.Attach(7));
  EXPECT_NE(node.Hello("in.guest"), 0u);
  const v1::ListNodesResponse nodes = admin_.Nodes();
  ASSERT_EQ(nodes.nodes_size(), 1);
  EXPECT_EQ(nodes.nodes(0).peer_id(), 1u);
  EXPECT_EQ(nodes.nodes(0).pid(), 100);
}

TEST_F(GuestSessionTest, LinksAHostAndAGuest) {
  Start();
  TestNode host = harness_.AttachNode(1);
  host.Hello("host");
  host.Subscribe("a");
  GuestNode guest(&*agent_, 7, "guest");
  EXPECT_EQ(guest.Call(PublisherOf("a")).publisher_registered().links(), 1u);
  const v1::LinkUp to_guest = guest.NextOf(Event::kLinkUp).link_up();
  const v1::LinkUp to_host = host.NextOf(Event::kLinkUp).link_up();
  EXPECT_EQ(to_guest.doorbell_fds(), 0u);
  EXPECT_EQ(to_guest.consumer().peer_id(), 0u);
  EXPECT_EQ(to_guest.consumer().vector(), 1u);
  ASSERT_EQ(to_host.doorbell_fds(), 1u);
  EXPECT_EQ(to_host.producer().peer_id(), 1u);
  // The host's descriptor rings the guest.
  uint64_t count = 0;
  (void)!read(peer_.device->vector_fd(0), &count, 8);
  const uint64_t one = 1;
  ASSERT_EQ(write(host.fds().at(0).get(), &one, 8), 8);
  EXPECT_EQ(read(peer_.device->vector_fd(0), &count, 8), 8);
}

TEST_F(GuestSessionTest, TheAgentsProofFreesANodesMemory) {
  Start();
  const uint64_t before = used();
  GuestNode node(&*agent_, 7, "x");
  EXPECT_GT(used(), before);
  node.Exited(7, agent_->session_nonce());
  EXPECT_TRUE(node.Finish().ok());
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
}

TEST_F(GuestSessionTest, ACallThatEndsWithoutProofLeavesADetachedNodeUntilTheVmDies) {
  const uint64_t before = used();
  Start();
  GuestNode half_closed(&*agent_, 7, "x");
  EXPECT_TRUE(half_closed.Finish().ok());
  GuestNode cancelled(&*agent_, 8, "y");
  cancelled.Cancel();
  EXPECT_TRUE(WaitUntil([&] {
    const v1::ListNodesResponse nodes = admin_.Nodes();
    return nodes.nodes(0).state() == v1::Node::DETACHED &&
           nodes.nodes(1).state() == v1::Node::DETACHED;
  }));
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
  EXPECT_EQ(admin_.Peers().peers_size(), 1);
}

TEST_F(GuestSessionTest, AProofWithTheWrongNonceProvesNothing) {
  Start();
  GuestNode node(&*agent_, 7, "x");
  node.Exited(7, agent_->session_nonce() + 1);
  EXPECT_EQ(node.Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
}

TEST_F(GuestSessionTest, RefusesACallThatDoesNotBeginAsItMust) {
  Start();
  GuestNode wrong_nonce(&*agent_);
  wrong_nonce.Attach(7, agent_->session_nonce() ^ 1);
  EXPECT_EQ(wrong_nonce.Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  GuestNode wrong_vector(&*agent_);
  wrong_vector.Attach(7, agent_->session_nonce(), 2);
  EXPECT_EQ(wrong_vector.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  GuestNode nothing(&*agent_);
  nothing.Write(PublisherOf("a"));
  EXPECT_EQ(nothing.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  GuestNode twice(&*agent_);
  twice.Attach(7);
  twice.Attach(7);
  EXPECT_EQ(twice.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  GuestNode good(&*agent_, 7, "good");
}

TEST_F(GuestSessionTest, AMessageThatIsTooLargeEndsTheSessionOfThatProcessOnly) {
  Start();
  GuestNode greedy(&*agent_, 7, "greedy");
  GuestNode other(&*agent_, 8, "other");
  greedy.Write(PublisherOf(std::string(1 << 20, 'x')));
  const grpc::Status status = greedy.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("vs. 1048576"));
  EXPECT_TRUE(other.Call(PublisherOf("a")).has_publisher_registered());
}

TEST_F(GuestSessionTest, ARebootProvesAllOfTheOldBootDead) {
  Start();
  const uint64_t one_agent = used();
  GuestNode node(&*agent_, 7, "old");
  node.Call(PublisherOf("a"));
  TestNode host = harness_.AttachNode();
  host.Hello("host");
  host.Subscribe("a");
  const uint64_t link = host.NextOf(Event::kLinkUp).link_up().link_id();
  const uint64_t old_nonce = agent_->session_nonce();
  Start({{9, 9}, 4});
  EXPECT_EQ(host.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::DIED);
  EXPECT_NE(agent_->session_nonce(), old_nonce);
  host.LinkClosed(link);
  harness_.NodeGone(host, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == one_agent; }));
  GuestNode fresh(&*agent_, 1, "new");
}

TEST_F(GuestSessionTest, ARebootThatDoesNotEchoTheSessionsNonceProvesNothing) {
  const uint64_t before = used();
  Start();
  const uint64_t one_agent = used() - before;
  GuestNode node(&*agent_, 7, "old");
  Start({{9, 9}, 4, transport::kLayoutVersion, true, agent_->session_nonce() + 1});
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
  EXPECT_GE(used(), before + 2 * one_agent);
  GuestNode fresh(&*agent_, 1, "new");
  // The next one that does, proves it of all boots.
  Start({{10, 10}, 5});
  EXPECT_TRUE(WaitUntil([&] { return used() == before + one_agent; }));
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
}

TEST_F(GuestSessionTest, AScribbledBootIdProvesNothing) {
  Start();
  const uint64_t one_agent = used();
  GuestNode node(&*agent_, 7, "x");
  transport::PeerEntry* entry = agent_->entry();
  entry->boot_id[0].fetch_add(1);
  const uint64_t hello = entry->hello.fetch_add(1) + 1;
  EXPECT_TRUE(WaitUntil([&] { return entry->accepted_hello.load() == hello; }));
  EXPECT_GE(used(), 2 * one_agent);
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
}

TEST_F(GuestSessionTest, ABootThatSpeaksAfterItsDeathWasProvenQuarantinesItsMemoryForGood) {
  Start();
  const uint64_t one_agent = used();
  GuestNode node(&*agent_, 7, "x");
  const FakeAgent::Identity forged{{9, 9}, 4};
  Start(forged);
  EXPECT_EQ(used(), one_agent);
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
  // The old boot is there after all. The forged one had been given its memory.
  Start();
  EXPECT_GE(admin_.Realm().arena_orphaned_bytes(), uint64_t{2} << 16);
  const uint64_t with_both = used();
  EXPECT_GE(with_both, 2 * one_agent);
  // From now on no reboot is believed.
  Start(forged);
  EXPECT_GE(used(), with_both + one_agent / 2);
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return used() < with_both; }));
  EXPECT_GE(admin_.Realm().arena_orphaned_bytes(), uint64_t{2} << 16);
}

TEST_F(GuestSessionTest, ARestartedAgentProvesNothing) {
  const uint64_t before = used();
  Start();
  const uint64_t one_agent = used() - before;
  GuestNode node(&*agent_, 7, "x");
  Start({{1, 2}, 77});
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
  EXPECT_GE(used(), before + 2 * one_agent);
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
}

TEST_F(GuestSessionTest, ADeathBetweenTwoSessionsOfAnAgentIsProvenInTheSecond) {
  const uint64_t empty = used();
  Start();
  const uint64_t one_stream = used() - empty;
  GuestNode dies(&*agent_, 7, "dies");
  dies.Call(PublisherOf("a"));
  GuestNode lives(&*agent_, 8, "lives");
  agent_->Disconnect();
  EXPECT_TRUE(WaitUntil([&] {
    const v1::ListNodesResponse nodes = admin_.Nodes();
    return nodes.nodes(0).state() == v1::Node::DETACHED &&
           nodes.nodes(1).state() == v1::Node::DETACHED;
  }));
  Start();
  GuestNode report(&*agent_);
  report.Attach(7);
  report.Exited(7, agent_->session_nonce());
  EXPECT_TRUE(report.Finish().ok());
  ASSERT_EQ(admin_.Nodes().nodes_size(), 1);
  EXPECT_EQ(admin_.Nodes().nodes(0).name(), "lives");
  EXPECT_GT(used(), empty + 2 * one_stream);
  GuestNode another(&*agent_);
  another.Attach(8);
  another.Exited(8, agent_->session_nonce());
  EXPECT_TRUE(another.Finish().ok());
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
  EXPECT_EQ(used(), empty + 2 * one_stream);  // nothing proves that its first one is unused
}

TEST_F(GuestSessionTest, ARestartedAgentKnowsNothingOfThoseWhoAttachedToTheOneBefore) {
  Start();
  GuestNode node(&*agent_, 7, "x");
  Start({{1, 2}, 77});
  GuestNode report(&*agent_);
  report.Attach(7);
  report.Exited(7, agent_->session_nonce());
  EXPECT_TRUE(report.Finish().ok());
  ASSERT_EQ(admin_.Nodes().nodes_size(), 1);
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
}

TEST_F(GuestSessionTest, ARepeatedHelloKeepsTheStream) {
  Start();
  const uint64_t nonce = agent_->session_nonce();
  GuestNode node(&*agent_, 7, "x");
  FakeAgent::Identity again;
  again.echoed_nonce = 0;  // as in the first
  ASSERT_TRUE(agent_->SayHello(again));
  EXPECT_EQ(agent_->session_nonce(), nonce);
  EXPECT_TRUE(node.Call(PublisherOf("a")).has_publisher_registered());
}

TEST_F(GuestSessionTest, AnAgentThatGreetsAnewAfterAnAnswerGetsAFreshStream) {
  Start();
  const transport::StreamPlaces first = transport::LoadStreamPlaces(*agent_->entry());
  GuestNode node(&*agent_, 7, "x");
  // As when control stood still for so long that the agent gave its end up.
  ASSERT_TRUE(agent_->SayHello({}));
  const transport::StreamPlaces second = transport::LoadStreamPlaces(*agent_->entry());
  EXPECT_NE(second.to_control_ring_offset, first.to_control_ring_offset);
  EXPECT_NE(second.to_agent_ring_offset, first.to_agent_ring_offset);
  agent_->Connect();
  GuestNode fresh(&*agent_, 8, "y");
}

TEST_F(GuestSessionTest, AnAgentCannotCallAdmin) {
  Start();
  const auto admin = v1::Admin::NewStub(agent_->channel());
  grpc::ClientContext context;
  v1::ListRealmsResponse response;
  EXPECT_EQ(admin->ListRealms(&context, {}, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GuestSessionTest, AnAgentWhoseHeartStopsIsSuspectAndNothingMore) {
  Start();
  GuestNode node(&*agent_, 7, "x");
  EXPECT_TRUE(WaitUntil([&] { return Peer().state() == v1::Peer::SUSPECT; }));
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::ONLINE);
  agent_->Beat();
  EXPECT_TRUE(WaitUntil([&] { return Peer().state() == v1::Peer::READY; }));
}

TEST_F(GuestSessionTest, TheOtherSideOfEachLinkOfASuspectPeerIsTold) {
  Start();
  TestNode host = harness_.AttachNode();
  host.Hello("host");
  host.Subscribe("a");
  host.Subscribe("b");
  GuestNode guest(&*agent_, 7, "guest");
  guest.Call(PublisherOf("a"));
  const uint64_t first = host.NextOf(Event::kLinkUp).link_up().link_id();
  v1::LinkSuspect told = host.NextOf(Event::kLinkSuspect).link_suspect();
  EXPECT_EQ(told.link_id(), first);
  EXPECT_TRUE(told.suspect());
  // A link that is made meanwhile is told of as well.
  guest.Call(PublisherOf("b"));
  const uint64_t second = host.NextOf(Event::kLinkUp).link_up().link_id();
  told = host.NextOf(Event::kLinkSuspect).link_suspect();
  EXPECT_EQ(told.link_id(), second);
  EXPECT_TRUE(told.suspect());
  agent_->Beat();
  for (const uint64_t link : {first, second}) {
    told = host.NextOf(Event::kLinkSuspect).link_suspect();
    EXPECT_EQ(told.link_id(), link);
    EXPECT_FALSE(told.suspect());
  }
}

TEST_F(GuestSessionTest, RefusesAnAgentOfAnotherLayout) {
  FakeAgent::Identity identity;
  identity.layout_version = transport::kLayoutVersion + 1;
  EXPECT_FALSE(agent_->SayHello(identity, std::chrono::milliseconds(1500)));
  EXPECT_EQ(Peer().state(), v1::Peer::CONNECTED);
  Start();
}

TEST_F(GuestSessionTest, FindsAHelloWhoseDoorbellWasLost) {
  agent_->entry()->boot_id[0].store(5);
  agent_->entry()->layout_version.store(transport::kLayoutVersion);
  agent_->entry()->hello.store(1);
  EXPECT_TRUE(WaitUntil([&] { return agent_->entry()->accepted_hello.load() == 1; }));
}

}  // namespace
}  // namespace ivmq::control
