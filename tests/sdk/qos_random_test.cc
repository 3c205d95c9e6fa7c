// Publishers and subscribers of all qualities of service that come and go at a real daemon: every
// message is delivered or accounted for.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr int kRounds = 1000;
constexpr size_t kMessageBytes = 512;  // the largest of the smallest ring

struct Taker {
  explicit Taker(BytesSubscriber taken) : subscriber(std::move(taken)) {}

  struct Link {
    uint64_t next = 0;  // sequence
    uint64_t base = 0;  // number of the message that was first on the link
    uint64_t received = 0;
    uint64_t missing = 0;
  };
  void TakeAll() {
    for (;;) {
      const auto got = subscriber.Receive(0s);
      if (!got.ok()) break;
      Take(*got);
    }
  }
  void Take(const BytesMessage& message) {
    uint64_t number = 0;
    ASSERT_EQ(message.bytes.size(), kMessageBytes);
    std::memcpy(&number, message.bytes.data(), sizeof(number));
    Link& link = links[message.info.link_id];
    if (link.received == 0) link.base = number - message.info.sequence;
    EXPECT_EQ(message.info.sequence, link.next + message.gap());
    EXPECT_EQ(number, link.base + message.info.sequence) << "what is missing is what was counted";
    if (reliable) {
      EXPECT_EQ(message.gap(), 0u);
    }
    link.next = message.info.sequence + 1;
    ++link.received;
    link.missing += message.gap();
  }

  BytesSubscriber subscriber;
  bool reliable = false;
  std::map<uint64_t, Link> links;
};

class Round {
 public:
  Round(std::vector<Node>* nodes, std::mt19937* random, int number)
      : nodes_(*nodes), random_(*random), topic_("round" + std::to_string(number) + ".t") {}

  void Run() {
    const History history(Below(3) == 0 ? 1 + Below(8) : 0);
    const Reliability offered = Offered();
    keeps_ = history.messages() > 0;
    reliable_ = offered.kind() == Reliability::Kind::kFail;
    auto created = AnyNode().CreatePublisher(
        topic_, {.reliability = offered, .ring_bytes = 4096, .history = history});
    ASSERT_TRUE(created.ok()) << created.status().ToString();
    BytesPublisher publisher = std::move(created).value();
    const uint32_t steps = 5 + Below(10);
    for (uint32_t step = 0; step < steps; ++step) {
      switch (Below(4)) {
        case 0:
          Join();
          break;
        case 1:
          if (!takers_.empty()) takers_.erase(takers_.begin() + Below(takers_.size()));
          break;
        case 2:
          for (auto& taker : takers_) {
            if (Below(2) == 0) taker->TakeAll();
          }
          break;
        default:
          for (uint32_t burst = Below(20); burst > 0; --burst) Publish(&publisher);
      }
    }
    // With room everywhere, the last message tells of all that was dropped before it.
    for (auto& taker : takers_) taker->TakeAll();
    ASSERT_TRUE(publisher.WaitForSubscribers(static_cast<uint32_t>(takers_.size()), 30s).ok());
    // The full link of a subscriber that has gone may still be there for a moment.
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    while (!Publish(&publisher)) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      for (auto& taker : takers_) taker->TakeAll();
    }
    for (auto& taker : takers_) Account(taker.get());
    EXPECT_TRUE(publisher.Drain(30s).ok());
  }

 private:
  uint32_t Below(size_t bound) { return static_cast<uint32_t>(random_() % bound); }
  Node& AnyNode() { return nodes_[Below(nodes_.size())]; }

  Reliability Offered() {
    switch (Below(3)) {
      case 0:
        return DropNewest();
      case 1:
        return KeepLast(1 + Below(8));
      default:
        return Fail();
    }
  }

  void Join() {
    SubscriberOptions options;
    switch (Below(5)) {
      case 0:
        options.reliability = Reliable();
        break;
      case 1:
        options.reliability = DropNewest();
        break;
      case 2:
        options.reliability = KeepLast(1 + Below(8));
        break;
      case 3:
        options.reliability = AsOffered();
        break;
      default:
        break;
    }
    if (Below(3) == 0) options.history = History(1 + Below(8));
    const bool filter = Below(4) == 0;
    const std::string topic = filter ? topic_.substr(0, topic_.size() - 1) + "*" : topic_;
    const bool asks_too_much =
        (options.reliability && options.reliability->kind() == Reliability::Kind::kReliable &&
         !reliable_) ||
        (options.history.messages() > 0 && !keeps_);
    auto created = AnyNode().CreateSubscriber(topic, options);
    if (asks_too_much) {
      if (!filter) {
        EXPECT_EQ(created.status().code(), Code::kFailedPrecondition);
      }
      return;
    }
    ASSERT_TRUE(created.ok()) << created.status().ToString();
    takers_.push_back(std::make_unique<Taker>(std::move(created).value()));
    takers_.back()->reliable =
        reliable_ &&
        (options.reliability ? options.reliability->kind() == Reliability::Kind::kReliable ||
                                   options.reliability->kind() == Reliability::Kind::kAsOffered
                             : !filter);
  }

  // False: a reliable link had no room.
  bool Publish(BytesPublisher* publisher) {
    std::vector<std::byte> message(kMessageBytes);
    std::memcpy(message.data(), &published_, sizeof(published_));
    const auto sent = publisher->Publish(message);
    if (sent.ok()) {
      ++published_;
      return true;
    }
    EXPECT_EQ(sent.status().code(), Code::kFull) << sent.status().ToString();
    EXPECT_TRUE(reliable_);
    return false;
  }

  void Account(Taker* taker) {
    taker->TakeAll();
    ASSERT_EQ(taker->links.size(), 1u);
    const Taker::Link& link = taker->links.begin()->second;
    EXPECT_EQ(link.base + link.next, published_) << "the last one came";
    EXPECT_EQ(link.received + link.missing, link.next);
    const SubscriberCounters counted = taker->subscriber.counters();
    EXPECT_EQ(counted.messages, link.received);
    EXPECT_EQ(counted.dropped_full + counted.overwritten, link.missing);
  }

  std::vector<Node>& nodes_;
  std::mt19937& random_;
  const std::string topic_;
  bool reliable_ = false;
  bool keeps_ = false;
  uint64_t published_ = 0;
  std::vector<std::unique_ptr<Taker>> takers_;
};

TEST(QosRandomTest, AccountsForEveryMessageOfWhoeverComesAndGoes) {
  const char* const given = std::getenv("IVMQ_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  std::printf("seed %lu: IVMQ_TEST_SEED repeats it\n", seed);
  std::mt19937 random(seed);
  Daemon daemon;
  std::vector<Node> nodes;
  for (int i = 0; i < 3; ++i) {
    nodes.push_back(
        Node::Open(
            {.name = "n" + std::to_string(i), .socket_path = daemon.node_socket(), .timeout = 60s})
            .value());
  }
  for (int i = 0; i < kRounds && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("round " + std::to_string(i) + " of seed " + std::to_string(seed));
    Round(&nodes, &random, i).Run();
  }
}

}  // namespace
}  // namespace ivmq::test
