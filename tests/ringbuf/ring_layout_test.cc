#include "ringbuf/ring_layout.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/ringbuf/guarded_ring.h"

namespace ivmq::ringbuf {
namespace {

TEST(RingLayoutTest, CapacityIsAPowerOfTwoBetweenItsBounds) {
  EXPECT_TRUE(IsValidCapacity(kMinCapacity));
  EXPECT_TRUE(IsValidCapacity(65536));
  EXPECT_TRUE(IsValidCapacity(kMaxCapacity));
  for (const uint64_t bad :
       {uint64_t{0}, uint64_t{1}, kMinCapacity / 2, kMinCapacity - 1, kMinCapacity + 1,
        uint64_t{12288}, kMaxCapacity - 1, kMaxCapacity + 1, kMaxCapacity * 2, ~uint64_t{0}}) {
    EXPECT_FALSE(IsValidCapacity(bad)) << bad;
  }
}

TEST(RingLayoutTest, AFreshRingIsValidWhateverWasInTheMemory) {
  for (uint64_t capacity = kMinCapacity; capacity <= kMaxCapacity; capacity *= 2) {
    GuardedRing ring(capacity);
    std::memset(ring.memory(), 0xA5, RingBytes(capacity));
    EXPECT_FALSE(ValidateRing(ring.view()).ok());
    ring.Reset();
    EXPECT_TRUE(ValidateRing(ring.view()).ok());
    EXPECT_EQ(ring.view().descriptor->want.load(), 0u);
    EXPECT_EQ(ring.view().descriptor->head.load(), 0u);
    EXPECT_EQ(ring.view().descriptor->tail.load(), 0u);
  }
}

TEST(RingLayoutTest, ZeroedMemoryIsNoRing) {
  GuardedRing ring(kMinCapacity);
  std::memset(ring.memory(), 0, RingBytes(kMinCapacity));
  const RingCheck check = ValidateRing(ring.view());
  EXPECT_EQ(check.error, RingError::kBadMagic);
  EXPECT_EQ(check.expected, kRingMagic);
  EXPECT_EQ(check.found, 0u);
}

TEST(RingLayoutTest, AnotherLayoutVersionIsRefusedNamingBoth) {
  GuardedRing ring(kMinCapacity);
  ring.view().descriptor->layout_version.store(kRingLayoutVersion + 1);
  const RingCheck check = ValidateRing(ring.view());
  EXPECT_EQ(check.error, RingError::kBadVersion);
  EXPECT_EQ(check.expected, kRingLayoutVersion);
  EXPECT_EQ(check.found, kRingLayoutVersion + 1);
}

TEST(RingLayoutTest, AnotherCapacityThanAgreedIsRefused) {
  GuardedRing ring(2 * kMinCapacity);
  RingView view = ring.view();
  view.capacity = kMinCapacity;
  EXPECT_EQ(ValidateRing(view).error, RingError::kBadCapacity);
  for (const uint64_t lie : {uint64_t{0}, kMinCapacity, kMaxCapacity, ~uint64_t{0}}) {
    ring.view().descriptor->capacity.store(lie);
    EXPECT_EQ(ValidateRing(ring.view()).error, RingError::kBadCapacity) << lie;
  }
}

TEST(RingLayoutTest, ACapacityThatNoRingMayHaveIsRefusedEvenIfAgreed) {
  GuardedRing ring(kMinCapacity);
  RingView view = ring.view();
  view.capacity = kMinCapacity / 2;
  ring.view().descriptor->capacity.store(kMinCapacity / 2);
  EXPECT_EQ(ValidateRing(view).error, RingError::kBadCapacity);
}

TEST(RingLayoutTest, ARingOffItsCacheLineIsRefused) {
  GuardedRing ring(kMinCapacity);
  for (const size_t shift : {8, 32, 56}) {
    const RingCheck check = ValidateRing(RingAt(ring.memory() - shift, kMinCapacity));
    EXPECT_EQ(check.error, RingError::kMisaligned);
    EXPECT_EQ(check.found, kCacheLineBytes - shift);
  }
}

TEST(RingLayoutDeathTest, InitializeAbortsOnAnInvalidCapacity) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  GuardedRing ring(kMinCapacity);
  EXPECT_DEATH(InitializeRing(ring.memory(), kMinCapacity - 8), "");
  EXPECT_DEATH(InitializeRing(ring.memory() - 8, kMinCapacity), "");
}

}  // namespace
}  // namespace ivmq::ringbuf
