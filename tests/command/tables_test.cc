#include "sdk/command/tables.h"

#include <gtest/gtest.h>

namespace ivmq::command {
namespace {

TEST(TablesTest, SaysForHowLongASubscriberHasLeftMessagesUnread) {
  v1::Link link;
  link.set_state(v1::Link::UP);
  v1::LinkCounters* counters = link.mutable_counters();
  counters->set_subscriber_answered(true);
  counters->set_published(10);
  counters->set_delivered(7);
  counters->set_read_age_ms(999);
  EXPECT_EQ(LinkStateText(link), "up");
  counters->set_read_age_ms(12'000);
  EXPECT_EQ(LinkStateText(link), "up, last read 12s ago");
  counters->set_overwritten(3);  // nothing is left to read
  EXPECT_EQ(LinkStateText(link), "up");
  counters->set_overwritten(2);
  counters->set_subscriber_answered(false);
  EXPECT_EQ(LinkStateText(link), "up, last read 12s ago, does not answer");
  counters->set_read_age_ms(0);  // it has left
  EXPECT_EQ(LinkStateText(link), "up");
  link.set_state(v1::Link::CLOSING);
  link.set_reason("one side died");
  EXPECT_EQ(LinkStateText(link), "closing: one side died");
}

TEST(TablesTest, TellsLinksOfServicesFromThoseOfTopics) {
  v1::Link link;
  link.set_topic("a.b");
  EXPECT_EQ(LinkTopicText(link), "a.b");
  link.set_kind(v1::Link::TOPIC);
  EXPECT_EQ(LinkTopicText(link), "a.b");
  link.set_kind(v1::Link::REQUEST);
  EXPECT_EQ(LinkTopicText(link), "requests of a.b");
  link.set_kind(v1::Link::REPLY);
  EXPECT_EQ(LinkTopicText(link), "replies of a.b");
}

}  // namespace
}  // namespace ivmq::command
