// What a guest knows of the realm's clock, with clocks that do as they are told.

#include "sdk/node/realm_clock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

namespace ivmq::internal {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

class RealmClockTest : public ::testing::Test {
 protected:
  // Both clocks go on, and control's heart beats, once a second.
  void Pass(nanoseconds time) {
    own_ += time;
    Pause(time);
  }
  // As Pass(), but for our own clock.
  void Pause(nanoseconds time) {
    realm_ += time;
    if (control_lives_) beats_ += static_cast<uint64_t>((since_beat_ + time) / 1s);
    since_beat_ = (since_beat_ + time) % 1s;
  }
  // Control reads its clock in the middle.
  void AnswerIn(nanoseconds time, nanoseconds paused = {}) {
    const auto asked = own_;
    Pass(time / 2);
    const int64_t read = realm_.count();
    Pass(time - time / 2);
    Pause(paused);
    clock_.Answer(read, asked);
  }
  // The stated bound holds.
  void ExpectRight(const RealmTime& time) {
    const nanoseconds off = time.when.time_since_epoch() - realm_;
    EXPECT_LE(std::chrono::abs(off), time.uncertainty);
  }

  RealmClock::Clock::time_point own_{1000h};
  nanoseconds realm_ = std::chrono::hours(24 * 365 * 50);
  nanoseconds since_beat_ = 500ms;
  uint64_t beats_ = 7;
  bool control_lives_ = true;
  int asked_ = 0;
  RealmClock clock_{[this] { ++asked_; }, [this] { return beats_; }, [this] { return own_; }};
};

TEST_F(RealmClockTest, DoesNotWaitForTheFirstAnswer) {
  EXPECT_FALSE(clock_.Now().has_value());
  EXPECT_EQ(asked_, 1);
  for (int i = 0; i < 20; ++i) AnswerIn(1ms);
  EXPECT_EQ(asked_, 8) << "a round";
  ASSERT_TRUE(clock_.Now().has_value());
  EXPECT_EQ(asked_, 8) << "the answers are fresh";
  Pass(10s);
  EXPECT_TRUE(clock_.Now().has_value());
  EXPECT_EQ(asked_, 9);
}

TEST_F(RealmClockTest, TakesTheFastestAnswer) {
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(4s);
  EXPECT_EQ(clock_.Now()->uncertainty, 2s);
  AnswerIn(1ms);
  EXPECT_EQ(clock_.Now()->uncertainty, 500us);
  AnswerIn(1s);
  ExpectRight(*clock_.Now());
  EXPECT_LT(clock_.Now()->uncertainty, 1ms) << "both may be true";
}

TEST_F(RealmClockTest, IsLessSureTheLongerAgoItWas) {
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(1ms);
  Pass(100s);
  EXPECT_EQ(clock_.Now()->uncertainty, 500us + 5ms) << "50 us a second";
  // A slower answer than the first is better by now.
  AnswerIn(2ms);
  EXPECT_EQ(clock_.Now()->uncertainty, 1ms);
}

TEST_F(RealmClockTest, BelievesAnAnswerThatContradictsAFasterOne) {
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(1ms);
  realm_ += 24h;  // the host's clock was set
  AnswerIn(1s);
  EXPECT_EQ(clock_.Now()->uncertainty, 500ms);
  ExpectRight(*clock_.Now());
}

TEST_F(RealmClockTest, KnowsNothingAfterAPauseBeforeTheNextAnswer) {
  EXPECT_FALSE(clock_.Now().has_value());
  for (int i = 0; i < 8; ++i) AnswerIn(1ms);
  Pass(2s);
  ExpectRight(*clock_.Now());
  Pause(5s);
  EXPECT_FALSE(clock_.Now().has_value());
  EXPECT_EQ(asked_, 9) << "at once";
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(1ms);
  ASSERT_TRUE(clock_.Now().has_value());
  ExpectRight(*clock_.Now());
  EXPECT_LT(clock_.Now()->uncertainty, 1ms);
}

TEST_F(RealmClockTest, NoticesAnyPauseOfTwoSecondsWheneverItIsAsked) {
  for (const nanoseconds between : {0ms, 300ms, 999ms, 1000ms, 4700ms, 60'000ms}) {
    for (nanoseconds phase = 0ms; phase < 1s; phase += 50ms) {
      Pass(10s + phase);
      static_cast<void>(clock_.Now());
      AnswerIn(1ms);
      Pass(between / 2);
      Pause(2s);
      Pass(between - between / 2);
      EXPECT_FALSE(clock_.Now().has_value()) << between.count() << " " << phase.count();
    }
  }
}

TEST_F(RealmClockTest, ForgetsNothingWhereTheClocksOnlyRun) {
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(1ms);
  for (nanoseconds step = 1ms; step < 100s; step = step * 3 / 2) {
    Pass(step);
    ASSERT_TRUE(clock_.Now().has_value()) << step.count();
    ExpectRight(*clock_.Now());
  }
  // The whole VM was held up, its clock with it: SIGSTOP of a QEMU whose guest reads the TSC.
  Pass(1h);
  ASSERT_TRUE(clock_.Now().has_value());
  ExpectRight(*clock_.Now());
}

TEST_F(RealmClockTest, TakesNoAnswerAcrossAPause) {
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(1ms, 5s);
  EXPECT_FALSE(clock_.Now().has_value());
  EXPECT_EQ(asked_, 2) << "the round goes on";
  AnswerIn(1ms);
  ExpectRight(*clock_.Now());
}

TEST_F(RealmClockTest, KnowsNothingWhereNobodyWouldNoticeAPause) {
  EXPECT_FALSE(clock_.Now().has_value());
  AnswerIn(1ms);
  control_lives_ = false;
  Pass(29s);
  EXPECT_TRUE(clock_.Now().has_value());
  Pass(2s);
  EXPECT_FALSE(clock_.Now().has_value());
  control_lives_ = true;
  beats_ = 0;  // another control
  Pass(2s);
  AnswerIn(1ms);
  ASSERT_TRUE(clock_.Now().has_value());
  ExpectRight(*clock_.Now());
}

TEST_F(RealmClockTest, AsksNoMoreOftenWhateverIsWrittenThere) {
  for (int i = 0; i < 1000; ++i) {
    beats_ += i % 2 == 0 ? 1'000'000 : UINT64_MAX / 2;
    static_cast<void>(clock_.Now());
    Pass(1ms);
  }
  EXPECT_EQ(asked_, 1);
  beats_ += 1000;
  static_cast<void>(clock_.Now());
  EXPECT_EQ(asked_, 2) << "once a second";
}

TEST(RealmClockOfHostTest, IsTheHostsOwnClockThere) {
  RealmClock clock(nullptr, nullptr);
  const auto now = clock.Now();
  ASSERT_TRUE(now.has_value());
  EXPECT_EQ(now->uncertainty, 0ns);
}

}  // namespace
}  // namespace ivmq::internal
