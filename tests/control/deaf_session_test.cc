// What processes that do not read, or never end what they say, cost control, which is their own
// place at most.
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <string>

#include "broker/control/event_sink.h"
#include "broker/control/queue_budget.h"
#include "broker/control/type_book.h"
#include "tests/control/guest_fixture.h"

namespace ivmq::control {
namespace {

class DeafSessionTest : public GuestFixture {
 protected:
  ssize_t Detached() {
    const v1::ListNodesResponse nodes = admin_.Nodes();
    return std::count_if(nodes.nodes().begin(), nodes.nodes().end(),
                         [](const v1::Node& node) { return node.state() == v1::Node::DETACHED; });
  }
};

// As large as a description may be.
std::string LargeDescription() {
  google::protobuf::FileDescriptorSet set;
  set.add_file()->set_package("large");
  set.mutable_file(0)->add_message_type()->set_name("T");
  set.mutable_file(0)->set_name(std::string(TypeBook::kMaxSetBytes - 64, 'x'));
  return set.SerializeAsString();
}

v1::NodeRequest PublisherOfLargeType() {
  v1::NodeRequest request;
  request.mutable_register_publisher()->set_topic("large");
  request.mutable_register_publisher()->set_type_name("large.T");
  request.mutable_register_publisher()->set_file_descriptor_set(LargeDescription());
  return request;
}

v1::NodeRequest DescribeLargeType() {
  v1::NodeRequest request;
  request.mutable_describe_type()->set_type_name("large.T");
  return request;
}

TEST_F(DeafSessionTest, AMachineOfManyThatDoNotReadLosesThemAndHurtsNobodyElse) {
  Start();
  TestNode publisher = harness_.AttachNode();
  publisher.Hello("publisher");
  ASSERT_TRUE(publisher.Call(PublisherOfLargeType()).has_publisher_registered());
  FakeAgent other_agent(harness_.ConnectPeer(2));
  ASSERT_TRUE(other_agent.SayHello({}));
  other_agent.Connect();
  GuestNode other(&other_agent);
  other.Attach(1);
  other.Hello("other");

  // Each has less waiting than a session may.
  constexpr size_t kSessions = 200;
  static_assert(kSessions * TypeBook::kMaxSetBytes > QueueBudget::kPeerBytes);
  std::deque<GuestNode> deaf;
  for (uint64_t i = 0; i < kSessions; ++i) {
    GuestNode& node = deaf.emplace_back(&*agent_);
    node.Attach(i + 1);
    ASSERT_NE(node.Hello("deaf"), 0u);
  }
  for (GuestNode& node : deaf) {
    for (int i = 0; i < 15; ++i) node.Write(DescribeLargeType());
  }
  const size_t most_left = QueueBudget::kPeerBytes / (TypeBook::kMaxSetBytes - 64);
  EXPECT_TRUE(WaitUntil([&] { return Detached() >= ssize_t(kSessions - most_left); }))
      << Detached();
  EXPECT_LT(Detached(), ssize_t(kSessions));
  EXPECT_TRUE(other.Call(DescribeLargeType()).has_type_described());
  EXPECT_TRUE(publisher.Call(DescribeLargeType()).has_type_described());
  for (GuestNode& node : deaf) node.Cancel();
}

TEST_F(DeafSessionTest, ProcessesThatSendAllOfARequestButItsEndAreEndedOnceThereAreTooMany) {
  constexpr uint32_t kBytes = transport::FrameChannel::kMaxFrameBytes;
  constexpr size_t kSessions = 40;
  static_assert(kSessions * kBytes > QueueBudget::kPeerBytes);
  TestNode other = harness_.AttachNode();
  other.Hello("other");
  std::deque<TestNode> mute;
  std::string most(sizeof(uint64_t) + kBytes - 1, 0);
  std::memcpy(most.data(), &kBytes, sizeof(kBytes));
  for (size_t i = 0; i < kSessions; ++i) {
    TestNode& node = mute.emplace_back(harness_.AttachNode());
    ASSERT_NE(node.Hello("mute"), 0u);
    size_t sent = 0;
    EXPECT_TRUE(WaitUntil([&] {
      const ssize_t wrote = ::send(node.channel().fd(), most.data() + sent, most.size() - sent,
                                   MSG_DONTWAIT | MSG_NOSIGNAL);
      sent += wrote > 0 ? static_cast<size_t>(wrote) : 0;
      return sent == most.size() || (wrote < 0 && errno != EAGAIN);
    }));
  }
  const ssize_t most_left = QueueBudget::kPeerBytes / kBytes;
  EXPECT_TRUE(WaitUntil([&] { return Detached() >= ssize_t(kSessions) - most_left; }))
      << Detached();
  EXPECT_LT(Detached(), ssize_t(kSessions));
  EXPECT_TRUE(other.Publish("a").has_publisher_registered());
}

TEST_F(DeafSessionTest, DescriptionsThatAreNotReadAreToldOneAfterTheOtherAndAllInTheEnd) {
  TestNode node = harness_.AttachNode();
  node.Hello("node");
  ASSERT_TRUE(node.Call(PublisherOfLargeType()).has_publisher_registered());
  // More than a session may have waiting, were they told at once.
  constexpr uint64_t kRequests = 100;
  v1::NodeRequest request = DescribeLargeType();
  for (uint64_t i = 0; i < kRequests; ++i) {
    request.set_request_id(1000 + i);
    node.Tell(request);
  }
  EXPECT_EQ(admin_.Nodes().nodes_size(), 1);
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::ONLINE);
  for (uint64_t i = 0; i < kRequests; ++i) {
    const v1::NodeEvent event = node.NextOf(v1::NodeEvent::kTypeDescribed);
    ASSERT_TRUE(event.has_type_described()) << i;
    EXPECT_EQ(event.request_id(), 1000 + i);
  }
}

}  // namespace
}  // namespace ivmq::control
