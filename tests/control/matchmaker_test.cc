#include "broker/control/matchmaker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ringbuf/ring_layout.h"

namespace ivmq::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Qos = v1::Qos;

constexpr uint64_t kMost = 16 << 20;

Qos Make(Qos::Reliability reliability, uint32_t depth = 0, uint32_t history = 0,
         uint64_t ring_bytes = 0, uint64_t max_message_bytes = 0) {
  Qos qos;
  qos.set_reliability(reliability);
  qos.set_depth(depth);
  qos.set_history(history);
  qos.set_ring_bytes(ring_bytes);
  qos.set_max_message_bytes(max_message_bytes);
  return qos;
}

absl::StatusOr<Agreement> Meet(const Qos& offered, const Qos& asked) {
  Node from;
  from.name = "camera";
  Node to;
  to.name = "viewer";
  to.peer_id = 3;
  Endpoint publisher;
  publisher.publishes = true;
  publisher.topic = "a.b";
  publisher.qos = offered;
  Endpoint subscriber;
  subscriber.topic = "a.*";
  subscriber.qos = asked;
  return Agree(publisher, from, subscriber, to);
}

TEST(MatchmakerTest, AgreesAsTheTableSays) {
  const Qos unspecified = Make(Qos::RELIABILITY_UNSPECIFIED);
  const Qos reliable = Make(Qos::RELIABLE);
  const Qos drops = Make(Qos::DROP_NEWEST);
  const Qos keeps_5 = Make(Qos::KEEP_LAST, 5);
  const Qos keeps_9 = Make(Qos::KEEP_LAST, 9);
  struct Cell {
    Qos offered;
    Qos asked;
    Qos::Reliability agreed;  // unspecified: refused
    uint32_t depth;
  };
  const Cell cells[] = {
      {reliable, unspecified, Qos::RELIABLE, 0},
      {reliable, reliable, Qos::RELIABLE, 0},
      {reliable, drops, Qos::DROP_NEWEST, 0},
      {reliable, keeps_9, Qos::KEEP_LAST, 9},
      {drops, unspecified, Qos::DROP_NEWEST, 0},
      {drops, reliable, Qos::RELIABILITY_UNSPECIFIED, 0},
      {drops, drops, Qos::DROP_NEWEST, 0},
      {drops, keeps_9, Qos::KEEP_LAST, 9},
      {keeps_5, unspecified, Qos::KEEP_LAST, 5},
      {keeps_5, reliable, Qos::RELIABILITY_UNSPECIFIED, 0},
      {keeps_5, drops, Qos::DROP_NEWEST, 0},
      {keeps_5, keeps_9, Qos::KEEP_LAST, 9},
      // A publisher that says nothing is reliable.
      {unspecified, unspecified, Qos::RELIABLE, 0},
      {unspecified, reliable, Qos::RELIABLE, 0},
      {unspecified, drops, Qos::DROP_NEWEST, 0},
      {unspecified, keeps_9, Qos::KEEP_LAST, 9},
  };
  for (const Cell& cell : cells) {
    SCOPED_TRACE(cell.offered.ShortDebugString() + " meets " + cell.asked.ShortDebugString());
    const absl::StatusOr<Agreement> agreed = Meet(cell.offered, cell.asked);
    ASSERT_EQ(agreed.ok(), cell.agreed != Qos::RELIABILITY_UNSPECIFIED);
    if (!agreed.ok()) {
      EXPECT_EQ(agreed.status().code(), absl::StatusCode::kFailedPrecondition);
      continue;
    }
    EXPECT_EQ(agreed->reliability, cell.agreed);
    EXPECT_EQ(agreed->depth, cell.depth);
    EXPECT_EQ(agreed->ring_bytes, cell.agreed == Qos::KEEP_LAST ? 0u : 65536u);
    EXPECT_EQ(agreed->max_message_bytes, ringbuf::MaxMessage(65536));
  }
}

TEST(MatchmakerTest, AMisfitNamesBothAndWhatEachSaid) {
  EXPECT_THAT(std::string(Meet(Make(Qos::KEEP_LAST, 5), Make(Qos::RELIABLE)).status().message()),
              AllOf(HasSubstr("topic \"a.b\""), HasSubstr("node \"camera\" (peer 0)"),
                    HasSubstr("keep-last 5"), HasSubstr("node \"viewer\" (peer 3)"),
                    HasSubstr("asks for reliable")));
  EXPECT_THAT(
      std::string(Meet(Make(Qos::RELIABLE), Make(Qos::RELIABLE, 0, 7)).status().message()),
      AllOf(HasSubstr("keeps no messages for latecomers"), HasSubstr("asks for the last 7")));
}

TEST(MatchmakerTest, HistoryIsWhatIsAskedAndKept) {
  const auto history = [](const Qos& offered, const Qos& asked) {
    const auto agreed = Meet(offered, asked);
    return agreed.ok() ? static_cast<int>(agreed->history) : -1;
  };
  EXPECT_EQ(history(Make(Qos::RELIABLE, 0, 10), Make(Qos::RELIABLE, 0, 4)), 4);
  EXPECT_EQ(history(Make(Qos::RELIABLE, 0, 4), Make(Qos::RELIABLE, 0, 10)), 4);
  EXPECT_EQ(history(Make(Qos::RELIABLE, 0, 4), Make(Qos::RELIABLE, 0, 0)), 0);
  EXPECT_EQ(history(Make(Qos::RELIABLE, 0, 0), Make(Qos::RELIABLE, 0, 1)), -1);
  EXPECT_EQ(history(Make(Qos::RELIABLE, 0, 10), Make(Qos::KEEP_LAST, 3, 10)), 3);
  EXPECT_EQ(history(Make(Qos::KEEP_LAST, 2, 10), Make(Qos::RELIABILITY_UNSPECIFIED, 0, 5)), 2);
  EXPECT_EQ(history(Make(Qos::RELIABLE, 0, 65536, 0, 8), Make(Qos::RELIABLE, 0, 65536)), 65536);
}

TEST(MatchmakerTest, ARingHoldsTheLargerWishEightMessagesAndTwiceTheHistory) {
  const auto ring = [](const Qos& offered, const Qos& asked) {
    const auto agreed = Meet(offered, asked);
    return agreed.ok() ? agreed->ring_bytes : 0;
  };
  const auto reliable = [](uint64_t ring_bytes, uint32_t history = 0, uint64_t max = 0) {
    return Make(Qos::RELIABLE, 0, history, ring_bytes, max);
  };
  EXPECT_EQ(ring(reliable(0), reliable(0)), 65536u);
  EXPECT_EQ(ring(reliable(4096), reliable(0)), 4096u);
  EXPECT_EQ(ring(reliable(4096), reliable(16384)), 16384u);
  EXPECT_EQ(ring(reliable(16384), reliable(4096)), 16384u);
  // A publisher without a wish may publish 8192 bytes.
  EXPECT_EQ(ring(reliable(0), reliable(4096)), 65536u);
  EXPECT_EQ(ring(reliable(0, 0, 513), reliable(4096)), 8192u);
  EXPECT_EQ(ring(reliable(0, 0, 512), reliable(4096)), 4096u);
  // 100 bytes take 8 + 104 of a ring: 18 of them 2016, twice that 4032; of 19 it is 4256.
  EXPECT_EQ(ring(reliable(4096, 18, 100), reliable(0, 18)), 4096u);
  EXPECT_EQ(ring(reliable(4096, 19, 100), reliable(0, 19)), 8192u);
  EXPECT_EQ(ring(reliable(4096, 19, 100), reliable(0, 18)), 4096u);
  // From 4096 bytes on they start on a cache line: 8 + 64 + 4096 each.
  EXPECT_EQ(ring(reliable(32768, 63, 4095), reliable(0, 63)), 524288u);
  EXPECT_EQ(ring(reliable(32768, 63, 4096), reliable(0, 63)), 1048576u);
  // The largest ring, and one message too many for it.
  EXPECT_EQ(ring(reliable(kMost, 3, kMost / 8), reliable(0, 3)), kMost);
  EXPECT_EQ(ring(reliable(kMost, 4, kMost / 8), reliable(0, 4)), 0u);
  EXPECT_EQ(ring(reliable(0, 65536), reliable(0, 65536)), 0u);
  EXPECT_THAT(std::string(Meet(reliable(0, 65536), reliable(0, 65536)).status().message()),
              AllOf(HasSubstr("up to 8192 bytes"), HasSubstr("last 65536"), HasSubstr("16777216")));
}

TEST(MatchmakerTest, ChecksEachWishAtBothEndsOfItsBounds) {
  const auto valid = [](const Qos& qos, bool publishes = true) {
    const absl::Status status = ValidateQos(qos, publishes);
    EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kInvalidArgument) << status;
    return status.ok();
  };
  for (const bool publishes : {true, false}) {
    EXPECT_TRUE(valid(Make(Qos::RELIABILITY_UNSPECIFIED), publishes));
    EXPECT_FALSE(valid(Make(static_cast<Qos::Reliability>(4)), publishes));
    EXPECT_FALSE(valid(Make(static_cast<Qos::Reliability>(-1)), publishes));
    EXPECT_FALSE(valid(Make(Qos::KEEP_LAST, 0), publishes));
    EXPECT_TRUE(valid(Make(Qos::KEEP_LAST, 1), publishes));
    EXPECT_TRUE(valid(Make(Qos::KEEP_LAST, 65536), publishes));
    EXPECT_FALSE(valid(Make(Qos::KEEP_LAST, 65537), publishes));
    EXPECT_FALSE(valid(Make(Qos::KEEP_LAST, ~0u), publishes));
    EXPECT_FALSE(valid(Make(Qos::RELIABLE, 1), publishes));
    EXPECT_FALSE(valid(Make(Qos::DROP_NEWEST, 8), publishes));
    EXPECT_FALSE(valid(Make(Qos::RELIABILITY_UNSPECIFIED, 8), publishes));
    EXPECT_TRUE(valid(Make(Qos::RELIABLE, 0, 65536), publishes));
    EXPECT_FALSE(valid(Make(Qos::RELIABLE, 0, 65537), publishes));
    EXPECT_TRUE(valid(Make(Qos::RELIABLE, 0, 0, 4096), publishes));
    EXPECT_TRUE(valid(Make(Qos::RELIABLE, 0, 0, kMost), publishes));
    for (const uint64_t bad : {uint64_t{1}, uint64_t{2048}, uint64_t{4097}, 2 * kMost}) {
      EXPECT_FALSE(valid(Make(Qos::RELIABLE, 0, 0, bad), publishes)) << bad;
    }
  }
  EXPECT_TRUE(valid(Make(Qos::RELIABLE, 0, 0, 0, 8192)));
  EXPECT_FALSE(valid(Make(Qos::RELIABLE, 0, 0, 0, 8193)));
  EXPECT_TRUE(valid(Make(Qos::RELIABLE, 0, 0, 4096, 512)));
  EXPECT_FALSE(valid(Make(Qos::RELIABLE, 0, 0, 4096, 513)));
  EXPECT_FALSE(valid(Make(Qos::RELIABLE, 0, 0, kMost, ~uint64_t{0})));
  EXPECT_FALSE(valid(Make(Qos::RELIABLE, 0, 0, 0, 1), false));
  EXPECT_THAT(std::string(ValidateQos(Make(Qos::KEEP_LAST, 0), false).message()),
              AllOf(HasSubstr("keep-last 0"), HasSubstr("1 to 65536")));
  EXPECT_THAT(std::string(ValidateQos(Make(Qos::RELIABLE, 0, 0, 4096, 513), true).message()),
              AllOf(HasSubstr("513"), HasSubstr("512 are allowed")));
}

}  // namespace
}  // namespace ivmq::control
