#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/transport/link_yard.h"
#include "transport/link_poller.h"
#include "transport/waiter.h"

namespace ivmq::transport {
namespace {

constexpr int kLinks = 64;
constexpr int kProducers = 3;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kRecordsPerProducer = 20'000;
#else
constexpr uint64_t kRecordsPerProducer = 200'000;
#endif

// Writes to its links at random, now and then pausing until the consumer sleeps, so that wake-ups
// happen at every moment of the consumer's falling asleep.
class Producer {
 public:
  Producer(const YardNode& node, uint64_t seed)
      : waiter_(LocalRealm::Must(Waiter::Open(node.wake))), random_(seed) {}

  void AddLink(LinkWriter writer) { writers_.push_back(std::move(writer)); }

  void Run() {
    std::vector<uint64_t> written(writers_.size());
    for (uint64_t i = 0; i < kRecordsPerProducer; ++i) {
      const size_t link = random_() % writers_.size();
      Write(&writers_[link], written[link]++);
      if (random_() % 256 == 0) Rest();
    }
  }

  uint64_t doorbells() const {
    uint64_t sum = 0;
    for (const LinkWriter& writer : writers_) sum += writer.counters().doorbells;
    return sum;
  }

 private:
  void Write(LinkWriter* writer, uint64_t number) {
    const auto payload = std::as_bytes(std::span(&number, 1));
    while (writer->TryWrite(payload) != WriteResult::kOk) {
      const WaitResult result = waiter_->Wait(Soon(), [&](Look look) {
        return look == Look::kSpin ? writer->HasRoom(8)
                                   : writer->ArmSpace(8) || writer->space_signalled();
      });
      ASSERT_NE(result, WaitResult::kDeadline) << "the wake-up for space was lost";
    }
    writer->Flush();
  }
  void Rest() {
    const uint64_t turns = random_() % 2000;
    for (uint64_t i = 0; i < turns; ++i) __builtin_ia32_pause();
    std::this_thread::yield();
  }

  std::unique_ptr<Waiter> waiter_;
  std::mt19937_64 random_;
  std::vector<LinkWriter> writers_;
};

// Reads all links until `expected` records came, sleeping in between; each must be the next of its
// link. Nothing but wake-ups may show it the records: it is deaf to the thorough look.
void Consume(LinkPoller* poller, Waiter* waiter, uint64_t expected) {
  std::vector<uint64_t> next(kLinks + 1);
  for (uint64_t taken = 0; taken < expected;) {
    LinkReader* reader = nullptr;
    RecordView record;
    while (poller->Next(&reader, &record)) {
      uint64_t number = ~uint64_t{0};
      ASSERT_EQ(record.size, sizeof(number));
      std::memcpy(&number, record.data, sizeof(number));
      ASSERT_EQ(number, next[reader->link_id()]++);
      reader->Release();
      ++taken;
    }
    if (taken == expected) return;
    const WaitResult result = waiter->Wait(Soon(), [&](Look look) {
      return poller->HasWork(look == Look::kThorough ? Look::kSleep : look);
    });
    ASSERT_NE(result, WaitResult::kDeadline) << taken << " of " << expected;
  }
}

class LinkStressTest : public testing::TestWithParam<WaitStrategy> {};

TEST_P(LinkStressTest, NoWakeUpIsLostAndDoorbellsAreFew) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  LinkYard yard(8 << 20);
  const YardNode host = yard.MakeNode(yard.host);
  std::vector<YardNode> nodes;
  std::vector<std::unique_ptr<Producer>> producers;
  for (int i = 0; i < kProducers; ++i) {
    nodes.push_back(yard.MakeNode(yard.realm.AddPeer(static_cast<uint32_t>(i) + 1)));
  }
  for (int i = 0; i < kProducers; ++i) {
    producers.push_back(std::make_unique<Producer>(nodes[i], seed + static_cast<uint64_t>(i)));
  }
  LinkPoller poller;
  for (int i = 0; i < kLinks; ++i) {
    const int producer = i % kProducers;
    const LinkAddress address = yard.MakeLink(nodes[producer], host);
    producers[producer]->AddLink(LinkYard::OpenWriter(nodes[producer], address));
    ASSERT_TRUE(poller.Add(std::make_unique<LinkReader>(LinkYard::OpenReader(host, address))).ok());
  }
  const auto waiter = LocalRealm::Must(Waiter::Open(host.wake, {.strategy = GetParam()}));
  std::vector<std::thread> threads;
  for (const auto& producer : producers) threads.emplace_back([&] { producer->Run(); });
  Consume(&poller, waiter.get(), kProducers * kRecordsPerProducer);
  for (std::thread& thread : threads) thread.join();

  uint64_t doorbells = 0;
  for (const auto& producer : producers) doorbells += producer->doorbells();
  const uint64_t sleeps = host.wake->sleeps();
  std::printf("%lu publications, %lu sleeps, %lu doorbells\n",
              static_cast<unsigned long>(kProducers * kRecordsPerProducer),
              static_cast<unsigned long>(sleeps), static_cast<unsigned long>(doorbells));
  EXPECT_LE(doorbells, sleeps * kLinks) << "at most one a link a sleep";
  EXPECT_TRUE(poller.TakeCorrupt().empty());
}

INSTANTIATE_TEST_SUITE_P(Strategies, LinkStressTest,
                         testing::Values(WaitStrategy::kBlock, WaitStrategy::kAdaptive,
                                         WaitStrategy::kSpin),
                         [](const auto& info) {
                           return info.param == WaitStrategy::kBlock      ? "Block"
                                  : info.param == WaitStrategy::kAdaptive ? "Adaptive"
                                                                          : "Spin";
                         });

TEST(LinkWaitersTest, ManyWaitersOfOneNodeEachGetTheirOwn) {
  constexpr int kWaiters = 4;
  constexpr uint64_t kRecords = 5'000;
  LinkYard yard;
  const YardNode host = yard.MakeNode(yard.host);
  const YardNode guest = yard.MakeNode(yard.realm.AddPeer(1));
  std::vector<LinkWriter> writers;
  std::vector<std::thread> threads;
  std::atomic<uint64_t> seen[kWaiters] = {};
  for (int i = 0; i < kWaiters; ++i) {
    const LinkAddress address = yard.MakeLink(guest, host);
    writers.push_back(LinkYard::OpenWriter(guest, address));
    threads.emplace_back([&host, &seen, address, i] {
      const auto waiter =
          LocalRealm::Must(Waiter::Open(host.wake, {.strategy = WaitStrategy::kBlock}));
      LinkPoller poller;
      ASSERT_TRUE(
          poller.Add(std::make_unique<LinkReader>(LinkYard::OpenReader(host, address))).ok());
      while (seen[i] < kRecords) {
        LinkReader* reader = nullptr;
        RecordView record;
        while (poller.Next(&reader, &record)) {
          reader->Release();
          ++seen[i];
        }
        if (seen[i] == kRecords) return;
        ASSERT_NE(
            waiter->Wait(Soon(),
                         [&](Look look) {
                           return poller.HasWork(look == Look::kThorough ? Look::kSleep : look);
                         }),
            WaitResult::kDeadline);
      }
    });
  }
  std::mt19937_64 random(7);
  uint64_t written[kWaiters] = {};
  for (uint64_t i = 0; i < kRecords * kWaiters; ++i) {
    // In lockstep with a waiter chosen at random, so that each record needs its own wake-up.
    size_t to = random() % kWaiters;
    while (written[to] == kRecords) to = (to + 1) % kWaiters;
    ASSERT_EQ(writers[to].TryWrite(Bytes("x")), WriteResult::kOk);
    writers[to].Flush();
    ++written[to];
    ASSERT_TRUE(Eventually([&] { return seen[to] == written[to]; }));
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ivmq::transport
