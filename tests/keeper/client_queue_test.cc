#include "broker/keeper/client_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/keeper/server_fixture.h"

namespace ivmq::broker {
namespace {

using transport::UniqueFd;

// A queue with its greeting sent, towards a client that knows the host, itself (1) and peer 2.
class ClientQueueTest : public testing::Test {
 protected:
  static constexpr uint32_t kVectors = 3;

  ClientQueueTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    socket_ = UniqueFd(ends[0]);
    client_ = std::make_unique<IvshmemClient>(UniqueFd(ends[1]), kVectors);
    region_ =
        transport::CreateRegionMemfd("test", 1 << 20, transport::RegionPages::kOnDemand).value();
    queue_.PushValue(0);
    queue_.PushValue(1);
    queue_.PushRegion(region_.get());
    queue_.PushPeer(0, Vectors());
    queue_.PushPeer(2, Vectors());
    queue_.PushPeer(1, Vectors());
    SendAll();
  }

  static PeerVectors Vectors() {
    return std::make_shared<const std::vector<UniqueFd>>(
        transport::CreateEventfds(kVectors).value());
  }

  void Send(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_FALSE(queue_.empty());
      ASSERT_EQ(queue_.SendOne(socket_.get()), ClientQueue::Step::kSent);
    }
    client_->Read();
  }
  void SendAll() {
    while (!queue_.empty()) Send(1);
  }

  UniqueFd socket_;
  UniqueFd region_;
  ClientQueue queue_;
  std::unique_ptr<IvshmemClient> client_;
};

TEST_F(ClientQueueTest, DropsAnAnnouncementOfWhichNothingIsOut) {
  queue_.PushPeer(3, Vectors());
  queue_.PushPeer(4, Vectors());
  queue_.PushGone(3);
  SendAll();
  EXPECT_THAT(client_->peers(), testing::ElementsAre(0, 2, 4));
  EXPECT_EQ(client_->violation(), "");
}

TEST_F(ClientQueueTest, CompletesAnAnnouncementThatIsPartlyOutBeforeItsDisconnect) {
  for (int sent = 1; sent < static_cast<int>(kVectors); ++sent) {
    const uint32_t id = 3 + static_cast<uint32_t>(sent);
    queue_.PushPeer(id, Vectors());
    Send(sent);
    queue_.PushGone(id);
    EXPECT_EQ(queue_.size(), 2u);
    SendAll();
    EXPECT_THAT(client_->peers(), testing::ElementsAre(0, 2)) << sent;
    EXPECT_EQ(client_->violation(), "");
  }
}

TEST_F(ClientQueueTest, DisconnectsAPeerThatWasFullyAnnouncedOnce) {
  queue_.PushGone(2);
  EXPECT_EQ(queue_.size(), 1u);
  SendAll();
  EXPECT_THAT(client_->peers(), testing::ElementsAre(0));
  EXPECT_EQ(client_->violation(), "");
}

TEST_F(ClientQueueTest, HoldsNothingOfPeersThatCameAndWentUnsent) {
  for (uint32_t id = 3; id < 60000; ++id) {
    queue_.PushPeer(id, Vectors());
    queue_.PushGone(id);
  }
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ClientQueueTest, KeepsTheVectorsOfAnUnsentAnnouncementOpen) {
  PeerVectors vectors = Vectors();
  const std::weak_ptr<const std::vector<UniqueFd>> watch = vectors;
  queue_.PushPeer(3, std::move(vectors));
  EXPECT_FALSE(watch.expired());
  SendAll();
  EXPECT_TRUE(watch.expired());
}

TEST_F(ClientQueueTest, SaysFullAndGoesOnWhereItStopped) {
  queue_.PushPeer(3, Vectors());
  for (uint32_t id = 4; id < 1000; ++id) queue_.PushPeer(id, Vectors());
  int rounds = 0;
  while (!queue_.empty()) {
    const ClientQueue::Step step = queue_.SendOne(socket_.get());
    if (step == ClientQueue::Step::kFull) {
      ++rounds;
      client_->Read();
    } else {
      ASSERT_EQ(step, ClientQueue::Step::kSent);
    }
  }
  client_->Read();
  EXPECT_GT(rounds, 0);
  EXPECT_EQ(client_->peers().size(), 2 + 997u);  // the host, 2, and 3 to 999
  EXPECT_EQ(client_->violation(), "");
}

TEST_F(ClientQueueTest, SaysBrokenWhenTheClientIsGone) {
  client_->Close();
  queue_.PushGone(2);
  EXPECT_EQ(queue_.SendOne(socket_.get()), ClientQueue::Step::kBroken);
}

}  // namespace
}  // namespace ivmq::broker
