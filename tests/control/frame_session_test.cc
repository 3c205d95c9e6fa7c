#include "broker/control/frame_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>

#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"

namespace ivmq::control {
namespace {

using broker::GoneProof;
using testing::AllOf;
using testing::HasSubstr;
using Event = v1::NodeEvent;

constexpr int kInvalidArgument = 3;
constexpr int kNotFound = 5;
constexpr int kPermissionDenied = 7;
constexpr int kResourceExhausted = 8;
constexpr int kFailedPrecondition = 9;

class FrameSessionTest : public testing::Test {
 protected:
  TestNode Node(const std::string& name, uint32_t vector = 0) {
    TestNode node = harness_.AttachNode(vector);
    EXPECT_NE(node.Hello(name), 0u);
    return node;
  }
  uint64_t used() { return admin_.Realm().arena_used_bytes(); }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
};

TEST_F(FrameSessionTest, WelcomesANodeWithAPlaceToSleep) {
  TestNode node = harness_.AttachNode();
  v1::NodeRequest request;
  request.mutable_hello()->set_protocol_version(2);
  request.mutable_hello()->set_node_name("camera");
  const Event answer = node.Call(request);
  ASSERT_TRUE(answer.has_welcome()) << answer.DebugString();
  EXPECT_NE(answer.welcome().node_id(), 0u);
  EXPECT_EQ(answer.welcome().wake_offset() % 64, 0u);
  EXPECT_EQ(answer.welcome().realm(), "test");
}

TEST_F(FrameSessionTest, RefusesAHelloThatBreaksTheRules) {
  v1::NodeRequest request;
  request.mutable_hello()->set_protocol_version(3);
  request.mutable_hello()->set_node_name("x");
  TestNode node = harness_.AttachNode();
  Event answer = node.Call(request);
  EXPECT_EQ(answer.failure().code(), kFailedPrecondition);
  EXPECT_THAT(answer.failure().message(), AllOf(HasSubstr("version 3"), HasSubstr("version 2")));
  request.mutable_hello()->set_protocol_version(2);
  request.mutable_hello()->set_node_name(std::string(64, 'x'));
  EXPECT_EQ(node.Call(request).failure().code(), kInvalidArgument);
  request.mutable_hello()->set_node_name("");
  EXPECT_EQ(node.Call(request).failure().code(), kInvalidArgument);
  EXPECT_EQ(node.Publish("a").failure().code(), kFailedPrecondition);
  EXPECT_NE(node.Hello(std::string(63, 'x')), 0u);
  EXPECT_EQ(node.Hello("again"), 0u);
}

TEST_F(FrameSessionTest, LinksAPublisherAndASubscriberBeforeItAnswers) {
  TestNode publisher = Node("pub", 0);
  TestNode subscriber = Node("sub", 1);
  const Event published = publisher.Publish("a.b", "x.T", 4096);
  EXPECT_EQ(published.publisher_registered().links(), 0u);
  const Event subscribed = subscriber.Subscribe("a.b", "x.T", 8192);
  ASSERT_EQ(subscribed.subscriber_registered().links(), 1u) << subscribed.DebugString();

  const v1::LinkUp to_sub = subscriber.Next().link_up();
  const v1::LinkUp to_pub = publisher.Next().link_up();
  EXPECT_EQ(to_sub.link_id(), to_pub.link_id());
  EXPECT_EQ(to_sub.endpoint_id(), subscribed.subscriber_registered().subscriber_id());
  EXPECT_EQ(to_pub.endpoint_id(), published.publisher_registered().publisher_id());
  EXPECT_TRUE(to_pub.publishes());
  EXPECT_FALSE(to_sub.publishes());
  EXPECT_EQ(to_pub.ring_offset(), to_sub.ring_offset());
  EXPECT_EQ(to_pub.ring_capacity(), 8192u);
  EXPECT_EQ(to_pub.consumer().vector(), 1u);
  EXPECT_EQ(to_pub.producer().vector(), 0u);
  EXPECT_NE(to_pub.consumer().ready_offset() / 64, to_pub.producer().ready_offset() / 64);
  EXPECT_EQ(to_pub.other_node(), "sub");
  EXPECT_EQ(to_sub.other_node(), "pub");
  // Each side got the eventfd that rings the other.
  ASSERT_EQ(to_pub.doorbell_fds(), 1u);
  ASSERT_EQ(publisher.fds().size(), 1u);
  const uint64_t one = 1;
  uint64_t count = 0;
  ASSERT_EQ(write(publisher.fds()[0].get(), &one, 8), 8);
  EXPECT_EQ(read(harness_.host_vector(1), &count, 8), 8);

  publisher.LinkAttached(to_pub.link_id());
  EXPECT_EQ(subscriber.NextOf(Event::kLinkReady).link_ready().link_id(), to_pub.link_id());
}

TEST_F(FrameSessionTest, TakesTheLargerRingWishAnd64KiBWithoutOne) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("none");
  subscriber.Subscribe("none");
  EXPECT_EQ(subscriber.NextOf(Event::kLinkUp).link_up().ring_capacity(), 65536u);
  publisher.Publish("larger", "", 4096);
  subscriber.Subscribe("larger", "", 16384);
  EXPECT_EQ(subscriber.NextOf(Event::kLinkUp).link_up().ring_capacity(), 16384u);
  for (const uint64_t bad : {1ull, 2048ull, 4097ull, 12288ull, 32ull << 20}) {
    EXPECT_EQ(publisher.Publish("bad", "", bad).failure().code(), kInvalidArgument) << bad;
  }
  EXPECT_TRUE(publisher.Publish("least", "", 4096).has_publisher_registered());
  EXPECT_TRUE(publisher.Publish("most", "", 16 << 20).has_publisher_registered());
}

TEST_F(FrameSessionTest, RefusesTheLatecomerWhoseTypeDiffersAndTellsBothNames) {
  TestNode publisher = Node("camera");
  TestNode subscriber = Node("viewer");
  const Event registered = subscriber.Subscribe("a", "x.Frame");
  const Event refused = publisher.Publish("a", "x.Picture");
  EXPECT_EQ(refused.failure().code(), kFailedPrecondition);
  EXPECT_THAT(refused.failure().message(), AllOf(HasSubstr("x.Frame"), HasSubstr("x.Picture"),
                                                 HasSubstr("camera"), HasSubstr("viewer")));
  const v1::LinkRefused told = subscriber.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), registered.subscriber_registered().subscriber_id());
  EXPECT_EQ(told.other_node(), "camera");
  EXPECT_EQ(admin_.Topics().topics(0).publishers(), 0u);
  ASSERT_EQ(admin_.Links().links_size(), 1);
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::REFUSED);
  // Bytes do not fit a typed subscriber; a subscriber without a type takes anything.
  EXPECT_EQ(publisher.Publish("a").failure().code(), kFailedPrecondition);
  EXPECT_TRUE(publisher.Publish("b", "x.Picture").has_publisher_registered());
  EXPECT_TRUE(subscriber.Subscribe("b").has_subscriber_registered());
  // The record goes with the one it was told to.
  subscriber.Unregister(registered.subscriber_registered().subscriber_id());
  const v1::ListLinksResponse links = admin_.Links();
  for (const v1::Link& link : links.links()) EXPECT_NE(link.state(), v1::Link::REFUSED);
}

TEST_F(FrameSessionTest, NamesTheBadTokenOfATopic) {
  TestNode node = Node("x");
  const Event answer = node.Publish("a..b");
  EXPECT_EQ(answer.failure().code(), kInvalidArgument);
  EXPECT_THAT(answer.failure().message(), HasSubstr("token 2 is empty"));
  EXPECT_EQ(node.Publish("a.*").failure().code(), kInvalidArgument);
  EXPECT_EQ(node.Subscribe("a.>.b").failure().code(), kInvalidArgument);
  EXPECT_EQ(node.Publish("a", "no type").failure().code(), kInvalidArgument);
}

TEST_F(FrameSessionTest, ANodeMayBeBothSidesOfALink) {
  const uint64_t before = used();
  TestNode node = Node("loop");
  node.Publish("a");
  const Event subscribed = node.Subscribe("a");
  EXPECT_EQ(subscribed.subscriber_registered().links(), 1u);
  const v1::LinkUp first = node.NextOf(Event::kLinkUp).link_up();
  const v1::LinkUp second = node.NextOf(Event::kLinkUp).link_up();
  EXPECT_NE(first.publishes(), second.publishes());
  node.LinkClosed(first.link_id());
  EXPECT_EQ(node.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::CLOSED);
  EXPECT_EQ(admin_.Links().links_size(), 1);
  node.LinkClosed(first.link_id());
  EXPECT_TRUE(WaitUntil([&] { return admin_.Links().links_size() == 0; }));
  harness_.NodeGone(node, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
}

TEST_F(FrameSessionTest, FreesALinkWhenBothHaveLetGo) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  const uint64_t before = used();
  const Event published = publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(Event::kLinkUp).link_up().link_id();
  EXPECT_GT(used(), before + 65536);
  EXPECT_TRUE(publisher.Unregister(published.publisher_registered().publisher_id()).has_done());
  EXPECT_EQ(subscriber.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::CLOSED);
  EXPECT_GT(used(), before + 65536);  // the subscriber is still to drain it
  subscriber.LinkClosed(link);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(publisher.Unregister(77).failure().code(), kNotFound);
}

TEST_F(FrameSessionTest, ADeadPublisherIsDrainedBeforeItsMemoryComesBack) {
  const uint64_t before = used();
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(Event::kLinkUp).link_up().link_id();
  harness_.NodeGone(publisher, GoneProof::kExited);
  EXPECT_EQ(subscriber.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::DIED);
  EXPECT_GT(used(), before + 65536);
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::CLOSING);
  subscriber.LinkClosed(link);
  harness_.NodeGone(subscriber, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
}

TEST_F(FrameSessionTest, GoodbyeLetsGoOfEverything) {
  const uint64_t before = used();
  TestNode node = Node("x");
  node.Publish("a");
  v1::NodeRequest goodbye;
  goodbye.mutable_goodbye();
  EXPECT_TRUE(node.Call(goodbye).has_done());
  EXPECT_EQ(used(), before);
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
  EXPECT_EQ(node.Publish("a").failure().code(), kFailedPrecondition);
}

TEST_F(FrameSessionTest, AChannelThatClosesProvesNothingUntilTheKeeperSaysSo) {
  const uint64_t before = used();
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(Event::kLinkUp).link_up().link_id();
  publisher.channel() = transport::FrameChannel(transport::UniqueFd());
  EXPECT_EQ(subscriber.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::LOST);
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::ORPHANED);
  EXPECT_EQ(admin_.Topics().topics(0).publishers(), 0u);
  subscriber.LinkClosed(link);
  harness_.NodeGone(publisher, GoneProof::kExited);  // proof after all
  harness_.NodeGone(subscriber, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
}

TEST_F(FrameSessionTest, WhatAnEvictedNodeKnewIsFreeOnceItsProcessDies) {
  const uint64_t before = used();
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(Event::kLinkUp).link_up().link_id();
  const uint64_t victim = admin_.Nodes().nodes(0).node_id();
  EXPECT_TRUE(admin_.EvictNode(victim).ok());
  EXPECT_TRUE(publisher.NextOf(Event::kEvicted).has_evicted());
  EXPECT_TRUE(publisher.AtEof());
  EXPECT_EQ(subscriber.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::EVICTED);
  const auto command = harness_.NextCommand();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->kind, broker::KeeperCommandKind::kEvictNode);
  EXPECT_EQ(command->connection, publisher.connection());
  harness_.NodeGone(publisher, GoneProof::kNone);
  subscriber.LinkClosed(link);
  harness_.NodeGone(subscriber, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Nodes().nodes_size() == 1; }));
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
  EXPECT_GT(used(), before + 65536);
  harness_.NodeGone(publisher, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
  EXPECT_EQ(admin_.EvictNode(victim).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(FrameSessionTest, AProcessThatEndsItsConnectionAndLivesKeepsItsMemoryUntilItDies) {
  const uint64_t before = used();
  TestNode node = Node("x");
  node.Publish("a");
  node.Subscribe("a");
  harness_.NodeGone(node, GoneProof::kNone);
  EXPECT_TRUE(node.AtEof());
  EXPECT_TRUE(WaitUntil([&] { return admin_.Nodes().nodes(0).state() == v1::Node::DETACHED; }));
  EXPECT_GT(used(), before + 65536);
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
  harness_.NodeGone(node, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
}

TEST_F(FrameSessionTest, ForgetsAProcessThatLeavesInGoodOrderAndLives) {
  TestNode node = Node("x");
  v1::NodeRequest goodbye;
  goodbye.mutable_goodbye();
  EXPECT_TRUE(node.Call(goodbye).has_done());
  harness_.NodeGone(node, GoneProof::kNone);
  const auto command = harness_.NextCommand();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->kind, broker::KeeperCommandKind::kForgetNode);
  EXPECT_EQ(command->connection, node.connection());
}

TEST_F(FrameSessionTest, QuarantinesALinkThatHoldsNonsense) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(Event::kLinkUp).link_up().link_id();
  v1::NodeRequest corrupt;
  corrupt.mutable_link_corrupt()->set_link_id(link);
  corrupt.mutable_link_corrupt()->set_detail("a header\nof nonsense");
  subscriber.Tell(corrupt);
  EXPECT_EQ(publisher.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::CORRUPT);
  publisher.LinkClosed(link);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Realm().arena_used_bytes() < 65536; }));
  ASSERT_EQ(admin_.Links().links_size(), 1);
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::QUARANTINED);
  EXPECT_THAT(admin_.Links().links(0).reason(), HasSubstr("a header\\x0aof nonsense"));
}

TEST_F(FrameSessionTest, SaysHowMuchMemoryIsMissingAndRegistersNothing) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("a", "", 16 << 20);  // more than the region
  const uint64_t before = used();
  const Event answer = subscriber.Subscribe("a");
  EXPECT_EQ(answer.failure().code(), kResourceExhausted);
  EXPECT_THAT(answer.failure().message(), HasSubstr("16777728 bytes"));
  EXPECT_EQ(used(), before);
  EXPECT_EQ(admin_.Topics().topics(0).subscribers(), 0u);
}

TEST_F(FrameSessionTest, EndsWhoSendsFileDescriptors) {
  TestNode node = Node("x");
  ASSERT_TRUE(node.channel().Send("", std::array{STDERR_FILENO}).ok());
  EXPECT_TRUE(node.AtEof());
}

TEST_F(FrameSessionTest, OnlyAgentsMaySpeakForOthers) {
  TestNode node = Node("x");
  v1::NodeRequest request;
  request.mutable_attached()->set_pid(1);
  EXPECT_EQ(node.Call(request).failure().code(), kPermissionDenied);
  request.mutable_exited();
  EXPECT_EQ(node.Call(request).failure().code(), kPermissionDenied);
  EXPECT_EQ(node.Call({}).failure().code(), 12);  // nothing asked: UNIMPLEMENTED
}

TEST_F(FrameSessionTest, NonsenseEndsOnlyTheSessionThatSaysIt) {
  TestNode good = Node("good");
  TestNode bad = Node("bad");
  bad.SendRaw("\xff\xff\xff nonsense");
  EXPECT_TRUE(bad.AtEof());
  EXPECT_TRUE(good.Publish("a").has_publisher_registered());
  v1::NodeRequest stranger;
  stranger.mutable_link_closed()->set_link_id(12345);
  good.Tell(stranger);
  stranger.mutable_link_corrupt()->set_link_id(12345);
  good.Tell(stranger);
  EXPECT_TRUE(good.Publish("b").has_publisher_registered());
}

TEST_F(FrameSessionTest, ANodeCannotCloseTheLinkOfOthers) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  TestNode stranger = Node("stranger");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(Event::kLinkUp).link_up().link_id();
  stranger.LinkClosed(link);
  stranger.LinkAttached(link);
  EXPECT_TRUE(stranger.Publish("b").has_publisher_registered());  // both were handled
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::CONNECTING);
}

TEST_F(FrameSessionTest, ANodeThatDoesNotReadIsLostAndHurtsNobody) {
  TestNode deaf = Node("deaf");
  TestNode good = Node("good");
  v1::NodeRequest watch;
  watch.mutable_watch()->set_topics(true);
  deaf.Tell(watch);
  const std::string tail(200, 'x');
  EXPECT_TRUE(WaitUntil([&] {
    for (int i = 0; i < 200; ++i) {
      const Event made = good.Publish("t." + std::to_string(i) + tail);
      good.Unregister(made.publisher_registered().publisher_id());
    }
    const v1::ListNodesResponse nodes = admin_.Nodes();
    for (const v1::Node& node : nodes.nodes()) {
      if (node.name() == "deaf") return node.state() == v1::Node::DETACHED;
    }
    return false;
  }));
}

TEST_F(FrameSessionTest, LimitsTheEndpointsOfANode) {
  TestNode node = Node("x");
  for (size_t i = 0; i < NodeRegistry::kMaxEndpointsPerNode; ++i) {
    ASSERT_TRUE(node.Publish("t" + std::to_string(i)).has_publisher_registered());
  }
  EXPECT_EQ(node.Publish("one.more").failure().code(), kResourceExhausted);
}

TEST_F(FrameSessionTest, WatchesTellWhatIsThereAndWhatComesAndGoes) {
  TestNode node = Node("watcher");
  v1::NodeRequest request;
  request.mutable_watch()->set_nodes(true);
  request.mutable_watch()->set_topics(true);
  EXPECT_TRUE(node.Call(request).has_done());
  v1::DiscoveryEvent event = node.Next().discovery();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::ADDED);
  EXPECT_EQ(event.node().name(), "watcher");
  EXPECT_EQ(node.Next().discovery().kind(), v1::DiscoveryEvent::SNAPSHOT_DONE);
  TestNode other = Node("other");
  event = node.Next().discovery();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::ADDED);
  EXPECT_EQ(event.node().name(), "other");
  other.Publish("a", "x.T");
  event = node.Next().discovery();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::ADDED);
  EXPECT_EQ(event.topic().name(), "a");
  EXPECT_EQ(event.topic().type_name(), "x.T");
  EXPECT_EQ(node.Next().discovery().node().publishers(), 1u);
  harness_.NodeGone(other, GoneProof::kExited);
  event = node.Next().discovery();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::REMOVED);
  EXPECT_EQ(event.topic().name(), "a");
  event = node.Next().discovery();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::REMOVED);
  EXPECT_EQ(event.node().state(), v1::Node::GONE);
}

}  // namespace
}  // namespace ivmq::control
