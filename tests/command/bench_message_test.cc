#include "sdk/command/bench_message.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <limits>
#include <random>
#include <vector>

namespace ivmq::command {
namespace {

using Saw = BenchCheck::Saw;

std::vector<std::byte> MessageOf(uint64_t sequence, size_t bytes) {
  std::vector<std::byte> message(bytes);
  FillBenchMessage(sequence, message);
  return message;
}

std::vector<std::byte> EndOf(uint64_t messages) {
  std::vector<std::byte> message(kBenchEndBytes);
  FillBenchEnd(messages, message);
  return message;
}

TEST(BenchMessageTest, IsRightWhereEachCameInItsTurn) {
  for (const size_t bytes : {kBenchBytesMin, size_t{9}, size_t{15}, size_t{16}, kBenchEndBytes,
                             size_t{64}, size_t{1001}, kBenchBytesMax}) {
    BenchCheck check(bytes);
    for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(check.Look(MessageOf(i, bytes)), Saw::kMessage);
    EXPECT_EQ(check.Look(EndOf(5)), Saw::kEnd);
    EXPECT_EQ(check.counts().messages, 5u) << bytes;
    EXPECT_TRUE(check.counts().Good()) << bytes;
  }
}

TEST(BenchMessageTest, NoticesEachWrongBit) {
  for (const size_t bytes : {kBenchBytesMin, size_t{13}, kBenchEndBytes, size_t{64}}) {
    for (size_t bit = 0; bit < bytes * 8; ++bit) {
      auto message = MessageOf(0, bytes);
      message[bit / 8] ^= std::byte(1 << bit % 8);
      BenchCheck check(bytes);
      EXPECT_EQ(check.Look(message), Saw::kBadMessage) << bytes << " bytes, bit " << bit;
      EXPECT_EQ(check.counts().damaged, 1u);
      EXPECT_EQ(check.Look(MessageOf(1, bytes)), Saw::kMessage);
      EXPECT_FALSE(check.counts().Good());
    }
  }
}

TEST(BenchMessageTest, NoticesAnotherSizeAndOtherBytes) {
  const unsigned seed = std::random_device()();
  std::cout << "seed " << seed << '\n';
  std::mt19937_64 random(seed);
  BenchCheck check(64);
  for (size_t bytes = 0; bytes < 200; ++bytes) {
    std::vector<std::byte> message(bytes);
    for (std::byte& byte : message) byte = std::byte(random());
    EXPECT_EQ(check.Look(message), Saw::kBadMessage);
  }
  for (const size_t bytes : {size_t{63}, size_t{65}, size_t{128}}) {
    EXPECT_EQ(check.Look(MessageOf(check.next(), bytes)), Saw::kBadMessage);
  }
  EXPECT_EQ(check.counts().damaged, 203u);
  EXPECT_EQ(check.counts().messages, 0u);
}

TEST(BenchMessageTest, CountsWhatIsMissing) {
  BenchCheck check(64);
  EXPECT_EQ(check.Look(MessageOf(0, 64)), Saw::kMessage);
  EXPECT_EQ(check.Look(MessageOf(3, 64)), Saw::kMessage);
  EXPECT_EQ(check.counts().lost, 2u);
  EXPECT_EQ(check.Look(EndOf(10)), Saw::kEnd);
  EXPECT_EQ(check.counts().lost, 8u);
  EXPECT_EQ(check.counts().messages, 2u);
  EXPECT_FALSE(check.counts().Good());
}

TEST(BenchMessageTest, CountsWhatComesAgainOrTooLate) {
  BenchCheck check(64);
  EXPECT_EQ(check.Look(MessageOf(1, 64)), Saw::kMessage);
  EXPECT_EQ(check.Look(MessageOf(1, 64)), Saw::kBadMessage);
  EXPECT_EQ(check.Look(MessageOf(0, 64)), Saw::kBadMessage);
  EXPECT_EQ(check.counts().misordered, 2u);
  EXPECT_EQ(check.counts().messages, 1u);
  EXPECT_EQ(check.next(), 2u);
}

TEST(BenchMessageTest, GoesOnWhereTheSequenceStartsAnew) {
  BenchCheck check(64);
  constexpr uint64_t kLast = std::numeric_limits<uint32_t>::max();
  // As far ahead as can be told from behind.
  EXPECT_EQ(check.Look(MessageOf(kLast / 2, 64)), Saw::kMessage);
  EXPECT_EQ(check.Look(MessageOf(kLast - 1, 64)), Saw::kMessage);
  const uint64_t lost = check.counts().lost;
  EXPECT_EQ(lost, kLast - 2);
  for (uint64_t i = kLast; i < kLast + 3; ++i) {
    EXPECT_EQ(check.Look(MessageOf(i, 64)), Saw::kMessage);
  }
  EXPECT_EQ(check.counts().lost, lost);
  EXPECT_EQ(check.next(), kLast + 3);
}

TEST(BenchMessageTest, TakesNoDamagedEndForOne) {
  for (size_t bit = 0; bit < kBenchEndBytes * 8; ++bit) {
    auto end = EndOf(7);
    end[bit / 8] ^= std::byte(1 << bit % 8);
    EXPECT_FALSE(IsBenchEnd(end)) << bit;
  }
  EXPECT_FALSE(IsBenchEnd(MessageOf(0, kBenchEndBytes)));
  EXPECT_FALSE(IsBenchEnd({}));
}

}  // namespace
}  // namespace ivmq::command
