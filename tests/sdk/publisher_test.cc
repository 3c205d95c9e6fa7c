#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ringbuf/ring_layout.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kLong = 30s;
constexpr size_t kSmallRing = 4096;
constexpr size_t kSmallMessage = kSmallRing / 8;

class PublisherTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  static std::vector<std::byte> Message(size_t bytes) { return std::vector<std::byte>(bytes); }
  // How many messages of the largest size fit into a ring that nobody reads.
  static int FillUp(BytesPublisher* publisher) {
    int count = 0;
    while (publisher->Publish(Message(kSmallMessage)).ok()) ++count;
    return count;
  }
  bool IsClosed(uint64_t link_id) {
    const auto request = control_.AwaitRequest([link_id](const v1::NodeRequest& one) {
      return one.has_link_closed() && one.link_closed().link_id() == link_id;
    });
    return request.has_link_closed();
  }

  FakeControl control_;
};

TEST_F(PublisherTest, PublishesToNobodyWithoutFailing) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  const auto sent = publisher.Publish(AsBytes("x"));
  ASSERT_TRUE(sent.ok());
  EXPECT_EQ(sent->links, 0u);
  EXPECT_EQ(publisher.counters().messages, 1u);
  EXPECT_EQ(publisher.counters().written, 0u);
}

TEST_F(PublisherTest, TakesMessagesFromNothingToTheLimitAndNoLarger) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  EXPECT_EQ(publisher.max_message_bytes(), size_t{64 << 10} / 8);
  for (const size_t bytes : {size_t{0}, size_t{1}, publisher.max_message_bytes()}) {
    ASSERT_TRUE(publisher.Publish(Message(bytes)).ok());
    EXPECT_EQ(subscriber.Receive(kLong).value().bytes.size(), bytes);
  }
  const Status refused = publisher.Publish(Message(publisher.max_message_bytes() + 1)).status();
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("8193"));
  EXPECT_THAT(refused.message(), HasSubstr("8192"));
}

TEST_F(PublisherTest, RefusesRingSizesThatCannotBe) {
  Node node = Open("n");
  for (const size_t bytes : {size_t{1}, size_t{2048}, size_t{4097}, size_t{32 << 20}}) {
    EXPECT_EQ(node.CreatePublisher("t", {.ring_bytes = bytes}).status().code(),
              Code::kInvalidArgument);
    EXPECT_EQ(node.CreateSubscriber("t", {.ring_bytes = bytes}).status().code(),
              Code::kInvalidArgument);
  }
  EXPECT_TRUE(node.CreatePublisher("t", {.ring_bytes = 4096}).ok());
  EXPECT_TRUE(node.CreatePublisher("t", {.ring_bytes = 4 << 20}).ok());
}

TEST_F(PublisherTest, FailsAtOnceWhenToldTo) {
  Node node = Open("n");
  auto publisher =
      node.CreatePublisher("t", {.reliability = Fail(), .ring_bytes = kSmallRing}).value();
  auto subscriber = node.CreateSubscriber("t").value();
  EXPECT_GT(FillUp(&publisher), 3);
  const Status full = publisher.Publish(Message(kSmallMessage)).status();
  EXPECT_EQ(full.code(), Code::kFull);
  EXPECT_THAT(full.message(), HasSubstr("node-1"));
  EXPECT_THAT(full.message(), HasSubstr("of 4096 bytes"));
  EXPECT_EQ(publisher.counters().full, 2u);
}

TEST_F(PublisherTest, WritesToAllLinksOrToNone) {
  Node node = Open("n");
  auto publisher =
      node.CreatePublisher("t", {.reliability = Fail(), .ring_bytes = kSmallRing}).value();
  auto first = node.CreateSubscriber("t").value();
  auto second = Open("slow").CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.WaitForSubscribers(2, kLong).ok());
  const int fit = FillUp(&publisher);
  // The first reads all of it, so only the second is without room.
  for (int i = 0; i < fit; ++i) ASSERT_TRUE(first.Receive(0s).ok());
  const Status full = publisher.Publish(Message(kSmallMessage)).status();
  EXPECT_EQ(full.code(), Code::kFull);
  EXPECT_THAT(full.message(), HasSubstr("node-2"));
  EXPECT_EQ(first.Receive(0s).status().code(), Code::kTimeout) << "written to one of two";
  for (int i = 0; i < fit; ++i) ASSERT_TRUE(second.Receive(0s).ok());
  const auto sent = publisher.Publish(Message(kSmallMessage));
  ASSERT_TRUE(sent.ok());
  EXPECT_EQ(sent->links, 2u);
  EXPECT_TRUE(first.Receive(kLong).ok());
  EXPECT_TRUE(second.Receive(kLong).ok());
}

TEST_F(PublisherTest, WaitsForRoomUntilItIsThere) {
  Node node = Open("n");
  for (const Wait wait : {Wait::kBlock, Wait::kAdaptive, Wait::kSpin}) {
    auto publisher =
        node.CreatePublisher("t",
                             {.reliability = Block(kLong), .ring_bytes = kSmallRing, .wait = wait})
            .value();
    auto subscriber = Open("reader").CreateSubscriber("t", {.wait = wait}).value();
    constexpr int kMessages = 500;
    std::thread reader([&] {
      for (int i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(subscriber.Receive(kLong).ok());
        if (i % 100 == 0) std::this_thread::sleep_for(3ms);
      }
    });
    for (int i = 0; i < kMessages; ++i) {
      const auto sent = publisher.Publish(Message(kSmallMessage));
      ASSERT_TRUE(sent.ok()) << sent.status().ToString();
    }
    reader.join();
  }
}

TEST_F(PublisherTest, GivesUpAtTheDeadline) {
  Node node = Open("n");
  auto publisher =
      node.CreatePublisher("t", {.reliability = Block(20ms), .ring_bytes = kSmallRing}).value();
  auto subscriber = node.CreateSubscriber("t").value();
  const auto start = std::chrono::steady_clock::now();
  FillUp(&publisher);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  EXPECT_THAT(publisher.Publish(Message(kSmallMessage)).status().message(),
              HasSubstr("after 20 ms"));
}

TEST_F(PublisherTest, GoesOnWhenTheFullLinkGoesAway) {
  Node node = Open("n");
  auto publisher =
      node.CreatePublisher("t", {.reliability = Block(kLong), .ring_bytes = kSmallRing}).value();
  auto subscriber = std::make_unique<BytesSubscriber>(Open("dies").CreateSubscriber("t").value());
  std::thread killer([&] {
    while (publisher.counters().messages < 3) std::this_thread::sleep_for(1ms);
    subscriber.reset();
  });
  Published last{1};
  while (last.links > 0) {
    const auto sent = publisher.Publish(Message(kSmallMessage));
    ASSERT_TRUE(sent.ok()) << sent.status().ToString();
    last = *sent;
  }
  killer.join();
}

TEST_F(PublisherTest, ShortMessagesThatAreNotWrittenShowNothingOfTheProcess) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  const std::byte* built_at = nullptr;
  for (const size_t bytes : {1, 24, 512}) {
    ASSERT_TRUE(publisher
                    .PublishInPlace(bytes,
                                    [&](std::span<std::byte> out) {
                                      EXPECT_EQ(reinterpret_cast<uintptr_t>(out.data()) % 8, 0u);
                                      if (built_at == nullptr) built_at = out.data();
                                      EXPECT_EQ(out.data(), built_at) << "not the publisher's own";
                                      return true;
                                    })
                    .ok());
    const auto got = subscriber.Receive(1s);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_THAT(got->bytes, testing::AllOf(testing::SizeIs(bytes), testing::Each(std::byte{0})));
  }
}

TEST_F(PublisherTest, RefusesASecondThreadAtOnceAndNamesBothWhereTheBuildKnows) {
#ifndef NDEBUG
  constexpr bool kNamed = true;
#else
  constexpr bool kNamed = false;
#endif
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  const std::string first =
      kNamed ? "thread " + std::to_string(::gettid()) + " is inside" : "another thread is inside";
  const auto sent = publisher.PublishInPlace(1, [&](std::span<std::byte> out) {
    std::thread([&] {
      const std::string second =
          kNamed ? "on thread " + std::to_string(::gettid()) : "called while another thread";
      const Status told = publisher.Publish(AsBytes("second")).status();
      EXPECT_EQ(told.code(), Code::kFailedPrecondition);
      EXPECT_THAT(told.message(),
                  AllOf(HasSubstr(first), HasSubstr(second), HasSubstr("one thread at a time")));
      EXPECT_EQ(publisher.Drain(kLong).code(), Code::kFailedPrecondition);
      publisher.Flush();
    }).join();
    out[0] = std::byte{'1'};
    return true;
  });
  ASSERT_TRUE(sent.ok()) << sent.status().message();
  EXPECT_EQ(subscriber.Receive(kLong)->text(), "1");
  EXPECT_EQ(publisher.counters().messages, 1u);
  ASSERT_TRUE(publisher.Publish(AsBytes("2")).ok());
  EXPECT_EQ(subscriber.Receive(kLong)->text(), "2");
  const auto nested = publisher.PublishInPlace(1, [&](std::span<std::byte>) {
    EXPECT_THAT(publisher.Publish(AsBytes("in itself")).status().message(),
                HasSubstr("inside a handler or fill function"));
    return false;
  });
  EXPECT_EQ(nested.status().code(), Code::kAborted);
}

TEST_F(PublisherTest, NeverWaitsInsideAHandlerOfItsNode) {
  Node node = Open("n");
  auto publisher =
      node.CreatePublisher("out", {.reliability = Block(10min), .ring_bytes = kSmallRing}).value();
  auto sink = node.CreateSubscriber("out").value();
  auto trigger = node.CreatePublisher("in").value();
  auto subscriber = node.CreateSubscriber("in").value();
  ASSERT_TRUE(trigger.Publish(AsBytes("go")).ok());
  Status full;
  ASSERT_TRUE(subscriber
                  .Poll(1,
                        [&](const BytesMessage&) {
                          while (full.ok())
                            full = publisher.Publish(Message(kSmallMessage)).status();
                        })
                  .ok());
  EXPECT_EQ(full.code(), Code::kFull);
  EXPECT_THAT(full.message(), HasSubstr("handler"));
}

TEST_F(PublisherTest, HoldsBackWhatIsWrittenUntilTheFlush) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Write(AsBytes("staged")).ok());
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  publisher.Flush();
  EXPECT_EQ(subscriber.Receive(kLong).value().text(), "staged");
}

TEST_F(PublisherTest, FlushesWhenItCloses) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Write(AsBytes("last words")).ok());
  publisher.Close();
  EXPECT_EQ(publisher.Publish(AsBytes("x")).status().code(), Code::kClosed);
  EXPECT_EQ(subscriber.Receive(kLong).value().text(), "last words");
  publisher.Close();
}

TEST_F(PublisherTest, BuildsInPlaceForOneLinkAndForSeveral) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  const auto fill = [](std::span<std::byte> out) {
    std::fill(out.begin(), out.end(), std::byte{7});
    return true;
  };
  std::vector<BytesSubscriber> subscribers;
  for (int links = 0; links < 3; ++links) {
    const auto sent = publisher.PublishInPlace(5000, fill);
    ASSERT_TRUE(sent.ok());
    EXPECT_EQ(sent->links, static_cast<uint32_t>(links));
    for (auto& subscriber : subscribers) {
      const auto got = subscriber.Receive(kLong);
      ASSERT_TRUE(got.ok());
      EXPECT_EQ(got->bytes.size(), 5000u);
      EXPECT_EQ(got->bytes[4999], std::byte{7});
    }
    subscribers.push_back(node.CreateSubscriber("t").value());
  }
}

TEST_F(PublisherTest, LeavesNoTraceOfAMessageThatWasGivenUp) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  std::vector<BytesSubscriber> subscribers;
  for (int links = 1; links <= 2; ++links) {
    subscribers.push_back(node.CreateSubscriber("t").value());
    for (const Status& abandoned :
         {publisher.PublishInPlace(10, [](auto) { return false; }).status(),
          publisher.PublishInPlace(10, [](auto) { return false; }, {}).status()}) {
      EXPECT_EQ(abandoned.code(), Code::kAborted);
      EXPECT_THAT(abandoned.message(), HasSubstr("topic 't': the message was given up"));
    }
    EXPECT_THROW(static_cast<void>(publisher.PublishInPlace(
                     10, [](auto) -> bool { throw std::runtime_error("no"); })),
                 std::runtime_error);
    ASSERT_TRUE(publisher.Publish(AsBytes("good")).ok());
    for (auto& subscriber : subscribers) {
      EXPECT_EQ(subscriber.Receive(kLong).value().text(), "good");
    }
  }
}

TEST_F(PublisherTest, RefusesACallFromItsOwnFillFunction) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  Status inner;
  ASSERT_TRUE(publisher
                  .PublishInPlace(1,
                                  [&](std::span<std::byte>) {
                                    inner = publisher.Publish(AsBytes("x")).status();
                                    return true;
                                  })
                  .ok());
  EXPECT_EQ(inner.code(), Code::kFailedPrecondition);
}

TEST_F(PublisherTest, SaysHowManySubscribersThereAre) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  EXPECT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
  EXPECT_EQ(publisher.subscribers(), 1u);
  const Status missing = publisher.WaitForSubscribers(2, 10ms);
  EXPECT_EQ(missing.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(missing.message(), HasSubstr("1 of 2"));
}

TEST_F(PublisherTest, LetsGoOfADeadLinkWhileItIsIdle) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  const auto link = control_.links().at(0);
  v1::NodeEvent down;
  down.mutable_link_down()->set_link_id(link.id);
  control_.SendEvent(link.publisher_node, down);
  EXPECT_TRUE(IsClosed(link.id)) << "no call of the publisher came, yet it has to let go";
  EXPECT_EQ(publisher.Publish(AsBytes("y"))->links, 0u);
}

TEST_F(PublisherTest, QuarantinesASubscriberThatWritesNonsense) {
  Node node = Open("n");
  auto publisher =
      node.CreatePublisher("t", {.reliability = Fail(), .ring_bytes = kSmallRing}).value();
  auto hostile = Open("hostile").CreateSubscriber("t").value();
  auto good = node.CreateSubscriber("t").value();
  const auto link = control_.links().at(0);
  auto* descriptor =
      reinterpret_cast<ringbuf::RingDescriptor*>(control_.region().data() + link.ring_offset);
  descriptor->head.store(uint64_t{1} << 60);
  int published = 0;
  int received = 0;
  while (published < 100) {
    const auto sent = publisher.Publish(Message(kSmallMessage));
    ASSERT_TRUE(sent.ok()) << sent.status().ToString();
    ++published;
    while (good.Receive(0s).ok()) ++received;
  }
  EXPECT_EQ(received, published);
  EXPECT_EQ(publisher.counters().corrupt_links, 1u);
  EXPECT_EQ(publisher.subscribers(), 1u);
  const auto told = control_.AwaitRequest([&](const v1::NodeRequest& one) {
    return one.has_link_corrupt() && one.link_corrupt().link_id() == link.id;
  });
  EXPECT_FALSE(told.link_corrupt().detail().empty());
}

TEST_F(PublisherTest, RefusesALinkThatLiesOutsideTheRegion) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  v1::NodeEvent event;
  event.mutable_link_up()->set_link_id(7);
  event.mutable_link_up()->set_endpoint_id(100);
  event.mutable_link_up()->set_publishes(true);
  event.mutable_link_up()->set_ring_offset(uint64_t{1} << 40);
  event.mutable_link_up()->set_ring_capacity(65536);
  control_.SendEvent(1, event);
  const auto told =
      control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_corrupt(); });
  EXPECT_EQ(told.link_corrupt().link_id(), 7u);
  EXPECT_TRUE(publisher.Publish(AsBytes("x")).ok());
}

}  // namespace
}  // namespace ivmq::test
