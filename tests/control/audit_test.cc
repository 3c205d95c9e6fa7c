#include "broker/control/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace ivmq::control {
namespace {

using testing::HasSubstr;
using Verdict = v1::LinkAudit;

RingReading Ring(uint64_t published, uint64_t read) {
  RingReading ring;
  ring.still = true;
  ring.read = read;
  ring.published_least = ring.published_most = published;
  ring.in_ring = published - read;
  return ring;
}

// As told by nodes that answer.
LinkLook Look(uint64_t published, uint64_t delivered, const RingReading& ring) {
  LinkLook look;
  look.counters.set_published(published);
  look.counters.set_delivered(delivered);
  look.counters.set_publisher_answered(true);
  look.counters.set_subscriber_answered(true);
  look.ring = ring;
  return look;
}

class AuditTest : public testing::Test {
 protected:
  v1::LinkAudit Live(const LinkLook& first, const LinkLook& second) {
    return AuditOf(link_, "r", first, second);
  }
  v1::LinkAudit Live(const LinkLook& look) { return Live(look, look); }
  // Both may have answered while they were there.
  v1::LinkAudit Ended(const LinkLook& look) { return AuditOf(link_, "r", look, look); }
  static void ExpectAmount(const v1::Amount& amount, uint64_t least, uint64_t most) {
    EXPECT_EQ(amount.least(), least);
    EXPECT_EQ(amount.most(), most);
  }

  Link link_;
};

TEST_F(AuditTest, AddsUpExactlyWhereNothingMoves) {
  const v1::LinkAudit audit = Live(Look(100, 90, Ring(100, 90)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().published(), 100, 100);
  ExpectAmount(audit.counters().delivered(), 90, 90);
  ExpectAmount(audit.counters().in_flight(), 10, 10);
  ExpectAmount(audit.ring().published(), 100, 100);
  ExpectAmount(audit.ring().delivered(), 90, 90);
  ExpectAmount(audit.ring().in_flight(), 10, 10);
}

TEST_F(AuditTest, GivesBoundsUnderTraffic) {
  const v1::LinkAudit audit = Live(Look(100, 90, Ring(105, 95)), Look(200, 170, Ring(210, 180)));
  EXPECT_EQ(audit.verdict(), Verdict::BOUNDS);
  EXPECT_THAT(audit.detail(), HasSubstr("between two readings"));
  ExpectAmount(audit.counters().published(), 100, 200);
  ExpectAmount(audit.counters().delivered(), 90, 170);
  ExpectAmount(audit.counters().in_flight(), 0, 110);
  ExpectAmount(audit.ring().published(), 105, 210);
}

TEST_F(AuditTest, SaysWhichOfTheCountsIsWrong) {
  struct Case {
    LinkLook look;
    const char* what;
  };
  const Case cases[] = {
      {Look(100, 101, Ring(100, 100)), "101 were delivered"},
      {Look(99, 90, Ring(100, 90)), "the publisher counted 99"},
      {Look(132, 90, Ring(100, 90)), "the publisher counted 132"},
      {Look(100, 80, Ring(100, 90)), "the subscriber counted 80"},
      {Look(100, 91, Ring(100, 90)), "the subscriber counted 91"},
  };
  for (const Case& each : cases) {
    const v1::LinkAudit audit = Live(each.look);
    EXPECT_EQ(audit.verdict(), Verdict::WRONG) << each.what;
    EXPECT_THAT(audit.detail(), HasSubstr(each.what));
  }
  // What is committed and not flushed is in flight, no error.
  EXPECT_EQ(Live(Look(131, 90, Ring(100, 90))).verdict(), Verdict::EXACT);
  // Nor is a message that is being read.
  EXPECT_EQ(Live(Look(100, 89, Ring(100, 90))).verdict(), Verdict::EXACT);
}

TEST_F(AuditTest, CountsDropsByReason) {
  LinkLook look = Look(100, 60, Ring(70, 60));
  look.counters.set_dropped_full(30);
  look.ring.dropped = 30;
  const v1::LinkAudit audit = Live(look);
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.detail();
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::FULL);
  ExpectAmount(audit.counters().drops(0).count(), 30, 30);
  EXPECT_EQ(audit.counters().drops(0).last_sequence(), 99u);
  ExpectAmount(audit.counters().in_flight(), 10, 10);
  // The ring says the same.
  ExpectAmount(audit.ring().published(), 100, 100);
  ASSERT_EQ(audit.ring().drops_size(), 1);
  ExpectAmount(audit.ring().drops(0).count(), 30, 30);
  ExpectAmount(audit.ring().in_flight(), 10, 10);
}

TEST_F(AuditTest, SaysBetweenWhichMessagesTheDroppedOnesLie) {
  LinkLook look = Look(100, 60, Ring(70, 60));
  look.counters.set_dropped_full(30);
  look.ring.dropped = 30;
  look.counters.set_first_dropped_full(20);
  look.counters.set_last_dropped_full(55);
  v1::LinkAudit audit = Live(look);
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).first_sequence(), 20u);
  EXPECT_EQ(audit.counters().drops(0).last_sequence(), 55u);
  // Thirty do not lie between those.
  look.counters.set_last_dropped_full(48);
  audit = Live(look);
  EXPECT_EQ(audit.counters().drops(0).last_sequence(), 99u);
  // Nor behind these.
  look.counters.set_first_dropped_full(5000);
  look.counters.set_last_dropped_full(6000);
  audit = Live(look);
  EXPECT_EQ(audit.counters().drops(0).first_sequence(), 70u);
  EXPECT_EQ(audit.counters().drops(0).last_sequence(), 99u);
}

TEST_F(AuditTest, LetsARangeEndWhereItMustIfMoreWasDroppedThanWasTold) {
  LinkLook look = Look(100, 60, Ring(70, 60));
  look.counters.set_publisher_answered(false);
  look.counters.set_dropped_full(10);
  look.counters.set_first_dropped_full(20);
  look.counters.set_last_dropped_full(29);
  look.ring.dropped = 30;
  const v1::LinkAudit audit = Live(look);
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).first_sequence(), 20u);
  EXPECT_EQ(audit.counters().drops(0).last_sequence(), audit.counters().published().most() - 1);
}

TEST_F(AuditTest, TakesTheRingsWordForASideThatDoesNotAnswer) {
  LinkLook look = Look(50, 90, Ring(100, 90));
  look.counters.set_publisher_answered(false);
  v1::LinkAudit audit = Live(look);
  EXPECT_EQ(audit.verdict(), Verdict::BOUNDS);
  EXPECT_FALSE(audit.published_recounted());
  ExpectAmount(audit.counters().published(), 100, 132);
  // The ring has all that its reader has read.
  look = Look(100, 20, Ring(100, 88));
  look.counters.set_subscriber_answered(false);
  audit = Live(look);
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().delivered(), 88, 88);
  ExpectAmount(audit.counters().in_flight(), 12, 12);
}

TEST_F(AuditTest, CountsADeadPublishersMessagesInTheRing) {
  link_.publisher.left = SideEvent::kDied;
  link_.subscriber.left = SideEvent::kClosed;
  link_.subscriber.counted = true;
  const v1::LinkAudit audit = Ended(Look(0, 100, Ring(100, 100)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_TRUE(audit.published_recounted());
  ExpectAmount(audit.counters().published(), 100, 100);
  EXPECT_EQ(audit.counters().drops_size(), 0);
}

TEST_F(AuditTest, TakesWhatADeadPublisherDroppedFromTheRing) {
  link_.publisher.left = SideEvent::kDied;
  link_.subscriber.left = SideEvent::kClosed;
  link_.subscriber.counted = true;
  LinkLook look = Look(60, 70, Ring(70, 70));
  look.counters.set_dropped_full(10);  // when it was last asked
  look.ring.dropped = 30;
  v1::LinkAudit audit = Ended(look);
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_TRUE(audit.published_recounted());
  ExpectAmount(audit.counters().published(), 100, 100);
  ExpectAmount(audit.counters().drops(0).count(), 30, 30);
  // Where the ring says nothing, nobody knows.
  look.ring.trouble = "nonsense";
  link_.progress.quarantined = true;
  EXPECT_EQ(Ended(look).verdict(), Verdict::BOUNDS);
}

TEST_F(AuditTest, FindsDropsThatTheRingContradicts) {
  LinkLook look = Look(100, 60, Ring(70, 60));
  look.counters.set_dropped_full(30);
  look.ring.dropped = 32;
  EXPECT_EQ(Live(look).verdict(), Verdict::WRONG);
  EXPECT_THAT(Live(look).detail(), HasSubstr("30 without room, the ring says 32"));
  look.ring.dropped = 29;  // told a moment before it is counted, or after
  EXPECT_EQ(Live(look).verdict(), Verdict::EXACT);
}

TEST_F(AuditTest, WhatIsLeftUnreadMayLieBehindWhatWasDropped) {
  link_.publisher.left = link_.subscriber.left = SideEvent::kClosed;
  link_.publisher.counted = link_.subscriber.counted = true;
  LinkLook look = Look(100, 20, Ring(50, 20));
  look.counters.set_dropped_full(50);
  look.ring.dropped = 50;
  const v1::LinkAudit audit = Ended(look);
  ASSERT_EQ(audit.counters().drops_size(), 2);
  EXPECT_EQ(audit.counters().drops(1).reason(), v1::Drop::SUBSCRIBER_CLOSED);
  ExpectAmount(audit.counters().drops(1).count(), 30, 30);
  EXPECT_EQ(audit.counters().drops(1).last_sequence(), 99u);
}

TEST_F(AuditTest, GivesWhatASubscriberLeftUnreadAReasonAndARange) {
  link_.publisher.left = SideEvent::kClosed;
  link_.publisher.counted = true;
  link_.subscriber.left = SideEvent::kClosed;
  link_.subscriber.counted = true;
  v1::LinkAudit audit = Ended(Look(100, 90, Ring(100, 90)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  for (const v1::Account* account : {&audit.counters(), &audit.ring()}) {
    ASSERT_EQ(account->drops_size(), 1);
    EXPECT_EQ(account->drops(0).reason(), v1::Drop::SUBSCRIBER_CLOSED);
    ExpectAmount(account->drops(0).count(), 10, 10);
    EXPECT_EQ(account->drops(0).first_sequence(), 90u);
    EXPECT_EQ(account->drops(0).last_sequence(), 99u);
    ExpectAmount(account->in_flight(), 0, 0);
  }
  link_.subscriber.left = SideEvent::kDied;
  link_.subscriber.counted = false;
  audit = Ended(Look(100, 0, Ring(100, 88)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().delivered(), 88, 88);
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::SUBSCRIBER_DIED);
  ExpectAmount(audit.counters().drops(0).count(), 12, 12);
  EXPECT_EQ(audit.counters().drops(0).first_sequence(), 88u);
  // One that had emptied its ring lost nothing.
  EXPECT_EQ(Ended(Look(100, 0, Ring(100, 100))).verdict(), Verdict::EXACT);
}

TEST_F(AuditTest, NothingIsInFlightToASubscriberThatHasLeftWhateverThePublisherDoes) {
  link_.subscriber.left = SideEvent::kClosed;
  link_.subscriber.counted = true;
  const auto expect_dropped = [](const v1::LinkAudit& audit, uint64_t least, uint64_t most) {
    ExpectAmount(audit.counters().in_flight(), 0, 0);
    ExpectAmount(audit.ring().in_flight(), 0, 0);
    ASSERT_EQ(audit.counters().drops_size(), 1);
    EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::SUBSCRIBER_CLOSED);
    ExpectAmount(audit.counters().drops(0).count(), least, most);
    ASSERT_EQ(audit.ring().drops_size(), 1);
    ExpectAmount(audit.ring().drops(0).count(), 10, 10);
  };
  // It has not heard of that as yet.
  v1::LinkAudit audit = Live(Look(100, 90, Ring(100, 90)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_FALSE(audit.ended());
  expect_dropped(audit, 10, 10);
  // It was evicted: it says nothing, and may write on.
  link_.publisher.left = SideEvent::kEvicted;
  audit = Ended(Look(60, 90, Ring(100, 90)));
  EXPECT_EQ(audit.verdict(), Verdict::BOUNDS);
  EXPECT_TRUE(audit.ended());
  EXPECT_FALSE(audit.published_recounted());
  ExpectAmount(audit.counters().published(), 100, 132);
  expect_dropped(audit, 10, 42);
  // It is proven dead.
  link_.publisher.left = SideEvent::kDied;
  audit = Ended(Look(60, 90, Ring(100, 90)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_TRUE(audit.published_recounted());
  expect_dropped(audit, 10, 10);
}

TEST_F(AuditTest, WhatAnEvictedSubscriberMayStillReadIsInFlight) {
  link_.publisher.left = SideEvent::kClosed;
  link_.publisher.counted = true;
  link_.subscriber.left = SideEvent::kEvicted;
  const v1::LinkAudit audit = Ended(Look(100, 0, Ring(100, 88)));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_FALSE(audit.ended());
  ExpectAmount(audit.counters().in_flight(), 12, 12);
  EXPECT_EQ(audit.counters().drops_size(), 0);
}

TEST_F(AuditTest, AccountsForAQuarantinedLinkAndBlamesAnyOther) {
  RingReading nonsense;
  nonsense.still = true;
  nonsense.trouble = "its head 4 is no multiple of 8";
  EXPECT_EQ(Live(Look(100, 90, nonsense)).verdict(), Verdict::WRONG);
  EXPECT_THAT(Live(Look(100, 90, nonsense)).detail(), HasSubstr("its head 4"));
  link_.progress.quarantined = true;
  link_.publisher.left = SideEvent::kClosed;
  link_.subscriber.left = SideEvent::kCorrupt;
  link_.publisher.counted = link_.subscriber.counted = true;
  const v1::LinkAudit audit = Ended(Look(100, 90, nonsense));
  EXPECT_EQ(audit.verdict(), Verdict::EXACT);
  EXPECT_THAT(audit.detail(), HasSubstr("its head 4"));
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::CORRUPT);
  ExpectAmount(audit.counters().drops(0).count(), 10, 10);
}

TEST(EndedLinksTest, KeepsTheLast1024) {
  EndedLinks ended;
  for (uint64_t i = 0; i < 1030; ++i) {
    v1::LinkAudit audit;
    audit.mutable_link()->set_link_id(i);
    ended.Add(audit);
  }
  ASSERT_EQ(ended.audits().size(), 1024u);
  EXPECT_EQ(ended.audits().front().link().link_id(), 6u);
  EXPECT_EQ(ended.audits().back().link().link_id(), 1029u);
}

}  // namespace
}  // namespace ivmq::control
