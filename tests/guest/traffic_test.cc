#include "traffic.h"

#include <gtest/gtest.h>

#include <string>

namespace ivmq::test {
namespace {

constexpr size_t kMaxBytes = 8184;

TEST(TrafficTest, SizesReachFromNothingToTheLargestAndNeverBeyond) {
  TrafficSource source(3, kMaxBytes);
  TrafficCheck check;
  bool empty = false;
  for (int i = 0; i < 3000; ++i) {
    const Traffic& message = source.Next();
    ASSERT_LE(message.ByteSizeLong(), kMaxBytes);
    empty = empty || message.ByteSizeLong() == 0;
    ASSERT_EQ(check.Take(message), "");
  }
  EXPECT_TRUE(empty);
  EXPECT_EQ(check.largest(), kMaxBytes);
  EXPECT_EQ(check.taken(), 3000u);
}

TEST(TrafficTest, LossRepetitionAndChangeAreNoticed) {
  TrafficSource source(1, kMaxBytes);
  TrafficCheck check;
  ASSERT_EQ(check.Take(source.Next()), "");
  const Traffic first = source.Next();
  ASSERT_EQ(check.Take(first), "");
  EXPECT_NE(check.Take(first), "") << "repetition";

  TrafficCheck lossy;
  TrafficSource other(1, kMaxBytes);
  ASSERT_EQ(lossy.Take(other.Next()), "");
  other.Next();
  EXPECT_NE(lossy.Take(other.Next()), "") << "loss";

  TrafficCheck changed;
  ASSERT_EQ(changed.Take(Traffic()), "");
  Traffic message = first;
  message.mutable_payload()->push_back('x');
  EXPECT_NE(changed.Take(message), "") << "change";

  TrafficCheck swapped;
  ASSERT_EQ(swapped.Take(Traffic()), "");
  ASSERT_EQ(swapped.Take(first), "");
  TrafficSource stranger(2, kMaxBytes);
  stranger.Next();
  stranger.Next();
  EXPECT_NE(swapped.Take(stranger.Next()), "") << "another sender";
}

TEST(TrafficTest, WhatIsSaidToBeLostMayBeMissingAndNoMore) {
  TrafficSource source(1, kMaxBytes);
  TrafficCheck check;
  ASSERT_EQ(check.Take(source.Next()), "");
  for (int i = 0; i < 1500; ++i) source.Next();
  check.Skip(1500);
  EXPECT_EQ(check.Take(source.Next()), "");
  EXPECT_EQ(check.taken(), 1502u);
  source.Next();
  check.Skip(2);
  EXPECT_NE(check.Take(source.Next()), "") << "one too many";
}

}  // namespace
}  // namespace ivmq::test
