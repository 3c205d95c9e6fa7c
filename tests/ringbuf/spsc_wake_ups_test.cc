// Both ends in one thread: who has to be woken, and when.
#include <gtest/gtest.h>

#include <string>

#include "tests/ringbuf/spsc_ring_fixture.h"

namespace ivmq::ringbuf {
namespace {

class SpscWakeUpsTest : public SpscRingTest {};

TEST_F(SpscWakeUpsTest, TheFirstPublicationWakesAConsumerThatNeverArmed) {
  EXPECT_FALSE(producer_.NeedsWake());
  ASSERT_EQ(Write("first"), WriteResult::kOk);
  EXPECT_TRUE(producer_.NeedsWake());
  EXPECT_FALSE(producer_.NeedsWake());
  ASSERT_EQ(Write("second"), WriteResult::kOk);
  EXPECT_FALSE(producer_.NeedsWake());
}

TEST_F(SpscWakeUpsTest, ArmedMeansOneWakeUpForTheNextPublication) {
  ASSERT_EQ(Write("a"), WriteResult::kOk);
  EXPECT_TRUE(producer_.NeedsWake());
  EXPECT_FALSE(consumer_.Arm()) << "there is something to read";
  EXPECT_EQ(Read(), "a");
  EXPECT_TRUE(consumer_.Arm());
  EXPECT_FALSE(producer_.NeedsWake()) << "nothing was published since";
  ASSERT_EQ(producer_.TryWrite(Bytes("b")), WriteResult::kOk);
  EXPECT_FALSE(producer_.NeedsWake()) << "staged is not published";
  producer_.Publish();
  ASSERT_EQ(Write("c"), WriteResult::kOk);
  EXPECT_TRUE(producer_.NeedsWake()) << "looked at after two flushes, crossed by the first";
  ASSERT_EQ(Write("d"), WriteResult::kOk);
  EXPECT_FALSE(producer_.NeedsWake());
}

TEST_F(SpscWakeUpsTest, AWakeUpIsDueWhenPaddingComesFirst) {
  Fill(56);
  while (Read() != "(empty)") {
  }
  ASSERT_TRUE(consumer_.Arm());
  (void)producer_.NeedsWake();
  // The last slot before the end is too short for this one.
  ASSERT_EQ(Write(std::string(100, 'p')), WriteResult::kOk);
  EXPECT_TRUE(producer_.NeedsWake());
  EXPECT_FALSE(consumer_.Arm());
  EXPECT_EQ(Read(), std::string(100, 'p'));
}

TEST_F(SpscWakeUpsTest, AWaitForRoomEndsWithOneWakeUp) {
  EXPECT_TRUE(producer_.ArmSpace(56)) << "there is room";
  Fill(56);
  EXPECT_FALSE(producer_.ArmSpace(56));
  EXPECT_FALSE(consumer_.NeedsSpaceWake());
  Read();
  EXPECT_FALSE(consumer_.NeedsSpaceWake()) << "not reported yet";
  for (uint64_t i = 1; i < kCapacity / 64 / 8; ++i) Read();
  EXPECT_TRUE(consumer_.NeedsSpaceWake());
  EXPECT_FALSE(consumer_.NeedsSpaceWake());
  EXPECT_TRUE(producer_.ArmSpace(56));
  while (Read() != "(empty)") {
  }
  EXPECT_FALSE(consumer_.NeedsSpaceWake()) << "nobody waits any more";
}

TEST_F(SpscWakeUpsTest, AWaitForMuchRoomIsNotEndedByLittle) {
  Fill(56);
  EXPECT_FALSE(producer_.ArmSpace(512));
  for (uint64_t i = 0; i < kCapacity / 64 / 8; ++i) Read();
  EXPECT_FALSE(consumer_.NeedsSpaceWake());
  EXPECT_FALSE(producer_.HasRoom(512));
  for (uint64_t i = 0; i < kCapacity / 64 / 8; ++i) Read();
  EXPECT_TRUE(consumer_.NeedsSpaceWake());
  EXPECT_TRUE(producer_.HasRoom(512));
}

TEST_F(SpscWakeUpsTest, AFullRingPublishesWhatIsStaged) {
  const std::string text(24, 's');
  while (producer_.TryWrite(Bytes(text)) == WriteResult::kOk) {
  }
  EXPECT_EQ(producer_.published_records(), producer_.records());
}

}  // namespace
}  // namespace ivmq::ringbuf
