#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ivmq/ivmq.h"
#include "ringbuf/ring_layout.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr auto kLong = 30s;

class SubscriberTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  static bool Readable(int fd, std::chrono::milliseconds timeout) {
    const transport::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
    return ::epoll_wait(epoll.get(), &event, 1, static_cast<int>(timeout.count())) == 1;
  }

  FakeControl control_;
};

TEST_F(SubscriberTest, PollsAtMostAsManyAsAskedFor) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  int seen = 0;
  const auto count = [&seen](const BytesMessage&) { ++seen; };
  EXPECT_EQ(subscriber.Poll(0, count).value(), 0u);
  EXPECT_EQ(subscriber.Poll(2, count).value(), 2u);
  EXPECT_EQ(subscriber.Poll(100, count).value(), 3u);
  EXPECT_EQ(subscriber.Poll(100, count).value(), 0u);
  EXPECT_EQ(seen, 5);
}

TEST_F(SubscriberTest, CountsAMessageAsDeliveredWhoseHandlerThrows) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  for (const char* text : {"bad", "good"}) ASSERT_TRUE(publisher.Publish(AsBytes(text)).ok());
  EXPECT_THROW(static_cast<void>(
                   subscriber.Poll(1, [](const BytesMessage&) { throw std::runtime_error("no"); })),
               std::runtime_error);
  EXPECT_EQ(subscriber.Receive(kLong).value().text(), "good");
  EXPECT_EQ(subscriber.counters().messages, 2u);
}

TEST_F(SubscriberTest, LetsManyPublishersTakeTurns) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t").value();
  std::vector<BytesPublisher> publishers;
  for (int i = 0; i < 10; ++i) publishers.push_back(node.CreatePublisher("t").value());
  constexpr int kEach = 100;
  for (auto& publisher : publishers) {
    for (int i = 0; i < kEach; ++i) ASSERT_TRUE(publisher.Publish(AsBytes(std::to_string(i))).ok());
  }
  std::map<uint64_t, int> next;
  for (int i = 0; i < 10 * kEach; ++i) {
    const auto got = subscriber.Receive(kLong);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got->text(), std::to_string(next[got->info.link_id]++));
  }
  EXPECT_EQ(next.size(), 10u);
  EXPECT_EQ(subscriber.publishers(), 10u);
}

TEST_F(SubscriberTest, InterruptsAReceiveThatWaits) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t").value();
  std::atomic<bool> back{false};
  std::thread waiting([&] {
    EXPECT_EQ(subscriber.Receive(10min).status().code(), Code::kTimeout);
    back = true;
  });
  while (!back) {
    subscriber.Interrupt();
    std::this_thread::sleep_for(1ms);
  }
  waiting.join();
}

TEST_F(SubscriberTest, RemembersAnInterruptForTheNextReceiveOnly) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  subscriber.Interrupt();
  subscriber.Interrupt();
  EXPECT_EQ(subscriber.Receive(10min).status().code(), Code::kTimeout);
  EXPECT_EQ(subscriber.Receive(kLong).value().text(), "x");
}

TEST_F(SubscriberTest, IsReadableInAnEpollOfTheApplication) {
  Node node = Open("n");
  Node other = Open("other");
  auto publisher = other.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  const int fd = subscriber.fd();
  EXPECT_EQ(subscriber.fd(), fd);
  const auto ignore = [](const BytesMessage&) {};
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
    ASSERT_TRUE(publisher.Publish(AsBytes("y")).ok());
    EXPECT_TRUE(Readable(fd, 30s));
    EXPECT_EQ(subscriber.Poll(1, ignore).value(), 1u);
    EXPECT_TRUE(Readable(fd, 30s)) << "one is left";
    ASSERT_TRUE(subscriber.Receive(0s).ok());
    EXPECT_EQ(subscriber.Poll(10, ignore).value(), 0u);
    EXPECT_FALSE(Readable(fd, 0ms));
  }
  // Also after waiting by itself.
  std::thread late([&] {
    std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(publisher.Publish(AsBytes("z")).ok());
  });
  EXPECT_TRUE(subscriber.Receive(kLong).ok());
  late.join();
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  EXPECT_TRUE(Readable(fd, 30s));
}

TEST_F(SubscriberTest, IsReadableForGoodOnceItsNodeIsClosed) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t").value();
  const int fd = subscriber.fd();
  node.Close();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Readable(fd, 30s));
    EXPECT_EQ(subscriber.Poll(1, [](const BytesMessage&) {}).status().code(), Code::kClosed);
  }
  EXPECT_EQ(subscriber.fd(), fd);
}

TEST_F(SubscriberTest, ReadsWhatADeadPublisherLeftThenLetsGo) {
  Node node = Open("n");
  auto publisher = std::make_unique<BytesPublisher>(Open("dies").CreatePublisher("t").value());
  auto subscriber = node.CreateSubscriber("t").value();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(publisher->Publish(AsBytes(std::to_string(i))).ok());
  publisher.reset();
  while (subscriber.publishers() > 0) std::this_thread::sleep_for(1ms);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(subscriber.Receive(kLong).value().text(), std::to_string(i));
  }
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  const auto closed =
      control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_closed(); });
  EXPECT_EQ(closed.link_closed().counters().delivered(), 50u);
}

TEST_F(SubscriberTest, LetsGoOfAnEmptyDeadLinkWhileItIsIdle) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t").value();
  {
    auto publisher = Open("dies").CreatePublisher("t").value();
    ASSERT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
  }
  control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_closed(); });
}

TEST_F(SubscriberTest, LetsGoOfADeadLinkWhileAnotherIsBusy) {
  Node node = Open("n");
  auto busy = node.CreatePublisher("t").value();
  auto dies = std::make_unique<BytesPublisher>(Open("dies").CreatePublisher("t").value());
  auto subscriber = node.CreateSubscriber("t").value();
  ASSERT_TRUE(dies->Publish(AsBytes("last")).ok());
  dies.reset();
  while (subscriber.publishers() > 1) std::this_thread::sleep_for(1ms);
  // Never empty, so that only the look between messages can find it.
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(busy.Publish(AsBytes("x")).ok());
    ASSERT_TRUE(busy.Publish(AsBytes("x")).ok());
    ASSERT_TRUE(subscriber.Receive(kLong).ok());
  }
  const auto closed =
      control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_closed(); });
  EXPECT_EQ(closed.link_closed().counters().delivered(), 1u);
}

TEST_F(SubscriberTest, QuarantinesAPublisherThatWritesNonsense) {
  Node node = Open("n");
  auto hostile = Open("hostile").CreatePublisher("t").value();
  auto good = Open("good").CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  FakeControl::Link bad;
  for (const auto& link : control_.links()) {
    if (link.publisher_node == 2) bad = link;
  }
  std::byte* const data =
      control_.region().data() + bad.ring_offset + sizeof(ringbuf::RingDescriptor);
  std::memset(data, 0xff, 64);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(good.Publish(AsBytes(std::to_string(i))).ok());
    EXPECT_EQ(subscriber.Receive(kLong).value().text(), std::to_string(i));
  }
  // The ready byte was never set: found by the look that comes once a second.
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  while (subscriber.counters().corrupt_links == 0 && std::chrono::steady_clock::now() < deadline) {
    EXPECT_FALSE(subscriber.Receive(100ms).ok());
  }
  EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
  EXPECT_EQ(subscriber.publishers(), 1u);
  const auto told =
      control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_corrupt(); });
  EXPECT_EQ(told.link_corrupt().link_id(), bad.id);
}

TEST_F(SubscriberTest, FindsNonsenseAlsoWhileAnotherLinkIsAlwaysBusy) {
  auto hostile = Open("hostile").CreatePublisher("t").value();
  auto busy = Open("busy").CreatePublisher("t").value();
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t").value();
  FakeControl::Link bad;
  for (const auto& link : control_.links()) {
    if (link.publisher_node == 1) bad = link;
  }
  ASSERT_TRUE(hostile.Publish(AsBytes("x")).ok());
  std::memset(control_.region().data() + bad.ring_offset + sizeof(ringbuf::RingDescriptor), 0xff,
              64);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(busy.Publish(AsBytes(std::to_string(i))).ok());
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(subscriber.Receive(kLong).value().text(), std::to_string(i));
  }
  EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
}

TEST_F(SubscriberTest, RefusesARecordWithFlagsOfALaterVersion) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  const auto link = control_.links().at(0);
  auto* header = reinterpret_cast<uint64_t*>(control_.region().data() + link.ring_offset +
                                             sizeof(ringbuf::RingDescriptor));
  *header = ringbuf::internal::MakeHeader(8, ringbuf::kFlagExtension);
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  while (subscriber.counters().corrupt_links == 0 && std::chrono::steady_clock::now() < deadline) {
    EXPECT_FALSE(subscriber.Receive(100ms).ok());
  }
  EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
}

TEST_F(SubscriberTest, RefusesACallFromItsOwnHandlerButMayBeClosedThere) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  int calls = 0;
  Status inner;
  const auto polled = subscriber.Poll(10, [&](const BytesMessage&) {
    ++calls;
    inner = subscriber.Receive(0s).status();
    subscriber.Close();
  });
  EXPECT_EQ(polled.value(), 1u);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(inner.code(), Code::kFailedPrecondition);
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kClosed);
}

TEST_F(SubscriberTest, HandsOutWhatIsLeftAfterAnEvictionThenSaysClosed) {
  Node node = Open("n");
  auto publisher = Open("other").CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  auto own = node.CreatePublisher("own").value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  v1::NodeEvent event;
  event.mutable_evicted()->set_reason("test");
  control_.SendEvent(1, event);
  while (node.connected()) std::this_thread::sleep_for(1ms);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(subscriber.Receive(0s).ok());
  const Status closed = subscriber.Receive(kLong).status();
  EXPECT_EQ(closed.code(), Code::kClosed);
  EXPECT_THAT(closed.message(), HasSubstr("evicted"));
  EXPECT_EQ(own.Publish(AsBytes("x")).status().code(), Code::kClosed);
}

TEST_F(SubscriberTest, GivesOutNoDescriptorThatNobodyArms) {
  Node node = Open("n");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  WaitSet set = WaitSet::Create().value();
  for (const char* text : {"polled", "borrowed", "last"}) {
    ASSERT_TRUE(publisher.Publish(AsBytes(text)).ok());
  }
  const auto refused = [&] {
    return subscriber.fd() == -1 && set.Add(&subscriber, 1).code() == Code::kFailedPrecondition;
  };
  EXPECT_TRUE(subscriber.Poll(1, [&](const BytesMessage&) { EXPECT_TRUE(refused()); }).ok());
  {
    const auto borrowed = subscriber.Borrow(kLong);
    ASSERT_TRUE(borrowed.ok());
    EXPECT_TRUE(refused());
  }
  ASSERT_TRUE(set.Add(&subscriber, 1).ok());
  EXPECT_TRUE(Readable(subscriber.fd(), kLong));
  EXPECT_TRUE(subscriber.Poll(1, [&](const BytesMessage&) { EXPECT_GE(subscriber.fd(), 0); }).ok());
  auto taken = std::move(subscriber);
  EXPECT_EQ(set.Add(&subscriber, 1).code(),
            Code::kClosed);  // NOLINT(bugprone-use-after-move): on purpose
}

TEST_F(SubscriberTest, IsWokenByTheCloseOfItsNode) {
  Node node = Open("n");
  auto subscriber = node.CreateSubscriber("t").value();
  std::thread waiting([&] { EXPECT_EQ(subscriber.Receive(10min).status().code(), Code::kClosed); });
  std::this_thread::sleep_for(5ms);
  node.Close();
  waiting.join();
}

}  // namespace
}  // namespace ivmq::test
