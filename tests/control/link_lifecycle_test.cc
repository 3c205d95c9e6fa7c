#include "broker/control/link_lifecycle.h"

#include <gtest/gtest.h>

#include <vector>

namespace ivmq::control {
namespace {

using E = SideEvent;
using S = SideState;
constexpr bool kPub = true;
constexpr bool kSub = false;

struct Step {
  bool to_publisher;
  SideEvent event;
  bool tell_ready, tell_down, release, over;
};
struct Life {
  const char* name;
  std::vector<Step> steps;
  v1::Link::State state;
  v1::LinkDown::Reason down;
};

// What each event tells the others and lets go of, life by life.
TEST(LinkLifecycleTest, FollowsTheRulesStepByStep) {
  const Life lives[] = {
      {"both attach",
       {{kPub, E::kAttached, true, false, false, false},
        {kSub, E::kAttached, false, false, false, false}},
       v1::Link::UP,
       v1::LinkDown::REASON_UNSPECIFIED},
      {"attaching twice is nothing",
       {{kPub, E::kAttached, true, false, false, false},
        {kPub, E::kAttached, false, false, false, false}},
       v1::Link::CONNECTING,
       v1::LinkDown::REASON_UNSPECIFIED},
      {"the publisher dies, the subscriber drains",
       {{kPub, E::kDied, false, true, true, false}, {kSub, E::kClosed, false, false, true, true}},
       v1::Link::CLOSING,
       v1::LinkDown::DIED},
      {"both close",
       {{kSub, E::kClosed, false, true, true, false}, {kPub, E::kClosed, false, false, true, true}},
       v1::Link::CLOSING,
       v1::LinkDown::CLOSED},
      {"both die",
       {{kSub, E::kDied, false, true, true, false}, {kPub, E::kDied, false, false, true, true}},
       v1::Link::CLOSING,
       v1::LinkDown::DIED},
      {"closing twice is nothing",
       {{kSub, E::kClosed, false, true, true, false},
        {kSub, E::kClosed, false, false, false, false}},
       v1::Link::CLOSING,
       v1::LinkDown::CLOSED},
      {"attaching after the other left tells nobody",
       {{kSub, E::kDied, false, true, true, false},
        {kPub, E::kAttached, false, false, false, false}},
       v1::Link::CLOSING,
       v1::LinkDown::DIED},
      {"nonsense quarantines",
       {{kSub, E::kCorrupt, false, true, true, false},
        {kPub, E::kClosed, false, false, true, true}},
       v1::Link::QUARANTINED,
       v1::LinkDown::CORRUPT},
      {"a lost side holds on",
       {{kPub, E::kLost, false, true, false, false}, {kSub, E::kClosed, false, false, true, false}},
       v1::Link::ORPHANED,
       v1::LinkDown::LOST},
      {"proof comes later",
       {{kPub, E::kLost, false, true, false, false},
        {kSub, E::kClosed, false, false, true, false},
        {kPub, E::kDied, false, false, true, true}},
       v1::Link::CLOSING,
       v1::LinkDown::LOST},
      {"a lost side cannot acknowledge",
       {{kPub, E::kLost, false, true, false, false},
        {kPub, E::kClosed, false, false, false, false}},
       v1::Link::ORPHANED,
       v1::LinkDown::LOST},
      {"evicted and alive",
       {{kPub, E::kEvicted, false, true, false, false},
        {kPub, E::kLost, false, false, false, false},
        {kSub, E::kClosed, false, false, true, false}},
       v1::Link::ORPHANED,
       v1::LinkDown::EVICTED},
      {"evicted, then dead",
       {{kPub, E::kEvicted, false, true, false, false},
        {kSub, E::kClosed, false, false, true, false},
        {kPub, E::kDied, false, false, true, true}},
       v1::Link::CLOSING,
       v1::LinkDown::EVICTED},
  };
  for (const Life& life : lives) {
    LinkProgress progress;
    for (size_t i = 0; i < life.steps.size(); ++i) {
      SCOPED_TRACE(testing::Message() << life.name << ", step " << i);
      const Step& step = life.steps[i];
      const LinkActions actions = Apply(step.event, step.to_publisher, &progress);
      EXPECT_EQ(actions.tell_ready, step.tell_ready);
      EXPECT_EQ(actions.tell_other_down, step.tell_down);
      EXPECT_EQ(actions.release_side, step.release);
      EXPECT_EQ(actions.over, step.over);
    }
    EXPECT_EQ(StateOf(progress), life.state) << life.name;
    EXPECT_EQ(progress.down, life.down) << life.name;
  }
}

TEST(LinkLifecycleTest, GoesDownOnceForTheSakeOfItsPair) {
  LinkProgress progress;
  EXPECT_FALSE(ApplyOfPair(E::kAttached, &progress));
  EXPECT_TRUE(ApplyOfPair(E::kDied, &progress));
  EXPECT_FALSE(ApplyOfPair(E::kClosed, &progress));
  EXPECT_EQ(progress.down, v1::LinkDown::DIED);
  EXPECT_EQ(StateOf(progress), v1::Link::CLOSING);
  // Both were told: neither attaching nor leaving tells anyone again, and each lets go by itself.
  EXPECT_FALSE(Apply(E::kAttached, kPub, &progress).tell_ready);
  LinkActions actions = Apply(E::kClosed, kPub, &progress);
  EXPECT_FALSE(actions.tell_other_down);
  EXPECT_TRUE(actions.release_side);
  EXPECT_FALSE(actions.over);
  actions = Apply(E::kDied, kSub, &progress);
  EXPECT_TRUE(actions.over);
  EXPECT_EQ(progress.down, v1::LinkDown::DIED);

  LinkProgress down;
  Apply(E::kLost, kSub, &down);
  EXPECT_FALSE(ApplyOfPair(E::kClosed, &down));
}

// Whatever happens in whatever order: a side is released at most once, and only when it closed or
// died; the link is over exactly when both are.
TEST(LinkLifecycleTest, ReleasesOnlyWhatIsClosedOrDeadInEveryOrder) {
  const E events[] = {E::kAttached, E::kClosed, E::kCorrupt, E::kDied, E::kLost, E::kEvicted};
  constexpr int kChoices = 12;
  for (int a = 0; a < kChoices; ++a) {
    for (int b = 0; b < kChoices; ++b) {
      for (int c = 0; c < kChoices; ++c) {
        for (int d = 0; d < kChoices; ++d) {
          LinkProgress progress;
          int released[2] = {0, 0};
          int told_down[2] = {0, 0};
          for (const int choice : {a, b, c, d}) {
            const bool publisher = choice % 2 == 0;
            const E event = events[choice / 2];
            const LinkActions actions = Apply(event, publisher, &progress);
            if (actions.release_side) {
              EXPECT_TRUE(event == E::kClosed || event == E::kCorrupt || event == E::kDied);
              ++released[publisher];
            }
            if (actions.tell_other_down) ++told_down[!publisher];
            EXPECT_EQ(actions.over && actions.release_side,
                      actions.release_side && released[0] == 1 && released[1] == 1);
          }
          for (const bool side : {true, false}) {
            EXPECT_LE(released[side], 1);
            EXPECT_LE(told_down[side], 1);
            const S state = side ? progress.publisher : progress.subscriber;
            EXPECT_EQ(released[side] == 1, state == S::kSettled);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace ivmq::control
