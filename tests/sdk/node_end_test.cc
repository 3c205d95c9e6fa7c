// How a node ends, and what it does not touch any more.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 30s;

Node Open(const FakeControl& control, const std::string& name = "n") {
  return Node::Open({.name = name, .socket_path = control.socket_path()}).value();
}

TEST(NodeEndTest, SaysGoodbyeWhenTheLastOfItIsGone) {
  FakeControl control;
  const auto said = [&] {
    for (const auto& request : control.requests()) {
      if (request.has_goodbye()) return true;
    }
    return false;
  };
  auto publisher = std::make_unique<BytesPublisher>(Open(control).CreatePublisher("t").value());
  EXPECT_FALSE(said()) << "the publisher keeps the attachment";
  EXPECT_TRUE(publisher->Publish(AsBytes("x")).ok());
  publisher.reset();
  EXPECT_TRUE(said());
}

// Of what happens to them, publishers that outlive it tell their own handlers.
TEST(NodeEndTest, CallsNoHandlerOfANodeThatIsGone) {
  FakeControl control;
  Events of_publisher;
  std::atomic<int> calls = 0;
  std::unique_ptr<BytesPublisher> publisher;
  {
    Node node = Node::Open({.name = "n",
                            .socket_path = control.socket_path(),
                            .on_event = [&](const Event&) { ++calls; }})
                    .value();
    ASSERT_TRUE(node.WatchDiscovery([&](const Node::Discovery&) { ++calls; }).ok());
    publisher = std::make_unique<BytesPublisher>(
        node.CreatePublisher("t", {.on_event = of_publisher.handler()}).value());
    const Node copy = node;
  }
  v1::NodeEvent event;
  event.mutable_discovery()->set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
  control.SendEvent(1, event);
  Node other = Open(control, "other");
  // The node's handler would hear of the first after the publisher's, and before the second.
  { auto first = other.CreateSubscriber("t").value(); }
  auto second = other.CreateSubscriber("t").value();
  of_publisher.Await(Event::Kind::kGone);
  EXPECT_TRUE(WaitUntil([&] { return of_publisher.Count(Event::Kind::kMatched) == 2; }));
  EXPECT_EQ(calls, 0);
}

TEST(NodeEndTest, TouchesNoMemoryAfterItsGoodbye) {
  FakeControl control;
  {
    Node node = Open(control);
    auto subscriber = node.CreateSubscriber("t").value();
    auto publisher = node.CreatePublisher("t", {.reliability = Block(kLong)}).value();
    EXPECT_GE(subscriber.fd(), 0);
    EXPECT_TRUE(publisher.Publish(AsBytes("x")).ok());
    EXPECT_TRUE(subscriber.Receive(kLong).ok());
    node.Close();
    control.AwaitRequest([](const v1::NodeRequest& request) { return request.has_goodbye(); });
    // Control may have given all of it to others by now.
    std::memset(control.region().data(), 0xa5, control.region().size());
    EXPECT_EQ(subscriber.Receive(kLong).status().code(), Code::kClosed);
    EXPECT_EQ(publisher.Publish(AsBytes("x")).status().code(), Code::kClosed);
  }
  const auto touched = std::find_if(control.region().begin(), control.region().end(),
                                    [](std::byte byte) { return byte != std::byte{0xa5}; });
  EXPECT_EQ(touched, control.region().end()) << "at " << touched - control.region().begin();
}

TEST(NodeEndTest, AnswersClosedAfterClose) {
  FakeControl control;
  Node node = Open(control);
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  node.Close();
  node.Close();
  EXPECT_FALSE(node.connected());
  EXPECT_EQ(publisher.Publish(AsBytes("x")).status().code(), Code::kClosed);
  EXPECT_EQ(publisher.WaitForSubscribers(1, kLong).code(), Code::kClosed);
  EXPECT_EQ(subscriber.Receive(kLong).status().code(), Code::kClosed);
  EXPECT_EQ(subscriber.Poll(1, [](const BytesMessage&) {}).status().code(), Code::kClosed);
  EXPECT_EQ(node.CreatePublisher("t").status().code(), Code::kClosed);
  EXPECT_EQ(node.CreateSubscriber("t").status().code(), Code::kClosed);
}

// The daemon had sent it before it heard of the end, and may give the memory to others.
TEST(NodeEndTest, TakesNoLinkAfterItsEnd) {
  FakeControl control;
  Node other = Open(control);
  auto to_t = other.CreatePublisher("t").value();
  auto from_u = other.CreateSubscriber("u").value();
  auto server = other.CreateServer<Bytes, Bytes>("v", [](const Bytes& b) { return b; }).value();
  auto client = other.CreateClient("w").value();
  auto to_held = other.CreatePublisher("held").value();
  Node node = Open(control);
  auto subscriber = node.CreateSubscriber("t").value();
  auto publisher = node.CreatePublisher("u").value();
  auto own_client = node.CreateClient("v").value();
  auto own_server = node.CreateServer<Bytes, Bytes>("w", [](const Bytes& b) { return b; }).value();
  auto held = node.CreateSubscriber("held").value();
  ASSERT_TRUE(to_held.Publish(AsBytes("x")).ok());
  // Keeps the session there.
  const auto borrowed = held.Borrow(kLong).value();
  node.Close();
  const size_t before = control.requests().size();
  for (const auto& link : control.links()) control.RepeatLinkUp(link, link.publisher_node == 2);
  v1::NodeEvent wanted;
  wanted.set_request_id(77);
  wanted.mutable_counters_wanted();
  control.SendEvent(2, wanted);
  control.AwaitRequest([](const auto& one) { return one.request_id() == 77; });
  const auto requests = control.requests();
  for (size_t i = before; i < requests.size(); ++i) EXPECT_FALSE(requests[i].has_link_attached());
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kClosed);
  EXPECT_EQ(publisher.subscribers(), 0u);
  EXPECT_EQ(own_client.servers(), 0u);
  EXPECT_EQ(own_server.clients(), 0u);
}

}  // namespace
}  // namespace ivmq::test
