// Links that cannot be read beside those that are there: refused, and said to be.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kLong = 60s;

class RefusedLinkTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  // Control hears from its reader that the link cannot be read, and why.
  void ExpectRefusal(uint64_t link_id) {
    const auto refusal = control_.AwaitRequest(
        [&](const auto& one) { return one.link_corrupt().link_id() == link_id; });
    EXPECT_THAT(refusal.link_corrupt().detail(), HasSubstr("ready byte"));
    EXPECT_EQ(refusal.link_corrupt().counters().link_id(), link_id);
    for (const auto& link : control_.links()) {
      if (link.id != link_id) continue;
      EXPECT_EQ(refusal.link_corrupt().endpoint_id(), link.subscriber);
    }
  }

  FakeControl control_;
  Events events_;
};

TEST_F(RefusedLinkTest, ASubscriberSaysSoAndReadsTheOthers) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t", {.on_event = events_.handler()}).value();
  auto first = node.CreatePublisher("t").value();
  ASSERT_TRUE(first.WaitForSubscribers(1, kLong).ok());
  control_.set_shares_ready_bytes(true);
  auto second = node.CreatePublisher("t").value();
  const uint64_t refused = control_.links().back().id;
  ExpectRefusal(refused);
  const Event gone = events_.Await(Event::Kind::kGone);
  EXPECT_EQ(gone.link_id, refused);
  EXPECT_THAT(gone.detail, HasSubstr("ready byte"));
  EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
  EXPECT_EQ(subscriber.publishers(), 1u);
  ASSERT_TRUE(first.Publish(AsBytes("x")).ok());
  EXPECT_EQ(subscriber.Receive(kLong).value().text(), "x");
}

TEST_F(RefusedLinkTest, ASubscriberDoesNotWaitForItToJoin) {
  Node one = Open("one");
  Node two = Open("two");
  auto kept = one.CreatePublisher("t").value();
  auto refused = two.CreatePublisher("t").value();
  Node node = Open("n");
  control_.set_shares_ready_bytes(true);
  control_.set_sends_link_ready(false);
  const Status joined = node.CreateSubscriber("t", {.join_timeout = 100ms}).status();
  EXPECT_EQ(joined.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(joined.message(), AllOf(HasSubstr("node-1"), Not(HasSubstr("node-2"))));
  ExpectRefusal(control_.links().back().id);
}

TEST_F(RefusedLinkTest, BothSidesSayThatARingIsDamagedBeforeTheyTakeItUp) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t", {.on_event = events_.handler()}).value();
  auto publisher = node.CreatePublisher("t", {.on_event = events_.handler()}).value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
  const FakeControl::Link link = control_.links().back();
  std::memset(control_.region().data() + link.ring_offset, 0xff, sizeof(uint64_t));
  for (const bool publishes : {false, true}) {
    control_.RepeatLinkUp(link, publishes);
    const auto refusal = control_.AwaitRequest([&](const auto& one) {
      return one.link_corrupt().endpoint_id() == (publishes ? link.publisher : link.subscriber);
    });
    EXPECT_EQ(refusal.link_corrupt().link_id(), link.id);
    EXPECT_THAT(refusal.link_corrupt().detail(), HasSubstr("magic"));
  }
  EXPECT_TRUE(WaitUntil([&] { return events_.Count(Event::Kind::kIncompatible) == 2; }));
  EXPECT_THAT(events_.Await(Event::Kind::kIncompatible).detail, HasSubstr("magic"));
  EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
  EXPECT_EQ(publisher.counters().corrupt_links, 1u);
}

TEST_F(RefusedLinkTest, AServerLeavesThatClientAndServesTheOthers) {
  Node server_node = Open("server");
  ServerOptions options;
  options.on_event = events_.handler();
  auto server = server_node
                    .Serve<Bytes, Bytes>(
                        "s", [](const Bytes& query) { return query; }, options)
                    .value();
  Node first_node = Open("first");
  auto first = first_node.CreateClient("s").value();
  ASSERT_TRUE(first.WaitForServers(1, kLong).ok());
  control_.set_shares_ready_bytes(true);
  Node second_node = Open("second");
  auto second = second_node.CreateClient("s").value();
  uint64_t refused = 0;  // of the second client's requests
  for (const auto& link : control_.links()) {
    if (link.publisher_node == 3) refused = link.id;
  }
  ExpectRefusal(refused);
  EXPECT_THAT(events_.Await(Event::Kind::kGone).detail, HasSubstr("ready byte"));
  EXPECT_EQ(server.clients(), 1u);
  EXPECT_EQ(server.counters().corrupt_links, 1u);
  EXPECT_TRUE(first.Call(AsBytes("x"), kLong).ok());
}

}  // namespace
}  // namespace ivmq::test
