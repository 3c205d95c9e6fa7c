// What links of each quality of service do with messages that find no room, and what both sides
// learn of it.

#include "sdk/pubsub/qos.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ringbuf/keep_last_layout.h"
#include "ringbuf/ring_layout.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr auto kLong = 30s;
constexpr size_t kSmallRing = 4096;
constexpr size_t kSmallMessage = kSmallRing / 8;

class QosTest : public ::testing::Test {
 protected:
  QosTest() : node_(Node::Open({.name = "n", .socket_path = control_.socket_path()}).value()) {}

  // A message that begins with its number.
  static std::vector<std::byte> Numbered(uint64_t number, size_t bytes = kSmallMessage) {
    std::vector<std::byte> message(bytes);
    std::memcpy(message.data(), &number, sizeof(number));
    return message;
  }
  static uint64_t NumberOf(const BytesMessage& message) {
    uint64_t number = 0;
    std::memcpy(&number, message.bytes.data(), sizeof(number));
    return number;
  }
  v1::LinkCounters CountersOf(bool publisher) {
    v1::NodeEvent wanted;
    wanted.set_request_id(++asked_);
    wanted.mutable_counters_wanted();
    control_.SendEvent(1, wanted);
    const auto answer = control_.AwaitRequest([this](const v1::NodeRequest& one) {
      return one.has_counters() && one.request_id() == asked_;
    });
    // A node that is both sides answers for both.
    for (const v1::LinkCounters& one : answer.counters().links()) {
      if ((one.published() > 0) == publisher) return one;
    }
    return {};
  }

  FakeControl control_;
  Node node_;
  uint64_t asked_ = 0;
};

TEST_F(QosTest, SaysWhatEachSideMayAskFor) {
  const auto publisher = [&](Reliability reliability) {
    return node_.CreatePublisher("t", {.reliability = reliability}).status();
  };
  const auto subscriber = [&](Reliability reliability) {
    return node_.CreateSubscriber("t", {.reliability = reliability}).status();
  };
  for (const Reliability wrong : {Reliable(), AsOffered()}) {
    EXPECT_EQ(publisher(wrong).code(), Code::kInvalidArgument);
    EXPECT_THAT(publisher(wrong).message(), HasSubstr("DropNewest()"));
  }
  for (const uint32_t depth : {0u, 65537u}) {
    EXPECT_EQ(publisher(KeepLast(depth)).code(), Code::kInvalidArgument);
    EXPECT_THAT(subscriber(KeepLast(depth)).message(), HasSubstr(std::to_string(depth)));
    EXPECT_THAT(subscriber(KeepLast(depth)).message(), HasSubstr("65536"));
  }
  EXPECT_EQ(node_.CreatePublisher("t", {.history = History(65537)}).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(node_.CreateSubscriber("t", {.history = History(65537)}).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(node_.CreatePublisher("t", {.max_message_bytes = (2 << 20) + 1}).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(
      node_.CreatePublisher("t", {.ring_bytes = 4096, .max_message_bytes = 513}).status().code(),
      Code::kInvalidArgument);
  EXPECT_TRUE(node_.CreatePublisher("t", {.ring_bytes = 4096, .max_message_bytes = 512}).ok());
}

TEST_F(QosTest, AsksAsTheOptionsSay) {
  using internal::AskOf;
  using internal::OfferOf;
  EXPECT_EQ(AskOf("a.b", {})->reliability(), v1::Qos::RELIABILITY_UNSPECIFIED);
  for (const char* filter : {"a.*", ">", "*", "a.*.b", "a.>"}) {
    EXPECT_EQ(AskOf(filter, {})->reliability(), v1::Qos::KEEP_LAST) << filter;
    EXPECT_EQ(AskOf(filter, {})->depth(), 16u);
    EXPECT_EQ(AskOf(filter, {.reliability = Reliable()})->reliability(), v1::Qos::RELIABLE);
    EXPECT_EQ(AskOf(filter, {.reliability = AsOffered()})->reliability(),
              v1::Qos::RELIABILITY_UNSPECIFIED);
  }
  for (const char* topic : {"a", "a*", "a.b>", ""}) {
    EXPECT_EQ(AskOf(topic, {})->reliability(), v1::Qos::RELIABILITY_UNSPECIFIED) << topic;
  }
  for (const Reliability one : {Block(1s), Fail(), Reliable()}) {
    EXPECT_EQ(AskOf("t", {.reliability = one})->reliability(), v1::Qos::RELIABLE);
  }
  EXPECT_EQ(AskOf("t", {.history = History(65536)})->history(), 65536u);
  EXPECT_EQ(OfferOf({.reliability = KeepLast(65536)})->depth(), 65536u);
  EXPECT_EQ(OfferOf({})->ring_bytes(), 65536u);
  EXPECT_EQ(OfferOf({})->max_message_bytes(), 8192u);
  EXPECT_EQ(OfferOf({.max_message_bytes = 100})->ring_bytes(), 65536u);
  EXPECT_EQ(OfferOf({.max_message_bytes = 100})->max_message_bytes(), 100u);
  EXPECT_EQ(OfferOf({.max_message_bytes = 8193})->ring_bytes(), 131072u);
}

TEST_F(QosTest, DropsTheNewestAndSaysHowManyAndWhere) {
  auto publisher =
      node_.CreatePublisher("t", {.reliability = DropNewest(), .ring_bytes = kSmallRing}).value();
  auto subscriber = node_.CreateSubscriber("t").value();
  uint64_t published = 0;
  uint64_t delivered = 0;
  uint64_t missing = 0;
  uint64_t next = 0;
  std::vector<uint64_t> dropped;
  // The largest message, too, has room for what it has to tell.
  for (const int burst : {1, 20, 3, 40, 1}) {
    for (int i = 0; i < burst; ++i) {
      const auto sent = publisher.Publish(Numbered(published++));
      ASSERT_TRUE(sent.ok()) << sent.status().ToString();
      EXPECT_EQ(sent->links + sent->dropped, 1u);
      if (sent->dropped == 1) dropped.push_back(published - 1);
    }
    for (;;) {
      const auto got = subscriber.Receive(0s);
      if (!got.ok()) break;
      ++delivered;
      missing += got->gap();
      EXPECT_EQ(got->bytes.size(), kSmallMessage);
      EXPECT_EQ(NumberOf(*got), next + got->gap());
      EXPECT_EQ(got->info.sequence, NumberOf(*got));
      next = NumberOf(*got) + 1;
    }
  }
  EXPECT_GT(missing, 0u);
  EXPECT_EQ(next, published) << "the last one came";
  EXPECT_EQ(published, delivered + missing);
  EXPECT_EQ(publisher.counters().dropped_full, missing);
  EXPECT_EQ(subscriber.counters().dropped_full, missing);
  EXPECT_EQ(publisher.counters().full, 0u) << "nothing failed";
  const PublisherLink lost = publisher.links().at(0);
  EXPECT_EQ(lost.link_id, control_.links().at(0).id);
  EXPECT_EQ(lost.published, published);
  EXPECT_EQ(lost.dropped_full, missing);
  EXPECT_EQ(lost.first_dropped, dropped.front());
  EXPECT_EQ(lost.last_dropped, dropped.back());
  const v1::LinkCounters told = CountersOf(true);
  EXPECT_EQ(told.published(), published);
  EXPECT_EQ(told.dropped_full(), missing);
  EXPECT_EQ(CountersOf(false).delivered(), delivered);
  // For whoever accounts for it after this process was killed.
  const auto link = control_.links().at(0);
  const auto ring =
      ringbuf::RingAt(control_.region().data() + link.ring_offset, link.ring_capacity);
  EXPECT_EQ(ring.descriptor->records_dropped.load(), missing);
}

TEST_F(QosTest, NeverWaitsForALinkThatDrops) {
  auto publisher =
      node_.CreatePublisher("t", {.reliability = Block(10min), .ring_bytes = kSmallRing}).value();
  auto patient = node_.CreateSubscriber("t").value();
  auto careless = node_.CreateSubscriber("t", {.reliability = DropNewest()}).value();
  constexpr uint64_t kMessages = 100;
  uint64_t dropped = 0;
  for (uint64_t i = 0; i < kMessages; ++i) {
    const auto sent = publisher.Publish(Numbered(i));
    ASSERT_TRUE(sent.ok());
    dropped += sent->dropped;
    const auto got = patient.Receive(kLong);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(NumberOf(*got), i);
    EXPECT_EQ(got->gap(), 0u);
  }
  EXPECT_GT(dropped, 0u);
  uint64_t taken = 0;
  while (careless.Receive(0s).ok()) ++taken;
  EXPECT_EQ(taken + dropped, kMessages);
}

TEST_F(QosTest, KeepsTheLastAndCountsThoseOverwritten) {
  auto publisher = node_.CreatePublisher("t", {.reliability = KeepLast(4)}).value();
  auto subscriber = node_.CreateSubscriber("t").value();
  uint64_t published = 0;
  uint64_t delivered = 0;
  uint64_t missing = 0;
  for (const int burst : {1, 4, 5, 100, 3}) {
    for (int i = 0; i < burst; ++i) {
      const auto sent = publisher.Publish(Numbered(published++));
      ASSERT_TRUE(sent.ok()) << sent.status().ToString();
      EXPECT_EQ(sent->links, 1u);
    }
    for (int i = 0; i < std::min(burst, 4); ++i) {
      const auto got = subscriber.Receive(0s);
      ASSERT_TRUE(got.ok());
      ++delivered;
      missing += got->gap();
      EXPECT_EQ(NumberOf(*got), delivered + missing - 1);
      EXPECT_EQ(got->info.sequence, NumberOf(*got));
      if (i > 0) {
        EXPECT_EQ(got->gap(), 0u);
      }
    }
    EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  }
  EXPECT_EQ(missing, 97u);
  EXPECT_EQ(subscriber.counters().overwritten, missing);
  EXPECT_EQ(publisher.counters().dropped_full, 0u);
  EXPECT_EQ(publisher.counters().overwritten, missing) << "by the subscriber's word";
  EXPECT_EQ(publisher.links().at(0).published, published);
  EXPECT_EQ(publisher.links().at(0).overwritten, missing);
  EXPECT_TRUE(publisher.Drain(0s).ok());
  EXPECT_EQ(CountersOf(true).published(), published);
  EXPECT_EQ(CountersOf(false).overwritten(), missing);
  ASSERT_TRUE(publisher.Publish(Numbered(published)).ok());
  const auto lent = subscriber.Borrow(0s).value();
  uint64_t number = 0;
  std::memcpy(&number, lent.bytes().data(), sizeof(number));
  EXPECT_EQ(number, published);
}

TEST_F(QosTest, RemembersWhatLinksLostThatHaveGone) {
  auto publisher = node_.CreatePublisher("t", {.reliability = KeepLast(4)}).value();
  auto subscriber = node_.CreateSubscriber("t").value();
  for (uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(publisher.Publish(Numbered(i)).ok());
  EXPECT_EQ(publisher.counters().overwritten, 0u) << "nobody has noticed";
  while (subscriber.Receive(0s).ok()) {
  }
  // More than there was cannot have been lost, whatever the other side says.
  const auto link = control_.links().at(0);
  const auto slots = ringbuf::KeepLastAt(control_.region().data() + link.ring_offset,
                                         link.qos.depth(), link.qos.max_message_bytes());
  slots.descriptor->lost.store(~uint64_t{0});
  EXPECT_EQ(publisher.counters().overwritten, 10u);
  slots.descriptor->lost.store(6);
  subscriber.Close();
  EXPECT_TRUE(WaitUntil([&] { return publisher.subscribers() == 0; }));
  EXPECT_EQ(publisher.counters().overwritten, 6u);
  EXPECT_TRUE(publisher.links().empty());
}

TEST_F(QosTest, NeverWaitsForASubscriberOfTheLast) {
  auto publisher =
      node_.CreatePublisher("t", {.reliability = Block(10min), .ring_bytes = kSmallRing}).value();
  auto stopped = node_.CreateSubscriber("t", {.reliability = KeepLast(2)}).value();
  auto patient = node_.CreateSubscriber("t").value();
  for (uint64_t i = 0; i < 1000; ++i) {
    const auto sent = publisher.Publish(Numbered(i));
    ASSERT_TRUE(sent.ok());
    EXPECT_EQ(sent->links, 2u);
    ASSERT_TRUE(patient.Receive(kLong).ok());
  }
  const auto got = stopped.Receive(0s).value();
  EXPECT_EQ(NumberOf(got), 998u);
  EXPECT_EQ(got.gap(), 998u);
}

TEST_F(QosTest, GivesLatecomersTheLastMessagesAndThenTheLiveOnes) {
  auto publisher = node_.CreatePublisher("t", {.history = History(5)}).value();
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(Numbered(i)).ok());
  auto early = node_.CreateSubscriber("t", {.history = History(10)}).value();
  for (uint64_t i = 3; i < 20; ++i) {
    ASSERT_TRUE(publisher
                    .PublishInPlace(kSmallMessage,
                                    [i](std::span<std::byte> out) {
                                      std::memcpy(out.data(), &i, sizeof(i));
                                      return true;
                                    })
                    .ok());
  }
  auto late = node_.CreateSubscriber("t", {.history = History(4)}).value();
  auto none = node_.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Publish(Numbered(20)).ok());
  const auto expect = [](BytesSubscriber* subscriber, uint64_t first) {
    for (uint64_t i = first; i <= 20; ++i) {
      const auto got = subscriber->Receive(0s);
      ASSERT_TRUE(got.ok());
      EXPECT_EQ(NumberOf(*got), i);
      EXPECT_EQ(got->info.sequence, i - first);
      EXPECT_EQ(got->gap(), 0u);
    }
    EXPECT_EQ(subscriber->Receive(0s).status().code(), Code::kTimeout);
  };
  expect(&early, 0);
  expect(&late, 16);
  expect(&none, 20);
}

TEST_F(QosTest, KeepsNoMoreForLatecomersThanTheirRingHolds) {
  auto publisher =
      node_.CreatePublisher("t", {.ring_bytes = kSmallRing, .history = History(100)}).value();
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(publisher.Publish(Numbered(i)).ok());
  auto late = node_.CreateSubscriber("t", {.history = History(100)}).value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
  uint64_t next = 0;
  for (;;) {
    const auto got = late.Receive(0s);
    if (!got.ok()) break;
    if (next > 0) {
      EXPECT_EQ(NumberOf(*got), next);
    }
    next = NumberOf(*got) + 1;
  }
  EXPECT_EQ(next, 100u);
}

// Where the reader has kept up, as that of an empty ring has, the ring lets records begin on lines.
TEST_F(QosTest, KeepsTheNewestForLatecomersWhateverGapsTheirRingHas) {
  for (const size_t bytes : {size_t{8}, size_t{56}, size_t{57}, size_t{200}, kSmallMessage}) {
    auto publisher =
        node_.CreatePublisher("t", {.ring_bytes = kSmallRing, .history = History(300)}).value();
    for (uint64_t i = 0; i < 300; ++i) ASSERT_TRUE(publisher.Publish(Numbered(i, bytes)).ok());
    auto late = node_.CreateSubscriber("t", {.history = History(300)}).value();
    ASSERT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
    std::vector<uint64_t> numbers;
    for (auto got = late.Receive(0s); got.ok(); got = late.Receive(0s)) {
      numbers.push_back(NumberOf(*got));
    }
    ASSERT_FALSE(numbers.empty()) << bytes;
    EXPECT_EQ(numbers.back(), 299u) << bytes;
    EXPECT_EQ(numbers.back() - numbers.front() + 1, numbers.size()) << bytes;
    EXPECT_GT(numbers.size() * (bytes + 8), kSmallRing / 2) << bytes;
  }
}

TEST_F(QosTest, DrainsWhenAllHasBeenTaken) {
  for (const Reliability offered : {Block(1s), Fail(), DropNewest()}) {
    auto publisher = node_.CreatePublisher("t", {.reliability = offered}).value();
    EXPECT_TRUE(publisher.Drain(0s).ok()) << "there is nobody";
    auto first = node_.CreateSubscriber("t").value();
    auto second = node_.CreateSubscriber("t").value();
    for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Write(Numbered(i)).ok());
    const Status undrained = publisher.Drain(5ms);
    EXPECT_EQ(undrained.code(), Code::kDeadlineExceeded);
    EXPECT_THAT(undrained.message(), HasSubstr("node-1"));
    EXPECT_THAT(undrained.message(), HasSubstr("3 messages"));
    std::thread reader([&] {
      for (auto* subscriber : {&first, &second}) {
        for (int i = 0; i < 3; ++i) {
          std::this_thread::sleep_for(2ms);
          ASSERT_TRUE(subscriber->Receive(kLong).ok());
        }
      }
    });
    // The readers do not ask for a fourth message.
    EXPECT_TRUE(publisher.Drain(kLong).ok());
    reader.join();
    ASSERT_TRUE(publisher.Publish(Numbered(4)).ok());
    ASSERT_EQ(first.Poll(1, [](const BytesMessage&) {}).value(), 1u);
    EXPECT_THAT(publisher.Drain(0s).message(), HasSubstr("1 messages"));
    ASSERT_TRUE(second.Receive(0s).ok());
    EXPECT_TRUE(publisher.Drain(0s).ok());
    publisher.Close();
    EXPECT_EQ(publisher.Drain(0s).code(), Code::kClosed);
  }
}

TEST_F(QosTest, DrainsPastASubscriberThatGoesAway) {
  auto publisher = node_.CreatePublisher("t").value();
  auto subscriber = node_.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Publish(Numbered(1)).ok());
  std::thread leaver([&] {
    std::this_thread::sleep_for(5ms);
    subscriber.Close();
  });
  const Status aborted = publisher.Drain(kLong);
  leaver.join();
  EXPECT_EQ(aborted.code(), Code::kAborted);
  EXPECT_THAT(aborted.message(), HasSubstr("has not taken the last 1 messages"));
  EXPECT_TRUE(publisher.Drain(kLong).ok()) << "it is told once";
  EXPECT_EQ(publisher.counters().untaken, 1u);
}

TEST_F(QosTest, TellsThePublisherExactlyWhatALeavingSubscriberHadNotTaken) {
  Events events;
  PublisherOptions options;
  options.on_event = events.handler();
  auto publisher = node_.CreatePublisher("t", options).value();
  auto subscriber = node_.CreateSubscriber("t").value();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(publisher.Publish(Numbered(i)).ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(subscriber.Receive(kLong).ok());
  subscriber.Close();
  EXPECT_THAT(events.Await(Event::Kind::kGone).detail,
              HasSubstr("has not taken the last 3 messages"));
  // Whoever takes all leaves nothing to tell of.
  auto next = node_.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Publish(Numbered(6)).ok());
  ASSERT_TRUE(next.Receive(kLong).ok());
  next.Close();
  EXPECT_EQ(publisher.Drain(kLong).code(), Code::kAborted);
  EXPECT_EQ(publisher.counters().untaken, 3u);
}

}  // namespace
}  // namespace ivmq::test
