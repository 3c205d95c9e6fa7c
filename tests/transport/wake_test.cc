#include "transport/wake.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "tests/transport/link_yard.h"

namespace ivmq::transport {
namespace {

class WakeTest : public testing::Test {
 protected:
  uint32_t SleepWord() const {
    return reinterpret_cast<WakeBlock*>(yard_.At(node_.wake_offset))->sleep.load();
  }
  ReadyByte& Ready(uint64_t offset) const {
    return *reinterpret_cast<ReadyByte*>(yard_.At(offset));
  }
  bool Rung() const {
    pollfd fd{node_.device->vector_fd(0), POLLIN, 0};
    return ::poll(&fd, 1, 0) == 1;
  }

  LinkYard yard_;
  std::shared_ptr<MemfdDevice> guest_ = yard_.realm.AddPeer(1);
  YardNode node_ = yard_.MakeNode(yard_.host);
};

TEST_F(WakeTest, TheSleepWordIsSetWhileAnyThreadOfTheNodeSleeps) {
  EXPECT_EQ(SleepWord(), 0u);
  node_.wake->BeginSleep();
  EXPECT_EQ(SleepWord(), 1u);
  node_.wake->BeginSleep();
  node_.wake->EndSleep();
  EXPECT_EQ(SleepWord(), 1u);
  node_.wake->EndSleep();
  EXPECT_EQ(SleepWord(), 0u);
  EXPECT_EQ(node_.wake->sleeps(), 1u);
}

TEST_F(WakeTest, ANodeThatEndsTouchesNothing) {
  // Its block may have been given back before, and be somebody else's by now.
  reinterpret_cast<WakeBlock*>(yard_.At(node_.wake_offset))->sleep.store(0x12345678);
  node_.wake.reset();
  EXPECT_EQ(SleepWord(), 0x12345678u);
}

TEST_F(WakeTest, WhoSaysThatItLeftIsSeenToHaveLeftWhateverItsThreadsDoThen) {
  const WakeAddress address{node_.wake_offset, yard_.Allocate(1), 0, 0, false};
  const WakeTarget target = LocalRealm::Must(
      WakeTarget::Open(guest_->region(), address, LocalRealm::Must(guest_->OpenDoorbell(0, 0))));
  node_.wake->BeginSleep();
  EXPECT_FALSE(target.left());
  node_.wake->SayLeft();
  EXPECT_TRUE(target.left());
  node_.wake->EndSleep();
  node_.wake->BeginSleep();
  EXPECT_TRUE(target.left());
  node_.wake->EndSleep();
  EXPECT_TRUE(target.left());
  EXPECT_FALSE(WakeTarget().left());
  WakeAddress polls = address;
  polls.polls = true;
  EXPECT_TRUE(LocalRealm::Must(WakeTarget::Open(guest_->region(), polls, Doorbell())).left());
}

TEST_F(WakeTest, WakingRingsOnlyWhoSleeps) {
  const WakeAddress address{node_.wake_offset, yard_.Allocate(1), 0, 0, false};
  const WakeTarget target = LocalRealm::Must(
      WakeTarget::Open(guest_->region(), address, LocalRealm::Must(guest_->OpenDoorbell(0, 0))));
  EXPECT_FALSE(target.Wake());
  EXPECT_EQ(Ready(address.ready_offset), 1);
  EXPECT_FALSE(Rung());
  node_.wake->BeginSleep();
  EXPECT_TRUE(target.Wake());
  EXPECT_TRUE(Rung());
  node_.wake->EndSleep();
}

TEST_F(WakeTest, WhoPollsIsNeverRung) {
  const WakeAddress address{node_.wake_offset, yard_.Allocate(1), 0, 0, true};
  const WakeTarget target = LocalRealm::Must(
      WakeTarget::Open(guest_->region(), address, LocalRealm::Must(guest_->OpenDoorbell(0, 0))));
  node_.wake->BeginSleep();
  EXPECT_FALSE(target.Wake());
  EXPECT_EQ(Ready(address.ready_offset), 1);
  EXPECT_FALSE(Rung());
  node_.wake->EndSleep();
}

TEST_F(WakeTest, ATargetOfNobodyWakesNobody) { EXPECT_FALSE(WakeTarget().Wake()); }

TEST_F(WakeTest, ANodeWithoutItsVectorPollsAndNeverClaimsToSleep) {
  Result<std::shared_ptr<NodeWake>> polling = NodeWake::Open(yard_.host, node_.wake_offset, 99);
  ASSERT_TRUE(polling.ok());
  EXPECT_FALSE(polling.value()->interrupts());
  polling.value()->BeginSleep();
  EXPECT_EQ(SleepWord(), 0u);
  polling.value()->EndSleep();
}

TEST_F(WakeTest, PlacesOutsideTheRegionAreRefused) {
  const uint64_t size = yard_.host->region().size();
  const auto code = [&](uint64_t wake, uint64_t ready) {
    return WakeTarget::Open(yard_.host->region(), {wake, ready, 0, 0, false}, Doorbell())
        .status()
        .code();
  };
  EXPECT_EQ(code(size - 64, size - 1), Code::kOk);
  EXPECT_EQ(code(size, size - 1), Code::kOutOfRange);
  EXPECT_EQ(code(size - 64, size), Code::kOutOfRange);
  EXPECT_EQ(code(~uint64_t{63}, size - 1), Code::kOutOfRange);
  EXPECT_EQ(code(size - 64, ~uint64_t{0}), Code::kOutOfRange);
  EXPECT_EQ(code(size - 65, size - 1), Code::kInvalidArgument);
  EXPECT_EQ(code(256, 256), Code::kOk);
  EXPECT_EQ(code(192, 256), Code::kOutOfRange);
  EXPECT_EQ(code(256, 255), Code::kOutOfRange);
  EXPECT_EQ(NodeWake::Open(yard_.host, size, 0).status().code(), Code::kOutOfRange);
  EXPECT_EQ(NodeWake::Open(yard_.host, 257, 0).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ivmq::transport
