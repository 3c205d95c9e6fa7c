// What becomes of links when the daemon has gone and the node at their other end leaves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using Kind = Event::Kind;

constexpr auto kLong = 60s;

class LeaverTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name, EventHandler on_event = {}) {
    return Node::Open({.name = name,
                       .socket_path = daemon_.node_socket(),
                       .timeout = kLong,
                       .on_event = std::move(on_event)})
        .value();
  }
  void LoseDaemon(const std::vector<const Node*>& nodes) {
    daemon_.KillKeeper();
    for (const Node* const node : nodes) {
      ASSERT_TRUE(WaitUntil([&] { return !node->connected(); }));
    }
  }

  Daemon daemon_;
};

TEST_F(LeaverTest, EveryEndpointHearsOfAPartnerThatLeaves) {
  Events events;
  const auto echo = [](const Bytes& query) { return query; };
  Node node = Open("stays", events.handler());
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("u").value();
  auto server = node.CreateServer<Bytes, Bytes>("s", echo).value();
  auto client = node.CreateClient<Bytes, Bytes>("r").value();
  std::optional<Node> other = Open("leaves");
  auto from_t = std::make_optional(other->CreateSubscriber("t").value());
  auto to_u = std::make_optional(other->CreatePublisher("u").value());
  auto of_s = std::make_optional(other->CreateClient<Bytes, Bytes>("s").value());
  auto as_r = std::make_optional(other->CreateServer<Bytes, Bytes>("r", echo).value());
  ASSERT_TRUE(WaitUntil([&] { return events.Count(Kind::kMatched) == 4; }));
  LoseDaemon({&node, &*other});
  // What it published before it left is still read.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(to_u->Publish(AsBytes("x")).ok());
  EXPECT_EQ(publisher.subscribers() + subscriber.publishers() + server.clients() + client.servers(),
            4u);
  from_t.reset();
  to_u.reset();
  of_s.reset();
  as_r.reset();
  other.reset();
  ASSERT_TRUE(WaitUntil([&] { return events.Count(Kind::kGone) == 4; }));
  EXPECT_EQ(events.Await(Kind::kGone).node, "leaves");
  EXPECT_EQ(events.Await(Kind::kGone).detail, "it was closed");
  EXPECT_EQ(publisher.subscribers() + subscriber.publishers() + server.clients() + client.servers(),
            0u);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(subscriber.Receive(0s).ok()) << i;
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  EXPECT_EQ(client.Call(Bytes(1), kLong).status().code(), Code::kUnavailable);
  EXPECT_EQ(events.Count(Kind::kGone), 4u) << "once each";
}

TEST_F(LeaverTest, WhoWaitsForItGoesOn) {
  Node node = Open("stays");
  auto publisher = node.CreatePublisher("t", {.reliability = Block(kLong)}).value();
  auto client = node.CreateClient<Bytes, Bytes>("r").value();
  std::optional<Node> other = Open("leaves");
  auto from_t = std::make_optional(other->CreateSubscriber("t").value());
  auto as_r = std::make_optional(
      other->CreateServer<Bytes, Bytes>("r", [](const Bytes& query) { return query; }).value());
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  LoseDaemon({&node, &*other});
  std::promise<void> full;
  std::thread publishing([&] {
    const std::vector<std::byte> message(4096);
    for (int i = 0; i < 100; ++i) {
      if (i == 10) full.set_value();
      const auto sent = publisher.Publish(message);
      ASSERT_TRUE(sent.ok()) << sent.status().ToString();
    }
  });
  auto reply = std::async(std::launch::async, [&] { return client.Call(Bytes(1), kLong); });
  full.get_future().wait();
  ASSERT_TRUE(WaitUntil([&] { return client.counters().open == 1; }));
  from_t.reset();
  as_r.reset();
  other.reset();
  EXPECT_EQ(reply.get().status().code(), Code::kAborted);
  publishing.join();
}

TEST_F(LeaverTest, NobodyHearsOfOneThatIsKilled) {
  Node node = Open("stays");
  auto subscriber = node.CreateSubscriber("t").value();
  std::optional<Node> other = Open("leaves");
  auto publisher = std::make_optional(other->CreatePublisher("t").value());
  Child killed({"sdk_test_peer", "hold", daemon_.node_socket(), "t"});
  ASSERT_EQ(killed.ReadLine(), "ready");
  ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 2; }));
  LoseDaemon({&node, &*other});
  killed.Signal(SIGKILL);
  EXPECT_EQ(killed.Wait(), 128 + SIGKILL);
  publisher.reset();
  other.reset();
  // A look of the node that sees the one sees the other, too.
  EXPECT_TRUE(WaitUntil([&] { return subscriber.publishers() < 2; }));
  EXPECT_EQ(subscriber.publishers(), 1u);
}

// The daemon tells it, and its figures are those that both sides said.
TEST_F(LeaverTest, NobodyTakesItsWordWhileTheDaemonIsThere) {
  Events events;
  Node node = Open("stays", events.handler());
  auto subscriber = node.CreateSubscriber("t").value();
  {
    Node other = Open("leaves");
    auto publisher = other.CreatePublisher("t").value();
    ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  }
  EXPECT_TRUE(WaitUntil([&] { return events.Count(Kind::kGone) == 1; }));
  EXPECT_TRUE(subscriber.Receive(0s).ok());
  EXPECT_TRUE(node.connected());
}

}  // namespace
}  // namespace ivmq::test
