#include "broker/keeper/control_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "transport/fd_passing.h"
#include "transport/memfd_device.h"

namespace ivmq::broker {
namespace {

using testing::ElementsAre;
using transport::UniqueFd;

class ControlLinkTest : public testing::Test {
 protected:
  ControlLinkTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    control_ = UniqueFd(ends[1]);
    link_ = std::make_unique<ControlLink>(
        loop_.get(), UniqueFd(ends[0]), [this](const KeeperCommand& c) { commands_.push_back(c); },
        [this] { ++closed_; });
  }

  static KeeperEvent Event(KeeperEventKind kind, uint64_t connection) {
    KeeperEvent event{};
    event.kind = kind;
    event.connection = connection;
    return event;
  }

  void Step() { loop_->RunOnce(std::chrono::milliseconds(0)); }

  // Fills the socket, so that what follows is queued.
  void Stall() {
    while (link_->queued() == 0) link_->Send(Event(KeeperEventKind::kCommandDone, 0));
  }

  // What control has received by now, without the filling of Stall().
  std::vector<KeeperEvent> Received() {
    std::vector<KeeperEvent> events;
    for (int quiet = 0; quiet < 3;) {
      KeeperEvent event{};
      fds_.clear();
      const auto got = transport::ReceiveWithFds(
          control_.get(), std::as_writable_bytes(std::span(&event, 1)), kMaxDoorbellFds, &fds_);
      if (got.bytes == sizeof event && event.kind != KeeperEventKind::kCommandDone) {
        events.push_back(event);
        fd_counts_.push_back(fds_.size());
      }
      quiet = got.bytes > 0 ? 0 : quiet + 1;
      Step();
    }
    return events;
  }

  const std::unique_ptr<transport::EventLoop> loop_ = transport::EventLoop::Create().value();
  UniqueFd control_;
  std::vector<KeeperCommand> commands_;
  int closed_ = 0;
  std::vector<UniqueFd> fds_;
  std::vector<size_t> fd_counts_;
  std::unique_ptr<ControlLink> link_;
};

TEST_F(ControlLinkTest, CutsDoorbellsIntoPacketsOf64) {
  const auto vectors =
      std::make_shared<const std::vector<UniqueFd>>(transport::CreateEventfds(256).value());
  link_->SendDoorbells(3, 7, vectors);
  const auto events = Received();
  ASSERT_EQ(events.size(), 4u);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(events[i].kind, KeeperEventKind::kDoorbells);
    EXPECT_EQ(events[i].realm, 3u);
    EXPECT_EQ(events[i].peer, 7u);
    EXPECT_EQ(events[i].value, i * 64);
    EXPECT_EQ(events[i].count, 64u);
  }
  EXPECT_THAT(fd_counts_, ElementsAre(64, 64, 64, 64));
}

TEST_F(ControlLinkTest, QueuesWhatControlDoesNotReadAndKeepsTheOrder) {
  Stall();
  for (uint64_t i = 1; i <= 5000; ++i) link_->Send(Event(KeeperEventKind::kAdminConnected, i));
  EXPECT_GT(link_->queued(), 4000u);
  const auto events = Received();
  ASSERT_EQ(events.size(), 5000u);
  for (uint64_t i = 1; i <= 5000; ++i) ASSERT_EQ(events[i - 1].connection, i);
  EXPECT_EQ(link_->queued(), 0u);
}

TEST_F(ControlLinkTest, NeverMentionsNodesThatCameAndWentUnheard) {
  Stall();
  link_->Send(Event(KeeperEventKind::kNodeAttached, 1));
  const size_t before = link_->queued();
  for (uint64_t i = 2; i < 100'000; ++i) {
    link_->Send(Event(KeeperEventKind::kNodeAttached, i));
    link_->SendGone(Event(KeeperEventKind::kNodeGone, i));
  }
  EXPECT_EQ(link_->queued(), before);
  const auto events = Received();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].connection, 1u);
}

TEST_F(ControlLinkTest, TellsTheEndOfANodeThatItHasAnnounced) {
  link_->Send(Event(KeeperEventKind::kNodeAttached, 1));
  Stall();
  link_->SendGone(Event(KeeperEventKind::kNodeGone, 1));
  const auto events = Received();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].kind, KeeperEventKind::kNodeGone);
}

TEST_F(ControlLinkTest, AnnouncesAPeerInFullOnceItsFirstDoorbellsAreOut) {
  const auto vectors =
      std::make_shared<const std::vector<UniqueFd>>(transport::CreateEventfds(2).value());
  KeeperEvent connected = Event(KeeperEventKind::kPeerConnected, 0);
  KeeperEvent gone = Event(KeeperEventKind::kPeerGone, 0);
  connected.peer = gone.peer = 9;
  link_->SendDoorbells(0, 9, vectors);
  Stall();
  link_->Send(connected);
  link_->SendGone(gone);
  const auto events = Received();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].kind, KeeperEventKind::kPeerConnected);
  EXPECT_EQ(events[2].kind, KeeperEventKind::kPeerGone);
}

TEST_F(ControlLinkTest, TakesBackAPeerOfWhichNothingIsOut) {
  const auto vectors =
      std::make_shared<const std::vector<UniqueFd>>(transport::CreateEventfds(100).value());
  KeeperEvent connected = Event(KeeperEventKind::kPeerConnected, 0);
  KeeperEvent gone = Event(KeeperEventKind::kPeerGone, 0);
  Stall();
  const size_t before = link_->queued();
  const auto come = [&](uint32_t peer) {
    connected.peer = peer;
    link_->SendDoorbells(0, peer, vectors);
    link_->Send(connected);
  };
  const auto go = [&](uint32_t peer) {
    gone.peer = peer;
    EXPECT_FALSE(link_->SendGone(gone));
  };
  for (uint32_t peer = 1; peer < 1000; peer += 2) {
    come(peer);
    come(peer + 1);
    go(peer + 1);
    go(peer);
  }
  EXPECT_EQ(link_->queued(), before + 1);
  const auto events = Received();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, KeeperEventKind::kPeerGone);
  EXPECT_EQ(events[0].peer, 1000u);  // the highest ID that was given out
}

TEST_F(ControlLinkTest, TellsOfAPeerThatWasPutOutUnheardUntilItHasGone) {
  const auto vectors =
      std::make_shared<const std::vector<UniqueFd>>(transport::CreateEventfds(2).value());
  KeeperEvent connected = Event(KeeperEventKind::kPeerConnected, 0);
  KeeperEvent put_out = Event(KeeperEventKind::kPeerGone, 0);
  put_out.proof = GoneProof::kNone;
  const auto come_and_be_put_out = [&](uint32_t peer) {
    connected.peer = put_out.peer = peer;
    link_->SendDoorbells(0, peer, vectors);
    link_->Send(connected);
    EXPECT_TRUE(link_->SendGone(put_out));
  };
  Stall();
  come_and_be_put_out(8);
  come_and_be_put_out(9);
  KeeperEvent gone = put_out;
  gone.proof = GoneProof::kEof;
  EXPECT_FALSE(link_->SendGone(gone));
  const auto events = Received();
  ASSERT_EQ(events.size(), 4u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(events[i].peer, 8u);
  EXPECT_EQ(events[3].peer, 9u);  // its ID, and no more of it
  EXPECT_EQ(events[1].kind, KeeperEventKind::kPeerConnected);
  EXPECT_EQ(events[2].proof, GoneProof::kNone);
}

TEST_F(ControlLinkTest, CountsRefusalsWithoutQueueingEach) {
  Stall();
  const size_t before = link_->queued();
  KeeperEvent refused = Event(KeeperEventKind::kPeerRefused, 0);
  for (refused.count = 1; refused.count <= 1000; ++refused.count) link_->SendRefused(refused);
  EXPECT_EQ(link_->queued(), before + 1);
  const auto events = Received();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].count, 1000u);
}

TEST_F(ControlLinkTest, TakesCommandsAndNoticesTheEndOnce) {
  KeeperCommand command{};
  command.number = 1;
  command.kind = KeeperCommandKind::kEvictPeer;
  command.peer = 5;
  std::fill(std::begin(command.text), std::end(command.text), 'x');
  ASSERT_EQ(send(control_.get(), &command, sizeof command, 0),
            static_cast<ssize_t>(sizeof command));
  control_.Reset();
  for (int i = 0; i < 5; ++i) Step();
  ASSERT_EQ(commands_.size(), 1u);
  EXPECT_EQ(commands_[0].peer, 5u);
  EXPECT_EQ(commands_[0].text[sizeof command.text - 1], '\0');
  EXPECT_EQ(closed_, 1);
  link_->Send(Event(KeeperEventKind::kReady, 0));
  EXPECT_EQ(link_->queued(), 0u);
}

TEST_F(ControlLinkTest, ACommandOfAnotherSizeEndsTheLink) {
  ASSERT_EQ(send(control_.get(), "short", 5, 0), 5);
  for (int i = 0; i < 5; ++i) Step();
  EXPECT_EQ(closed_, 1);
  EXPECT_TRUE(commands_.empty());
}

}  // namespace
}  // namespace ivmq::broker
