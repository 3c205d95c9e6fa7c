#include "broker/keeper/ivshmem_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "tests/keeper/server_fixture.h"

namespace ivmq::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using transport::UniqueFd;

using Message = IvshmemClient::Message;

class IvshmemServerTest : public ServerFixture {};

std::vector<Message> Repeated(int64_t id, uint32_t times) { return {times, Message(id, true)}; }

std::vector<Message> Concat(const std::vector<std::vector<Message>>& parts) {
  std::vector<Message> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

uint64_t TakeRings(int eventfd) {
  uint64_t count = 0;
  return read(eventfd, &count, sizeof count) == sizeof count ? count : 0;
}

void Ring(int eventfd) {
  const uint64_t one = 1;
  ASSERT_EQ(write(eventfd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
}

TEST_F(IvshmemServerTest, GreetsWithVersionIdRegionHostAndOwnVectorsInThatOrder) {
  for (const uint32_t vectors : {1u, 8u, 256u}) {
    StartServer({.vectors = vectors});
    IvshmemClient client = Connect();
    Settle(client);
    EXPECT_EQ(client.log(), Concat({{{0, false}, {1, false}, {-1, true}},
                                    Repeated(kHostPeer, vectors),
                                    Repeated(1, vectors)}))
        << vectors << " vectors";
    EXPECT_EQ(client.violation(), "");
    server_.reset();
  }
}

TEST_F(IvshmemServerTest, MessagesAreEightBytesLittleEndian) {
  StartServer({.vectors = 1, .first_id = 0x0102});
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  const UniqueFd client(ends[1]);
  server_->Accept(UniqueFd(ends[0]), 0);
  uint8_t bytes[16];
  ASSERT_EQ(recv(client.get(), bytes, 16, 0), 16);
  EXPECT_THAT(std::vector<uint8_t>(bytes + 8, bytes + 16),
              ElementsAre(0x02, 0x01, 0, 0, 0, 0, 0, 0));
}

TEST_F(IvshmemServerTest, IdsGrowFromOneAndTheHostIsPeerZero) {
  StartServer({.vectors = 2});
  IvshmemClient a = Connect();
  IvshmemClient b = Connect();
  IvshmemClient c = Connect();
  Settle(a, b, c);
  EXPECT_EQ(a.id(), 1);
  EXPECT_EQ(b.id(), 2);
  EXPECT_EQ(c.id(), 3);
  EXPECT_THAT(a.peers(), ElementsAre(0, 2, 3));
  EXPECT_THAT(b.peers(), ElementsAre(0, 1, 3));
  EXPECT_THAT(c.peers(), ElementsAre(0, 1, 2));
}

TEST_F(IvshmemServerTest, AnIdIsNeverReused) {
  StartServer({.vectors = 1});
  IvshmemClient watcher = Connect();
  for (int round = 0; round < 50; ++round) {
    IvshmemClient passer_by = Connect();
    Settle(watcher, passer_by);
    EXPECT_EQ(passer_by.id(), round + 2);
    passer_by.Close();
    Settle(watcher);
  }
  EXPECT_EQ(watcher.violation(), "");
  EXPECT_THAT(watcher.peers(), ElementsAre(0));
}

TEST_F(IvshmemServerTest, TheRegionIsTheSealedWritableMemfd) {
  StartServer({.vectors = 1});
  IvshmemClient client = Connect();
  Settle(client);
  struct stat info {};
  ASSERT_EQ(fstat(client.region(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), kRegionBytes);
  EXPECT_EQ(fcntl(client.region(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_EQ(fcntl(client.region(), F_GETFL) & O_ACCMODE, O_RDWR);
  EXPECT_NE(ftruncate(client.region(), 4096), 0);
}

TEST_F(IvshmemServerTest, ExistingClientsLearnOfANewcomerWithAllItsVectors) {
  StartServer({.vectors = 3});
  IvshmemClient old_one = Connect();
  Settle(old_one);
  const size_t before = old_one.log().size();
  IvshmemClient newcomer = Connect();
  Settle(old_one, newcomer);
  EXPECT_EQ(
      std::vector<Message>(old_one.log().begin() + static_cast<long>(before), old_one.log().end()),
      Repeated(2, 3));
  EXPECT_TRUE(newcomer.complete());
}

TEST_F(IvshmemServerTest, ExistingClientsAreToldBeforeTheNewcomersListIsComplete) {
  StartServer({.vectors = 256});  // its greeting does not fit into the socket
  IvshmemClient old_one = Connect();
  Settle(old_one);
  IvshmemClient newcomer = Connect();
  // The newcomer does not read, so its own vectors are still with the server.
  Settle(old_one);
  EXPECT_THAT(old_one.peers(), ElementsAre(0, 2));
  Settle(old_one, newcomer);
  EXPECT_TRUE(newcomer.complete());
}

TEST_F(IvshmemServerTest, DoorbellsReachTheirVectorInBothDirections) {
  StartServer({.vectors = 4});
  IvshmemClient a = Connect();
  IvshmemClient b = Connect();
  Settle(a, b);
  for (uint32_t vector = 0; vector < 4; ++vector) {
    Ring(a.vector(2, vector));
    Ring(b.vector(0, vector));
    Ring((*observer_.connected[0].vectors)[vector].get());
    for (uint32_t other = 0; other < 4; ++other) {
      const uint64_t expected = other == vector ? 1 : 0;
      EXPECT_EQ(TakeRings(b.vector(2, other)), expected);
      EXPECT_EQ(TakeRings((*host_)[other].get()), expected);
      EXPECT_EQ(TakeRings(a.vector(1, other)), expected);
    }
  }
}

TEST_F(IvshmemServerTest, ADepartureIsToldOnceAndNotToTheDeparted) {
  StartServer({.vectors = 2});
  IvshmemClient a = Connect();
  IvshmemClient b = Connect();
  IvshmemClient c = Connect();
  Settle(a, b, c);
  b.Close();
  Settle(a, c);
  EXPECT_EQ(a.log().back(), Message(2, false));
  EXPECT_EQ(c.log().back(), Message(2, false));
  EXPECT_THAT(a.peers(), ElementsAre(0, 3));
  EXPECT_EQ(a.violation() + c.violation(), "");
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kEof)));
}

TEST_F(IvshmemServerTest, AClientThatWritesIsGoneWithoutProofOfDeath) {
  StartServer({.vectors = 2});
  IvshmemClient a = Connect();
  IvshmemClient writer = Connect();
  Settle(a, writer);
  ASSERT_EQ(send(writer.socket(), "x", 1, MSG_NOSIGNAL), 1);
  Settle(a, writer);
  EXPECT_THAT(a.peers(), ElementsAre(0));
  EXPECT_EQ(writer.violation(), "");
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kNone)));
}

TEST_F(IvshmemServerTest, AClientThatClosesItsSendingHalfIsGoneWithoutProofOfDeath) {
  StartServer({.vectors = 2});
  IvshmemClient a = Connect();
  IvshmemClient half = Connect();
  Settle(a, half);
  ASSERT_EQ(shutdown(half.socket(), SHUT_WR), 0);
  Settle(a, half);
  EXPECT_THAT(a.peers(), ElementsAre(0));
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kNone)));
  half.Close();
  Settle(a);
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kNone), Pair(2, GoneProof::kEof)));
}

TEST_F(IvshmemServerTest, AClientThatDiesWithItsGreetingUnreadIsProvenDead) {
  StartServer({.vectors = 256});
  IvshmemClient a = Connect();
  Settle(a);
  { const IvshmemClient short_lived = Connect(); }
  Settle(a);
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kEof)));
  EXPECT_THAT(a.peers(), ElementsAre(0));
  EXPECT_EQ(a.violation(), "");
}

TEST_F(IvshmemServerTest, AnEvictedPeerHearsNothingMoreAndItsEndIsSeenAllTheSame) {
  StartServer({.vectors = 2});
  IvshmemClient a = Connect();
  IvshmemClient evicted = Connect();
  Settle(a, evicted);
  EXPECT_TRUE(server_->Evict(2));
  EXPECT_FALSE(server_->Evict(2));
  EXPECT_FALSE(server_->Evict(kHostPeer));
  Settle(a, evicted);
  EXPECT_EQ(a.log().back(), Message(2, false));
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kNone)));
  const size_t heard = evicted.log().size();
  IvshmemClient newcomer = Connect();
  Settle(a, evicted, newcomer);
  // Had its socket been closed, QEMU would have closed its own end, and that would prove nothing.
  EXPECT_FALSE(evicted.at_eof());
  EXPECT_EQ(evicted.log().size(), heard);
  EXPECT_THAT(newcomer.peers(), ElementsAre(0, 1));
  evicted.Close();
  Settle(a, newcomer);
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(2, GoneProof::kNone), Pair(2, GoneProof::kEof)));
  EXPECT_EQ(a.violation() + newcomer.violation(), "");
}

TEST_F(IvshmemServerTest, OnlyTheEndOfAnEvictedPeerProvesItNotWhatItDidBefore) {
  StartServer({.vectors = 1});
  IvshmemClient evicted = Connect();
  Settle(evicted);
  const UniqueFd order(eventfd(0, EFD_CLOEXEC));
  const transport::FdWatch watch(&loop_, order.get(), EPOLLIN, [&](uint32_t) {
    TakeRings(order.get());
    EXPECT_TRUE(server_->Evict(1));
  });
  // The loop learns of both at once, and hands them on one after the other.
  Ring(order.get());
  ASSERT_EQ(send(evicted.socket(), "x", 1, MSG_NOSIGNAL), 1);
  Settle(evicted);
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(1, GoneProof::kNone)));
  evicted.Close();
  Settle();
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(1, GoneProof::kNone), Pair(1, GoneProof::kEof)));
}

TEST_F(IvshmemServerTest, APeerThatIsEvictedBeforeItHasTheRegionIsClosed) {
  StartServer({.vectors = 1});
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  const std::vector<char> filling(1 << 16);
  while (send(ends[0], filling.data(), filling.size(), MSG_NOSIGNAL) > 0) continue;
  server_->Accept(UniqueFd(ends[0]), 0);
  const UniqueFd client(ends[1]);
  EXPECT_TRUE(server_->Evict(1));
  EXPECT_THAT(observer_.gone, ElementsAre(Pair(1, GoneProof::kEof)));
  std::vector<char> read(1 << 16);
  ssize_t size = 1;
  while (size > 0) size = recv(client.get(), read.data(), read.size(), 0);
  EXPECT_EQ(size, 0) << "it waits for the region";  // and not EAGAIN
  Settle();
  EXPECT_EQ(observer_.gone.size(), 1u);
}

TEST_F(IvshmemServerTest, AnEvictedPeerThatRunsOnTakesRoomInTheTable) {
  StartServer({.vectors = 1, .max_peers = 2});
  IvshmemClient a = Connect();
  IvshmemClient evicted = Connect();
  Settle(a, evicted);
  EXPECT_TRUE(server_->Evict(2));
  IvshmemClient refused = Connect();
  Settle(a, refused);
  EXPECT_TRUE(refused.at_eof());
  EXPECT_THAT(observer_.refused, ElementsAre(Pair(RefusalReason::kTableOfEvicted, 1)));
  evicted.Close();
  IvshmemClient newcomer = Connect();
  Settle(a, newcomer);
  EXPECT_EQ(newcomer.id(), 3);
}

TEST_F(IvshmemServerTest, TheLastIdIsGivenOutAndTheNextClientIsRefusedAndCounted) {
  StartServer({.vectors = 1, .first_id = 65534});
  IvshmemClient a = Connect();
  IvshmemClient last = Connect();
  IvshmemClient refused = Connect();
  IvshmemClient refused_too = Connect();
  Settle(a, last, refused, refused_too);
  EXPECT_EQ(last.id(), 65535);
  EXPECT_TRUE(refused.at_eof());
  EXPECT_THAT(refused.log(), IsEmpty());  // closed, never half a greeting
  EXPECT_THAT(a.peers(), ElementsAre(0, 65535));
  last.Close();
  Settle(a);
  IvshmemClient still_refused = Connect();
  Settle(a, still_refused);
  EXPECT_TRUE(still_refused.at_eof());
  EXPECT_EQ(server_->refused(RefusalReason::kIdsExhausted), 3u);
  EXPECT_THAT(observer_.refused, ElementsAre(Pair(RefusalReason::kIdsExhausted, 1),
                                             Pair(RefusalReason::kIdsExhausted, 2),
                                             Pair(RefusalReason::kIdsExhausted, 3)));
  EXPECT_EQ(a.violation(), "");
}

TEST_F(IvshmemServerTest, WarnsOfIdsFromThreeQuartersOnOnceAStep) {
  StartServer({.vectors = 1, .first_id = 49151});
  testing::internal::CaptureStderr();
  {
    IvshmemClient below = Connect();
    Settle(below);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) {
    IvshmemClient above = Connect();
    Settle(above);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("49152 of 65535 IDs were given out"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
}

TEST_F(IvshmemServerTest, MorePeersThanTheTableHoldsAreRefusedUntilOneLeaves) {
  StartServer({.vectors = 1, .max_peers = 2});
  IvshmemClient a = Connect();
  IvshmemClient b = Connect();
  IvshmemClient refused = Connect();
  Settle(a, b, refused);
  EXPECT_TRUE(refused.at_eof());
  EXPECT_THAT(observer_.refused, ElementsAre(Pair(RefusalReason::kTooManyPeers, 1)));
  b.Close();
  Settle(a);
  IvshmemClient c = Connect();
  Settle(a, c);
  EXPECT_EQ(c.id(), 3);
  EXPECT_EQ(a.violation(), "");
}

TEST_F(IvshmemServerTest, WhoeverHasHungUpMakesRoomForTheNextWithoutATurnOfTheLoop) {
  StartServer({.vectors = 1, .max_peers = 4});
  IvshmemClient stays = Connect();
  for (int i = 0; i < 1000; ++i) Connect().Close();
  IvshmemClient newcomer = Connect();
  EXPECT_THAT(observer_.refused, IsEmpty());
  Settle(stays, newcomer);
  EXPECT_EQ(newcomer.id(), 1002);
  EXPECT_THAT(stays.peers(), ElementsAre(0, 1002));
  EXPECT_THAT(newcomer.peers(), ElementsAre(0, 1));
  EXPECT_EQ(observer_.gone.size(), 1000u);
  EXPECT_EQ(stays.violation() + newcomer.violation(), "");
}

TEST_F(IvshmemServerTest, AnIdleServerNeverWakesUp) {
  StartServer({.vectors = 2});
  std::vector<IvshmemClient> clients;
  clients.reserve(64);
  for (int i = 0; i < 64; ++i) clients.push_back(Connect());
  for (int round = 0; round < 100; ++round) {
    loop_.RunOnce(std::chrono::milliseconds(0));
    for (IvshmemClient& client : clients) client.Read();
  }
  for (IvshmemClient& client : clients) EXPECT_TRUE(client.complete());
  const auto start = transport::EventLoop::Clock::now();
  loop_.RunOnce(std::chrono::milliseconds(200));
  EXPECT_GE(transport::EventLoop::Clock::now() - start, std::chrono::milliseconds(200));
}

}  // namespace
}  // namespace ivmq::broker
