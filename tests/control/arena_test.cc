#include "broker/control/arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ivmq::control {
namespace {

using testing::HasSubstr;

constexpr uint64_t kBase = 1 << 16;

TEST(ArenaTest, HandsOutTheWholeArenaAndNotAByteMore) {
  Arena arena(kBase, 640);
  EXPECT_EQ(arena.Allocate(640).value(), kBase);
  EXPECT_EQ(arena.Allocate(1).status().code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(arena.Free(kBase).ok());
  EXPECT_EQ(arena.Allocate(641).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(arena.used_bytes(), 0u);
}

TEST(ArenaTest, RoundsToCacheLines) {
  Arena arena(kBase, 256);
  EXPECT_EQ(arena.Allocate(1).value(), kBase);
  EXPECT_EQ(arena.Allocate(65).value(), kBase + 64);
  EXPECT_EQ(arena.used_bytes(), 192u);
}

TEST(ArenaTest, KeepsAlignmentAndUsesTheGap) {
  Arena arena(kBase + 64, 8192);
  EXPECT_EQ(arena.Allocate(64, 4096).value() % 4096, 0u);
  EXPECT_EQ(arena.Allocate(64).value(), kBase + 64);
  arena.CheckConsistency();
}

TEST(ArenaTest, RejectsNothingAndOddAlignments) {
  Arena arena(kBase, 1024);
  EXPECT_EQ(arena.Allocate(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Allocate(64, 32).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Allocate(64, 96).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Allocate(UINT64_MAX).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ArenaTest, SaysHowMuchWasAskedUsedAndAllowed) {
  Arena arena(kBase, 1024);
  ASSERT_TRUE(arena.Allocate(512).ok());
  const std::string message(arena.Allocate(1000).status().message());
  EXPECT_THAT(message, HasSubstr("1000 bytes"));
  EXPECT_THAT(message, HasSubstr("512 of 1024"));
}

TEST(ArenaTest, NeverReusesWhatIsOrphaned) {
  Arena arena(kBase, 256);
  const uint64_t first = arena.Allocate(128).value();
  arena.Orphan(first);
  arena.Orphan(first);
  EXPECT_EQ(arena.orphaned_bytes(), 128u);
  EXPECT_EQ(arena.used_bytes(), 128u);
  EXPECT_EQ(arena.Free(first).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(arena.Allocate(128).value(), kBase + 128);
  EXPECT_FALSE(arena.Allocate(64).ok());
}

TEST(ArenaTest, WithdrawsWhatIsFreeInARangeAndNamesWhatIsUsed) {
  Arena arena(kBase, 1024);
  const uint64_t first = arena.Allocate(128).value();
  const uint64_t second = arena.Allocate(128).value();
  const uint64_t third = arena.Allocate(128).value();
  ASSERT_TRUE(arena.Free(second).ok());
  EXPECT_EQ(arena.Withdraw(first + 64, 256), (std::vector<uint64_t>{first, third}));
  EXPECT_EQ(arena.orphaned_bytes(), 128u);
  EXPECT_EQ(arena.Withdraw(third + 192, 64), std::vector<uint64_t>{});
  arena.CheckConsistency();
  EXPECT_EQ(arena.orphaned_bytes(), 192u);
  EXPECT_EQ(arena.Allocate(64).value(), third + 128);
  EXPECT_EQ(arena.Allocate(64).value(), third + 256);
}

TEST(ArenaTest, HandsNothingOutOnceClosedAndSaysWhy) {
  Arena arena(kBase, 1024);
  arena.Close("nobody knows");
  EXPECT_EQ(arena.orphaned_bytes(), 1024u);
  EXPECT_EQ(arena.Allocate(64).status(), absl::UnavailableError("nobody knows"));
  arena.CheckConsistency();
}

TEST(ArenaTest, RefusesToFreeWhatItDidNotHandOut) {
  Arena arena(kBase, 1024);
  const uint64_t offset = arena.Allocate(128).value();
  EXPECT_FALSE(arena.Free(offset + 64).ok());
  EXPECT_TRUE(arena.Free(offset).ok());
  EXPECT_FALSE(arena.Free(offset).ok());
}

TEST(ArenaTest, KeepsItsBooksThroughRandomUse) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  Arena arena(kBase, 4 << 20);
  std::map<uint64_t, uint64_t> live;  // offset, bytes
  for (int step = 0; step < 20000; ++step) {
    if (random() % 5 < 3 || live.empty()) {
      const uint64_t bytes = 1 + random() % (random() % 8 == 0 ? 100000 : 700);
      const uint64_t alignment = uint64_t{64} << (random() % 3);
      const auto offset = arena.Allocate(bytes, alignment);
      if (!offset.ok()) continue;
      ASSERT_EQ(*offset % alignment, 0u);
      const auto next = live.lower_bound(*offset);
      ASSERT_TRUE(next == live.end() || *offset + bytes <= next->first);
      ASSERT_TRUE(next == live.begin() ||
                  std::prev(next)->first + std::prev(next)->second <= *offset);
      live.emplace(*offset, bytes);
    } else {
      auto victim = live.lower_bound(kBase + random() % (4 << 20));
      if (victim == live.end()) victim = live.begin();
      ASSERT_TRUE(arena.Free(victim->first).ok());
      live.erase(victim);
    }
    if (step % 500 == 0) arena.CheckConsistency();
  }
  for (const auto& [offset, bytes] : live) ASSERT_TRUE(arena.Free(offset).ok());
  arena.CheckConsistency();
  EXPECT_EQ(arena.used_bytes(), 0u);
  EXPECT_TRUE(arena.Allocate(4 << 20).ok());
}

}  // namespace
}  // namespace ivmq::control
