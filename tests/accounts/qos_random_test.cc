// Publishers and subscribers of all qualities of service that come and go at a real daemon: every
// message is delivered or accounted for, by the test's own count, by the counters of both sides and
// by the daemon's audit of each link.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/accounts/random_parties.h"
#include "tests/control/admin_client.h"
#include "tests/sdk/daemon.h"
#include "transport/unix_socket.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr int kRounds = 1000;
constexpr auto kPatience = 60s;
constexpr size_t kMostTalkers = 3;
constexpr size_t kMostTakers = 4;

class Round {
 public:
  Round(std::vector<Node>* nodes, control::AdminClient* admin, std::mt19937* random, int number)
      : nodes_(*nodes),
        admin_(*admin),
        random_(*random),
        topic_("round" + std::to_string(number) + ".t") {}

  void Run() {
    AddTalker();
    for (uint32_t steps = 6 + Below(10); steps > 0 && !testing::Test::HasFailure(); --steps) {
      Step();
    }
    for (auto& taker : takers_) taker->StopThread();
    for (auto& talker : talkers_) Settle(talker.get());
    AwaitAll();
    for (auto& taker : takers_) CheckCounters(*taker);
    if (Below(2) == 0) {
      for (auto& talker : talkers_) Publish(talker.get(), 1 + Below(3));  // stays in flight
    }
    Audit();
    for (auto& taker : takers_) taker->TakeAll();
    for (auto& talker : talkers_) {
      const Status drained = talker->publisher.Drain(kPatience);
      EXPECT_TRUE(drained.ok() || drained.code() == Code::kAborted)  // one has left
          << drained.ToString();
    }
  }

 private:
  uint32_t Below(size_t bound) { return static_cast<uint32_t>(random_() % bound); }
  Node& AnyNode() { return nodes_[Below(nodes_.size())]; }

  void Step() {
    switch (Below(8)) {
      case 0:
        if (talkers_.size() < kMostTalkers) AddTalker();
        break;
      case 1:
        if (!talkers_.empty()) RemoveTalker(Below(talkers_.size()));
        break;
      case 2:
      case 3:
        if (takers_.size() < kMostTakers) AddTaker();
        break;
      case 4:
        if (!takers_.empty()) RemoveTaker(Below(takers_.size()));
        break;
      case 5:
        for (auto& taker : takers_) {
          if (!taker->has_thread() && Below(2) == 0) taker->TakeAll();
        }
        break;
      default:
        for (auto& talker : talkers_) Publish(talker.get(), Below(20));
    }
  }

  Reliability AnyOffer() {
    switch (Below(5)) {
      case 0:
        return DropNewest();
      case 1:
        return KeepLast(1 + Below(8));
      case 2:
        return Fail();
      case 3:
        return Block(200us);
      default:
        return Block(kPatience);
    }
  }

  void AddTalker() {
    Reliability offered = AnyOffer();
    const History history(Below(3) == 0 ? 1 + Below(8) : 0);
    // Nobody would ever read on this thread while it waits there.
    for (const auto& taker : takers_) {
      const bool reliable = taker->LinkWith(offered, history) == Quality::kReliable;
      if (reliable && !taker->has_thread() && offered.deadline() == kPatience) offered = Fail();
    }
    auto created = AnyNode().CreatePublisher(
        topic_, {.reliability = offered, .ring_bytes = 4096, .history = history});
    ASSERT_TRUE(created.ok()) << created.status().ToString();
    talkers_.push_back(
        std::make_unique<Talker>(std::move(created).value(), offered, history, talkers_made_++));
    Talker& talker = *talkers_.back();
    uint32_t links = 0;
    for (auto& taker : takers_) {
      if (taker->Meet(talker, /*kept=*/0)) ++links;
    }
    const Status met = talker.publisher.WaitForSubscribers(links, kPatience);
    ASSERT_TRUE(met.ok()) << met.ToString();
  }

  void RemoveTalker(size_t index) {
    Talker& talker = *talkers_[index];
    // Or else what it dropped last is told to nobody but the daemon.
    const bool settles = Below(2) == 0;
    if (settles) Settle(&talker);
    for (auto& taker : takers_) taker->Part(talker, settles);
    talkers_.erase(talkers_.begin() + static_cast<ptrdiff_t>(index));
    AwaitDepartures();
  }

  // Until the daemon knows who is there: a leaver does not wait for that, and would be met by
  // whoever comes next.
  void AwaitDepartures() {
    EXPECT_TRUE(WaitUntil([this] {
      size_t talkers = 0;
      size_t takers = 0;
      const v1::ListNodesResponse listed = admin_.Nodes();
      for (const v1::Node& node : listed.nodes()) {
        talkers += node.publishers();
        takers += node.subscribers();
      }
      return talkers == talkers_.size() && takers == takers_.size();
    }));
  }

  void AddTaker() {
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
    auto taker = std::make_unique<Taker>(options, filter);
    bool needs_thread = false;
    bool fits_one = talkers_.empty();
    for (const auto& talker : talkers_) {
      const Quality quality = taker->LinkWith(talker->offered, talker->history);
      fits_one |= quality != Quality::kRefused;
      needs_thread |= quality == Quality::kReliable && talker->offered.deadline() == kPatience;
    }
    auto created = AnyNode().CreateSubscriber(
        filter ? topic_.substr(0, topic_.size() - 1) + "*" : topic_, options);
    if (!filter && !fits_one) {
      EXPECT_EQ(created.status().code(), Code::kFailedPrecondition);
      return;
    }
    ASSERT_TRUE(created.ok()) << created.status().ToString();
    taker->subscriber.emplace(std::move(created).value());
    for (const auto& talker : talkers_) taker->Meet(*talker, talker->KeptFor(options.history));
    if (needs_thread || Below(3) == 0) taker->StartThread();
    takers_.push_back(std::move(taker));
  }

  void RemoveTaker(size_t index) {
    takers_[index]->StopThread();
    if (Below(2) == 0) takers_[index]->TakeAll();
    CheckCounters(*takers_[index]);
    takers_[index]->subscriber.reset();
    gone_.push_back(std::move(takers_[index]));
    takers_.erase(takers_.begin() + static_cast<ptrdiff_t>(index));
    AwaitDepartures();
  }

  void Publish(Talker* talker, uint32_t count) {
    for (; count > 0 && !testing::Test::HasFailure(); --count) {
      static_cast<void>(talker->Publish());  // where there is no room it says so
    }
  }

  // One more message for everybody: with room everywhere it tells of all that was dropped before.
  void Settle(Talker* talker) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      for (auto& taker : takers_) {
        if (!taker->has_thread()) taker->TakeAll();
      }
      // The full link of a subscriber that has gone may still be there for a moment.
      const auto sent = talker->Publish();
      if (sent.ok() && sent->dropped == 0) return;
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << sent.status().ToString();
    }
  }

  // Until everybody has got all that is meant for him.
  void AwaitAll() {
    for (auto& taker : takers_) {
      std::string missing;
      EXPECT_TRUE(WaitUntil([&] {
        taker->TakeAll();
        return (missing = taker->Missing()).empty();
      })) << missing;
    }
  }

  static void CheckCounters(const Taker& taker) {
    uint64_t received = 0;
    uint64_t missing = 0;
    for (const auto& [id, link] : taker.links()) {
      received += link.received;
      missing += link.missing;
      EXPECT_EQ(link.received + link.missing, link.next);
    }
    const SubscriberCounters counted = taker.subscriber->counters();
    EXPECT_EQ(counted.messages, received);
    EXPECT_EQ(counted.dropped_full + counted.overwritten, missing);
    EXPECT_EQ(counted.corrupt_links, 0u);
  }

  // What the daemon says of every link there was, while nothing moves.
  void Audit() {
    v1::AuditResponse audited;
    std::string inexact;
    EXPECT_TRUE(WaitUntil([&] {
      audited = admin_.Audit(topic_);
      inexact.clear();
      for (const v1::LinkAudit& audit : audited.links()) {
        EXPECT_NE(audit.verdict(), v1::LinkAudit::WRONG) << audit.DebugString();
        // Who has left may still be about to say its last figures.
        if (audit.verdict() != v1::LinkAudit::EXACT) inexact = audit.DebugString();
      }
      return inexact.empty() || testing::Test::HasFailure();
    })) << inexact;
    for (const v1::LinkAudit& audit : audited.links()) {
      const v1::Account& account = audit.counters();
      uint64_t dropped = 0;
      for (const v1::Drop& drop : account.drops()) dropped += drop.count().most();
      EXPECT_EQ(account.published().most(),
                account.delivered().most() + dropped + account.in_flight().most())
          << audit.DebugString();
      EXPECT_EQ(account.delivered().most(), ReceivedOn(audit.link().link_id()))
          << audit.DebugString();
    }
    size_t links = 0;
    for (const auto* all : {&takers_, &gone_}) {
      for (const auto& taker : *all) links += taker->met();
    }
    EXPECT_EQ(static_cast<size_t>(audited.links_size()), links) << audited.DebugString();
  }

  uint64_t ReceivedOn(uint64_t link_id) const {
    for (const auto* all : {&takers_, &gone_}) {
      for (const auto& taker : *all) {
        const auto link = taker->links().find(link_id);
        if (link != taker->links().end()) return link->second.received;
      }
    }
    return 0;
  }

  std::vector<Node>& nodes_;
  control::AdminClient& admin_;
  std::mt19937& random_;
  const std::string topic_;
  uint64_t talkers_made_ = 0;
  std::vector<std::unique_ptr<Talker>> talkers_;
  std::vector<std::unique_ptr<Taker>> takers_;
  std::vector<std::unique_ptr<Taker>> gone_;
};

TEST(QosRandomTest, AccountsForEveryMessageOfWhoeverComesAndGoes) {
  const char* const given = std::getenv("IVMQ_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  std::printf("seed %lu: IVMQ_TEST_SEED repeats it\n", seed);
  std::mt19937 random(seed);
  Daemon daemon;
  control::AdminClient admin(transport::ConnectUnix(daemon.admin_socket(),
                                                    transport::UnixSocketType::kStream,
                                                    std::chrono::steady_clock::now() + kPatience)
                                 .value());
  std::vector<Node> nodes;
  nodes.reserve(3);
  for (int i = 0; i < 3; ++i) {
    nodes.push_back(Node::Open({.name = "n" + std::to_string(i),
                                .socket_path = daemon.node_socket(),
                                .timeout = kPatience})
                        .value());
  }
  for (int i = 0; i < kRounds && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("round " + std::to_string(i) + " of seed " + std::to_string(seed));
    Round(&nodes, &admin, &random, i).Run();
  }
}

}  // namespace
}  // namespace ivmq::test
