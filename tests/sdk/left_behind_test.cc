// What a publisher says of subscribers that go, in one way or another, over messages that they had
// not taken.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "ringbuf/ring_layout.h"
#include "tests/sdk/events.h"
#include "tests/sdk/fake_control.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kLong = 30s;

class LeftBehindTest : public ::testing::Test {
 protected:
  LeftBehindTest()
      : node_(Node::Open({.name = "n", .socket_path = control_.socket_path()}).value()) {}

  BytesPublisher Publish(const Reliability& reliability) {
    PublisherOptions options;
    options.reliability = reliability;
    options.on_event = events_.handler();
    return node_.CreatePublisher("t", options).value();
  }
  ringbuf::RingDescriptor* RingOf(size_t link) {
    const FakeControl::Link at = control_.links().at(link);
    return ringbuf::RingAt(control_.region().data() + at.ring_offset, at.ring_capacity).descriptor;
  }

  FakeControl control_;
  Node node_;
  Events events_;
  const std::vector<std::byte> message_ = std::vector<std::byte>(100);
};

TEST_F(LeftBehindTest, DrainTellsOfASubscriberThatWroteNonsenseWhateverElseItClaims) {
  for (const Reliability& offered : {Block(1s), Fail(), DropNewest()}) {
    const size_t link = control_.links().size();
    auto publisher = Publish(offered);
    auto subscriber = node_.CreateSubscriber("t").value();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(message_).ok());
    ASSERT_TRUE(subscriber.Receive(kLong).ok());
    ringbuf::RingDescriptor* const ring = RingOf(link);
    ring->records_read.store(3);
    ring->records_released.store(3);
    ring->head.store(1 << 30);
    const Status aborted = publisher.Drain(kLong);
    EXPECT_EQ(aborted.code(), Code::kAborted) << aborted.ToString();
    EXPECT_THAT(aborted.message(), HasSubstr("wrote nonsense"));
    EXPECT_THAT(aborted.message(), HasSubstr("may not have taken the last 3 messages"));
    EXPECT_EQ(publisher.counters().untaken, 3u);
    EXPECT_EQ(publisher.counters().corrupt_links, 1u);
    EXPECT_THAT(events_.Await(Event::Kind::kGone).detail, HasSubstr("taken the last 3 messages"));
    EXPECT_TRUE(publisher.Drain(0s).ok()) << "it is told once";
  }
}

TEST_F(LeftBehindTest, NonsenseCountsNothingThatWasKnownToBeTaken) {
  auto publisher = Publish(Block(1s));
  auto subscriber = node_.CreateSubscriber("t").value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(message_).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(subscriber.Receive(kLong).ok());
  ASSERT_FALSE(subscriber.Receive(0s).ok());
  ASSERT_TRUE(publisher.Drain(0s).ok());
  RingOf(0)->head.store(1 << 30);
  EXPECT_TRUE(publisher.Drain(0s).ok());
  EXPECT_EQ(publisher.counters().corrupt_links, 1u);
  EXPECT_EQ(publisher.counters().untaken, 0u);
}

TEST_F(LeftBehindTest, DrainNamesAllWhoLeftUpToEightAndCountsTheRest) {
  auto publisher = Publish(Block(1s));
  for (const size_t leavers : {2u, 8u, 9u, 11u}) {
    std::vector<Node> nodes;
    std::vector<BytesSubscriber> subscribers;
    for (size_t i = 0; i < leavers; ++i) {
      const std::string name = "leaver-" + std::to_string(i);
      nodes.push_back(Node::Open({.name = name, .socket_path = control_.socket_path()}).value());
      subscribers.push_back(nodes.back().CreateSubscriber("t").value());
    }
    ASSERT_TRUE(publisher.WaitForSubscribers(static_cast<uint32_t>(leavers), kLong).ok());
    ASSERT_TRUE(publisher.Publish(message_).ok());
    for (auto& subscriber : subscribers) subscriber.Close();
    const Status aborted = publisher.Drain(kLong);
    EXPECT_EQ(aborted.code(), Code::kAborted);
    size_t named = 0;
    for (size_t at = aborted.message().find("has left and has not taken the last 1 messages");
         at != std::string::npos;
         at = aborted.message().find("has left and has not taken the last 1 messages", at + 1)) {
      ++named;
    }
    EXPECT_EQ(named, std::min<size_t>(leavers, 8)) << aborted.message();
    if (leavers > 8) {
      EXPECT_THAT(aborted.message(),
                  HasSubstr(", and " + std::to_string(leavers - 8) + " more subscribers"));
    } else {
      EXPECT_THAT(aborted.message(), Not(HasSubstr(" more ")));
    }
  }
  EXPECT_EQ(publisher.counters().untaken, 30u);
}

}  // namespace
}  // namespace ivmq::test
