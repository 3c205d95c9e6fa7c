// Clients that stall, vanish and come in any order, against the strict client.

#include <gmock/gmock.h>

#include <algorithm>
#include <deque>
#include <random>

#include "tests/keeper/server_fixture.h"

namespace ivmq::broker {
namespace {

using testing::ElementsAre;

class IvshmemStressTest : public ServerFixture {
 protected:
  IvshmemStressTest() { observer_.keep_vectors = false; }

  IvshmemClient ConnectLight() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    server_->Accept(transport::UniqueFd(ends[0]), 0);
    return IvshmemClient(transport::UniqueFd(ends[1]), vectors_, IvshmemClient::Keep::kOwnVectors);
  }
};

TEST_F(IvshmemStressTest, RandomArrivalsDeparturesStallsAndEvictionsNeverMisleadAClient) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  StartServer({.vectors = 3});
  std::vector<IvshmemClient> clients;
  std::deque<IvshmemClient> put_out;
  size_t connects = 0;
  for (int step = 0; step < 4000; ++step) {
    const uint32_t dice = random() % 100;
    if (clients.size() < 5 || (dice < 22 && clients.size() < 60)) {
      clients.push_back(ConnectLight());
      ++connects;
    } else if (dice < 40) {
      clients.erase(clients.begin() + random() % clients.size());
    } else if (dice < 42) {
      const size_t chosen = random() % clients.size();
      // One that has not read its ID as yet is evicted by nobody.
      if (clients[chosen].id() <= 0) continue;
      server_->Evict(static_cast<uint32_t>(clients[chosen].id()));
      put_out.push_back(std::move(clients[chosen]));
      clients.erase(clients.begin() + static_cast<ptrdiff_t>(chosen));
    } else if (dice < 44) {
      const size_t chosen = random() % clients.size();
      send(clients[chosen].socket(), "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      put_out.push_back(std::move(clients[chosen]));
      clients.erase(clients.begin() + static_cast<ptrdiff_t>(chosen));
    } else if (dice < 45 && !put_out.empty()) {
      put_out.pop_front();
    } else {
      // Reads a little, so that many are in the middle of an announcement.
      clients[random() % clients.size()].Read(random() % 40);
    }
    loop_.RunOnce(std::chrono::milliseconds(0));
    for (const IvshmemClient& client : clients) ASSERT_EQ(client.violation(), "");
  }
  for (int round = 0; round < 2000; ++round) {
    loop_.RunOnce(std::chrono::milliseconds(0));
    for (IvshmemClient& client : clients) client.Read();
  }
  std::set<uint32_t> everyone = {kHostPeer};
  for (const IvshmemClient& client : clients) everyone.insert(static_cast<uint32_t>(client.id()));
  for (const IvshmemClient& client : clients) {
    std::set<uint32_t> others = everyone;
    others.erase(static_cast<uint32_t>(client.id()));
    EXPECT_EQ(client.peers(), others);
    EXPECT_TRUE(client.complete());
    EXPECT_EQ(client.violation(), "");
  }
  EXPECT_EQ(observer_.connected.size(), connects);
  put_out.clear();
  for (int round = 0; round < 2000; ++round) loop_.RunOnce(std::chrono::milliseconds(0));
  const auto proven =
      std::count_if(observer_.gone.begin(), observer_.gone.end(),
                    [](const auto& gone) { return gone.second == GoneProof::kEof; });
  EXPECT_EQ(static_cast<size_t>(proven) + clients.size(), connects);
}

TEST_F(IvshmemStressTest, StalledClientsDelayNobodyAndCatchUp) {
  StartServer({.vectors = 4});
  IvshmemClient watcher = ConnectLight();
  std::vector<IvshmemClient> stalled;
  for (int i = 0; i < 3; ++i) stalled.push_back(ConnectLight());
  std::deque<IvshmemClient> staying;
  for (int i = 0; i < 400; ++i) {
    staying.push_back(ConnectLight());
    if (staying.size() > 20) staying.pop_front();
    loop_.RunOnce(std::chrono::milliseconds(0));
    for (int round = 0; round < 3; ++round) {
      for (IvshmemClient& client : staying) client.Read();
      watcher.Read();
      loop_.RunOnce(std::chrono::milliseconds(0));
    }
    ASSERT_TRUE(staying.back().complete()) << i;
  }
  Settle(watcher);
  EXPECT_EQ(watcher.peers().size(), 1 + 3 + staying.size());
  for (IvshmemClient& client : stalled) {
    Settle(client);
    EXPECT_EQ(client.peers().size(), 1 + 1 + 2 + staying.size());
    EXPECT_EQ(client.violation(), "");
  }
  EXPECT_EQ(watcher.violation(), "");
}

TEST_F(IvshmemStressTest, ThousandsOfPassersByUpToTheLastIdCostAStalledClientNothing) {
  constexpr uint32_t kFirst = 55000;
  StartServer({.vectors = 1, .first_id = kFirst});
  IvshmemClient watcher = ConnectLight();
  IvshmemClient stalled = ConnectLight();
  Settle(watcher);
  for (uint32_t id = kFirst + 2; id <= transport::kMaxPeerId; ++id) {
    { const IvshmemClient passer_by = ConnectLight(); }
    loop_.RunOnce(std::chrono::milliseconds(0));
    watcher.Read();
  }
  IvshmemClient refused = ConnectLight();
  Settle(watcher, stalled, refused);
  EXPECT_TRUE(refused.at_eof());
  EXPECT_EQ(server_->refused(RefusalReason::kIdsExhausted), 1u);
  EXPECT_EQ(observer_.gone.size(), size_t{transport::kMaxPeerId} - kFirst - 1);
  EXPECT_THAT(watcher.peers(), ElementsAre(0, kFirst + 1));
  EXPECT_THAT(stalled.peers(), ElementsAre(0, kFirst));
  EXPECT_EQ(watcher.violation() + stalled.violation(), "");
}

// With a budget so small that clients wait for each other's descriptors to be received.
class SmallBudgetTest : public IvshmemStressTest {
 protected:
  SmallBudgetTest() { budget_.emplace(64); }
};

TEST_F(SmallBudgetTest, ClientsThatReadAreServedThoughOthersHaveUsedUpTheBudget) {
  StartServer({.vectors = 4});
  std::vector<IvshmemClient> stalled;
  for (int i = 0; i < 8; ++i) stalled.push_back(ConnectLight());
  EXPECT_LE(budget_->in_flight(), 64u);
  std::vector<IvshmemClient> readers;
  for (int i = 0; i < 10; ++i) {
    readers.push_back(ConnectLight());
    EXPECT_TRUE(RunUntil([&] {
      for (IvshmemClient& client : readers) client.Read();
      return readers.back().complete();
    })) << i;
  }
  // Rows 1 to 3 of a greeting are beyond the budget: QEMU hangs until it has them.
  EXPECT_LE(budget_->in_flight(), 64u + 3 * 18);
  for (IvshmemClient& client : stalled) {
    EXPECT_TRUE(RunUntil([&] {
      client.Read();
      for (IvshmemClient& reader : readers) reader.Read();
      return client.peers().size() == 18;
    }));
    EXPECT_EQ(client.violation(), "");
  }
  for (IvshmemClient& client : readers) EXPECT_EQ(client.violation(), "");
}

}  // namespace
}  // namespace ivmq::broker
