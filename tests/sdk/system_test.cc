// The SDK through the real ivmqd and its control, with processes that are stopped and killed.

#include <gmock/gmock.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/texts.h"
#include "tests/sdk/traffic.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using google::protobuf::Int64Value;
using google::protobuf::StringValue;
using ::testing::HasSubstr;

constexpr auto kLong = 60s;
constexpr size_t kLargest = 8192;

class SystemTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name = "test") {
    return Node::Open({.name = name, .socket_path = daemon_.node_socket(), .timeout = kLong})
        .value();
  }
  std::vector<std::string> Peer(const std::string& what, const std::string& topic,
                                const std::string& stream = "1", const std::string& count = "") {
    std::vector<std::string> arguments = {"sdk_test_peer", what, daemon_.node_socket(), topic,
                                          stream};
    if (!count.empty()) arguments.push_back(count);
    return arguments;
  }

  Daemon daemon_;
};

TEST_F(SystemTest, CarriesProtobufMessagesBetweenTwoProcesses) {
  Node node = Open("camera");
  EXPECT_EQ(node.realm(), "default");
  auto publisher = node.CreatePublisher<StringValue>("a.b").value();
  auto subscriber = Open("viewer").CreateSubscriber<StringValue>("a.b").value();
  StringValue sent;
  for (int i = 0; i < 100; ++i) {
    sent.set_value("message " + std::to_string(i));
    const auto published = publisher.Publish(sent);
    ASSERT_TRUE(published.ok()) << published.status().ToString();
    EXPECT_EQ(published->links, 1u);
    const auto got = subscriber.Receive(kLong);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_EQ(got->value().value(), sent.value());
    EXPECT_EQ(got->info().sequence, static_cast<uint64_t>(i));
  }
}

TEST_F(SystemTest, CarriesAHundredThousandMessagesOfMixedSizeUnharmed) {
  Child receiver(Peer("receive", "t", "7", "100000"));
  ASSERT_EQ(receiver.ReadLine(), "ready");
  Child sender(Peer("publish", "t", "7", "100000"));
  EXPECT_EQ(receiver.ReadLine(), "right");
  EXPECT_EQ(sender.Wait(), 0);
  EXPECT_EQ(receiver.Wait(), 0);
}

TEST_F(SystemTest, CarriesMessagesOfManyPublishersToManySubscribers) {
  constexpr int kPublishers = 4;
  constexpr int kSubscribers = 3;
  constexpr uint64_t kEach = 2000;
  std::vector<BytesSubscriber> subscribers;
  for (int i = 0; i < kSubscribers; ++i) {
    subscribers.push_back(Open("sub").CreateSubscriber("t").value());
  }
  std::vector<std::thread> threads;
  for (int p = 0; p < kPublishers; ++p) {
    auto publisher = Open("pub-" + std::to_string(p)).CreatePublisher<Int64Value>("t").value();
    threads.emplace_back([publisher = std::move(publisher)]() mutable {
      Int64Value value;
      for (uint64_t i = 0; i < kEach; ++i) {
        value.set_value(static_cast<int64_t>(i));
        const auto sent = publisher.Publish(value);
        ASSERT_TRUE(sent.ok()) << sent.status().ToString();
        EXPECT_EQ(sent->links, static_cast<uint32_t>(kSubscribers));
      }
    });
  }
  for (auto& subscriber : subscribers) {
    threads.emplace_back([&subscriber] {
      std::map<uint64_t, int64_t> next;
      for (uint64_t i = 0; i < kEach * kPublishers; ++i) {
        const auto got = subscriber.Receive(kLong);
        ASSERT_TRUE(got.ok()) << got.status().ToString();
        Int64Value value;
        ASSERT_TRUE(Codec<Int64Value>::Decode(got->bytes, &value));
        EXPECT_EQ(value.value(), next[got->info.link_id]++);
      }
      EXPECT_EQ(next.size(), static_cast<size_t>(kPublishers));
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST_F(SystemTest, DeliversWhatAPublisherCommittedBeforeItWasKilled) {
  Node node = Open();
  const Traffic traffic(3, kLargest);
  auto subscriber = node.CreateSubscriber("t").value();
  for (int round = 0; round < 3; ++round) {
    Child flood(Peer("flood", "t", "3"));
    ASSERT_EQ(flood.ReadLine(), "0");
    uint64_t received = 0;
    for (; received < 5000; ++received) {
      const auto got = subscriber.Receive(kLong);
      ASSERT_TRUE(got.ok()) << got.status().ToString();
      ASSERT_TRUE(traffic.IsRight(received, got->bytes));
    }
    flood.Signal(SIGKILL);
    EXPECT_EQ(flood.Wait(), 128 + SIGKILL);
    std::string said = flood.ReadAll();
    said.erase(said.find_last_of('\n'));
    const uint64_t committed = std::stoull(said.substr(said.find_last_of('\n') + 1)) + 1;
    // All that is left comes, then the link goes.
    for (;;) {
      const auto got = subscriber.Receive(subscriber.publishers() > 0 ? 100ms : 0ms);
      if (got.ok()) {
        ASSERT_TRUE(traffic.IsRight(received, got->bytes)) << received;
        ++received;
      } else if (subscriber.publishers() == 0) {
        break;
      }
    }
    while (subscriber.Receive(0s).ok()) ++received;
    EXPECT_GE(received, committed);
  }
}

TEST_F(SystemTest, TakesMemoryBackFromProcessesThatAreKilled) {
  // Rings of 4 MiB in a region of 64: leaking a few of them would exhaust it.
  Node node = Open();
  auto subscriber = node.CreateSubscriber("t", {.ring_bytes = 4 << 20}).value();
  auto publisher = node.CreatePublisher("u", {.ring_bytes = 4 << 20}).value();
  for (int round = 0; round < 30; ++round) {
    Child hold(Peer("hold", "t"));
    Child take(Peer("take", "u"));
    ASSERT_EQ(hold.ReadLine(), "ready");
    ASSERT_EQ(take.ReadLine(), "ready");
    ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 1; })) << round;
    ASSERT_TRUE(WaitUntil([&] { return publisher.subscribers() == 1; })) << round;
    ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
    hold.Signal(SIGKILL);
    take.Signal(SIGKILL);
    // Neither is inside a call: both must let go all the same.
    ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 0; })) << round;
    ASSERT_TRUE(WaitUntil([&] { return publisher.subscribers() == 0; })) << round;
  }
}

TEST_F(SystemTest, GoesOnToOthersWhenOneSubscriberIsKilled) {
  Node node = Open();
  auto publisher = node.CreatePublisher("t", {.reliability = Block(kLong)}).value();
  Child good(Peer("receive", "t", "5", "20000"));
  Child bad(Peer("take", "t"));
  ASSERT_EQ(good.ReadLine(), "ready");
  ASSERT_EQ(bad.ReadLine(), "ready");
  bad.Stop();  // So that its ring gets full, and the publisher waits for it.
  Traffic traffic(5, kLargest);
  std::thread killer([&] {
    WaitUntil([&] { return publisher.counters().messages > 50; });
    bad.Signal(SIGKILL);
  });
  for (uint64_t i = 0; i < 20000; ++i) {
    const auto sent = publisher.Publish(traffic.Make(i));
    ASSERT_TRUE(sent.ok()) << sent.status().ToString();
  }
  EXPECT_EQ(good.ReadLine(), "right");
  killer.join();
}

TEST_F(SystemTest, NamesAStoppedSubscriberWhenItsRingIsFull) {
  Node node = Open();
  auto publisher = node.CreatePublisher("t", {.reliability = Block(30ms)}).value();
  Child take(Peer("take", "t"));
  ASSERT_EQ(take.ReadLine(), "ready");
  take.Stop();
  const std::vector<std::byte> message(kLargest);
  Status full;
  for (int i = 0; i < 100 && full.ok(); ++i) full = publisher.Publish(message).status();
  EXPECT_EQ(full.code(), Code::kFull);
  EXPECT_THAT(full.message(), HasSubstr("take-" + std::to_string(take.pid())));
  take.Signal(SIGCONT);
  EXPECT_TRUE(WaitUntil([&] { return publisher.Publish(message).ok(); }));
}

TEST_F(SystemTest, NamesAStoppedPublisherThatDoesNotAttach) {
  Child hold(Peer("hold", "t"));
  ASSERT_EQ(hold.ReadLine(), "ready");
  hold.Stop();
  Node node = Open();
  const auto late = node.CreateSubscriber("t", {.join_timeout = 100ms});
  EXPECT_EQ(late.status().code(), Code::kDeadlineExceeded) << late.status().ToString();
  EXPECT_THAT(late.status().message(), HasSubstr("hold-" + std::to_string(hold.pid())));
  hold.Signal(SIGCONT);
  const auto joined = node.CreateSubscriber("t", {.join_timeout = kLong});
  EXPECT_TRUE(joined.ok()) << joined.status().ToString();
}

TEST_F(SystemTest, RefusesTopicsThatAreNone) {
  Node node = Open();
  const std::string longest(255, 'x');
  EXPECT_TRUE(node.CreatePublisher(longest).ok());
  EXPECT_TRUE(node.CreatePublisher("größe.ä").ok());
  for (const std::string& topic : {std::string(), std::string("a..b"), std::string(".a"),
                                   std::string("a."), std::string("a.b*"), std::string(">.a"),
                                   std::string("a\nb"), std::string("a.\xff"), longest + "x"}) {
    EXPECT_EQ(node.CreatePublisher(topic).status().code(), Code::kInvalidArgument);
    EXPECT_EQ(node.CreateSubscriber(topic).status().code(), Code::kInvalidArgument);
  }
  for (const std::string filter : {"a.*", "a.>"}) {
    EXPECT_EQ(node.CreatePublisher(filter).status().code(), Code::kInvalidArgument);
    EXPECT_TRUE(node.CreateSubscriber(filter).ok());
  }
  EXPECT_THAT(node.CreatePublisher("good.ba*d.good").status().message(), HasSubstr("ba*d"));
}

TEST_F(SystemTest, RefusesTheLatecomerWhoseTypeDiffersAndNamesBoth) {
  Node node = Open();
  auto publisher = node.CreatePublisher<StringValue>("t").value();
  const Status refused = Open("late").CreateSubscriber<Int64Value>("t").status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("google.protobuf.StringValue"));
  EXPECT_THAT(refused.message(), HasSubstr("google.protobuf.Int64Value"));
  EXPECT_TRUE(Open("bytes").CreateSubscriber("t").ok()) << "bytes take any type";
  EXPECT_TRUE(WaitUntil([&] {
    const Status none = publisher.WaitForSubscribers(1, 1ms);
    return none.message().find("Int64Value") != std::string::npos;
  })) << "the publisher is told why nobody came";
}

TEST_F(SystemTest, SaysThatTheRegionIsUsedUp) {
  Node node = Open();
  auto subscriber = node.CreateSubscriber("t", {.ring_bytes = 16 << 20}).value();
  std::vector<BytesPublisher> publishers;
  Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    auto publisher = node.CreatePublisher("t");
    status = publisher.status();
    if (publisher.ok()) publishers.push_back(std::move(publisher).value());
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.ToString();
  EXPECT_GE(publishers.size(), 2u);
  publishers.clear();
  EXPECT_TRUE(WaitUntil([&] { return node.CreatePublisher("t").ok(); })) << "memory came back";
}

TEST_F(SystemTest, GoesOnWhenControlIsKilled) {
  Child receiver(Peer("receive", "t", "9", "50000"));
  ASSERT_EQ(receiver.ReadLine(), "ready");
  Node node = Open();
  auto publisher = node.CreatePublisher("t", {.reliability = Block(kLong)}).value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kLong).ok());
  Traffic traffic(9, kLargest);
  for (uint64_t i = 0; i < 50000; ++i) {
    if (i == 20000) daemon_.KillControl();
    const auto sent = publisher.Publish(traffic.Make(i));
    ASSERT_TRUE(sent.ok()) << sent.status().ToString();
  }
  EXPECT_EQ(receiver.ReadLine(), "right");
  ASSERT_TRUE(WaitUntil([&] { return !node.connected(); }));
  EXPECT_EQ(node.CreatePublisher("u").status().code(), Code::kUnavailable);
  const auto later = Node::Open({.socket_path = daemon_.node_socket(), .timeout = 100ms}).status();
  EXPECT_EQ(later.code(), Code::kUnavailable) << later.ToString();
}

TEST_F(SystemTest, TellsWhatComesAndGoes) {
  Node node = Open("watcher");
  std::mutex mutex;
  std::set<std::string> there;  // guarded by mutex
  bool snapshot_done = false;   // guarded by mutex
  ASSERT_TRUE(node.WatchDiscovery([&](const Node::Discovery& one) {
                    const std::lock_guard lock(mutex);
                    if (one.kind == Node::Discovery::Kind::kSnapshotDone) snapshot_done = true;
                    if (one.kind == Node::Discovery::Kind::kRemoved) {
                      there.erase(one.name);
                    } else {
                      there.insert(one.name);
                    }
                  })
                  .ok());
  const auto known = [&](const std::string& name) {
    const std::lock_guard lock(mutex);
    return snapshot_done && there.count(name) > 0;
  };
  EXPECT_TRUE(WaitUntil([&] { return known("watcher"); }));
  {
    Node other = Open("visitor");
    auto publisher = other.CreatePublisher("news.today").value();
    EXPECT_TRUE(WaitUntil([&] { return known("visitor") && known("news.today"); }));
  }
  EXPECT_TRUE(WaitUntil([&] { return !known("visitor") && !known("news.today"); }));
}

TEST_F(SystemTest, LeavesNothingBehindOfNodesThatComeAndGo) {
  for (int i = 0; i < 300; ++i) {
    Node node = Open("guest-" + std::to_string(i));
    auto publisher = node.CreatePublisher("t", {.ring_bytes = 1 << 20}).value();
    auto subscriber = node.CreateSubscriber("t").value();
    ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
    ASSERT_TRUE(subscriber.Receive(kLong).ok());
  }
}

}  // namespace
}  // namespace ivmq::test
