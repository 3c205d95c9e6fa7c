// Latecomers to a publisher that goes on publishing meanwhile, on a thread of its own: what it had
// kept comes first, then what it publishes; nothing twice, nothing left out in between.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 60s;
constexpr uint32_t kKept = 32;
constexpr int kJoins = 200;
constexpr uint64_t kMessages = 4 * kKept;  // that each of them takes

// Publishes numbers, as fast as its subscribers let it, until it goes.
class Ticker {
 public:
  Ticker(Node* node, const std::string& topic)
      : publisher_(node->CreatePublisher(
                           topic, {.reliability = Block(kPatience), .history = History(kKept)})
                       .value()),
        thread_([this] { Run(); }) {}
  ~Ticker() {
    stop_ = true;
    thread_.join();
  }
  // Published by now; one more may be on its way.
  uint64_t published() const { return published_; }

 private:
  void Run() {
    for (uint64_t number = 0; !stop_; ++number) {
      // Both ways to publish keep what they wrote.
      const auto sent = number % 2 == 0
                            ? publisher_.Publish(std::as_bytes(std::span(&number, 1)))
                            : publisher_.PublishInPlace(sizeof(number), [number](auto out) {
                                std::memcpy(out.data(), &number, sizeof(number));
                                return true;
                              });
      ASSERT_TRUE(sent.ok()) << sent.status().ToString();
      published_ = number + 1;
    }
  }

  BytesPublisher publisher_;
  std::atomic<uint64_t> published_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class HistoryLiveTest : public testing::Test {
 protected:
  // Joins again and again while the ticker runs.
  void JoinManyTimes(const Reliability& asked) {
    Ticker ticker(&publishing_, "t");
    ASSERT_TRUE(WaitUntil([&] { return ticker.published() > kKept; }));
    for (int join = 0; join < kJoins && !HasFailure(); ++join) {
      SCOPED_TRACE("join " + std::to_string(join));
      const auto wanted = static_cast<uint32_t>(1 + join % kKept);
      const uint64_t before = ticker.published();
      auto subscriber =
          subscribing_.CreateSubscriber("t", {.reliability = asked, .history = History(wanted)});
      ASSERT_TRUE(subscriber.ok()) << subscriber.status().ToString();
      const uint64_t after = ticker.published();
      Follow(&*subscriber, asked.kind() == Reliability::Kind::kReliable);
      // The first one is as old as was asked for when it met the publisher: between the two looks,
      // or at the message that was on its way then and was counted after it.
      EXPECT_GE(first_ + wanted, before);
      EXPECT_LE(first_ + wanted, after + 2);
    }
  }

  // Takes kMessages of them.
  void Follow(BytesSubscriber* subscriber, bool reliable) {
    uint64_t next = 0;  // sequence
    while (next < kMessages && !HasFailure()) {
      const auto got = subscriber->Receive(kPatience);
      ASSERT_TRUE(got.ok()) << got.status().ToString();
      uint64_t number = 0;
      ASSERT_EQ(got->bytes.size(), sizeof(number));
      std::memcpy(&number, got->bytes.data(), sizeof(number));
      EXPECT_EQ(got->info.sequence, next + got->gap());
      if (reliable) {
        EXPECT_EQ(got->gap(), 0u);
      }
      if (next == 0) first_ = number - got->info.sequence;
      EXPECT_EQ(number, first_ + got->info.sequence);
      next = got->info.sequence + 1;
    }
  }

  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = daemon_.node_socket(), .timeout = kPatience})
        .value();
  }

  Daemon daemon_;
  Node publishing_ = Open("publishing");
  Node subscribing_ = Open("subscribing");
  uint64_t first_ = 0;  // number of the message with sequence 0
};

TEST_F(HistoryLiveTest, ALatecomerGetsHistoryAndThenAllThatComes) { JoinManyTimes(Reliable()); }

TEST_F(HistoryLiveTest, WhatADroppingLinkLeavesOutOfThemIsCounted) { JoinManyTimes(DropNewest()); }

TEST_F(HistoryLiveTest, WhatIsOverwrittenBeforeTheLatecomerReadsItIsCounted) {
  JoinManyTimes(KeepLast(kKept));
}

}  // namespace
}  // namespace ivmq::test
