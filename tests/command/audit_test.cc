#include "sdk/command/audit.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ivmq::command {
namespace {

void Set(v1::Amount* amount, uint64_t least, uint64_t most) {
  amount->set_least(least);
  amount->set_most(most);
}

v1::LinkAudit Sample() {
  v1::LinkAudit audit;
  audit.mutable_link()->set_link_id(7);
  audit.mutable_link()->set_topic("a.b");
  audit.mutable_link()->set_publisher_node("cam");
  audit.mutable_link()->set_subscriber_node("view");
  audit.mutable_link()->set_subscriber_peer_id(2);
  audit.mutable_link()->set_state(v1::Link::UP);
  audit.set_verdict(v1::LinkAudit::EXACT);
  Set(audit.mutable_counters()->mutable_published(), 10, 10);
  Set(audit.mutable_counters()->mutable_delivered(), 7, 7);
  Set(audit.mutable_counters()->mutable_in_flight(), 3, 3);
  return audit;
}

TEST(AuditTest, ShowsALinkAndItsAccounts) {
  v1::LinkAudit audit = Sample();
  EXPECT_EQ(AuditLines(audit),
            (std::vector<std::string>{"link 7 a.b, cam@0 to view@2, up: adds up",
                                      "  counters: 10 = 7 delivered + 3 in flight, exact"}));
  audit.mutable_link()->set_kind(v1::Link::REPLY);
  Set(audit.mutable_ring()->mutable_published(), 10, 10);
  EXPECT_EQ(AuditLines(audit)[0], "link 7 replies of a.b, cam@0 to view@2, up: adds up");
  EXPECT_EQ(AuditLines(audit)[2], "  ring:     10 = 0 delivered + 0 in flight, exact");
}

TEST(AuditTest, ShowsBoundsReasonsAndWhatIsWrong) {
  v1::LinkAudit audit = Sample();
  audit.set_ended(true);
  audit.set_verdict(v1::LinkAudit::BOUNDS);
  audit.set_published_recounted(true);
  audit.set_detail("why");
  Set(audit.mutable_counters()->mutable_delivered(), 4, 10);
  Set(audit.mutable_counters()->mutable_in_flight(), 0, 0);
  v1::Drop* drop = audit.mutable_counters()->add_drops();
  drop->set_reason(v1::Drop::SUBSCRIBER_DIED);
  Set(drop->mutable_count(), 0, 6);
  drop->set_first_sequence(4);
  drop->set_last_sequence(9);
  EXPECT_EQ(AuditLines(audit),
            (std::vector<std::string>{
                "link 7 a.b, cam@0 to view@2, ended: within bounds (why)",
                "  counters: 10 = between 4 and 10 delivered + between 0 and 6 dropped: subscriber "
                "died (of 4 to 9) + 0 in flight (the publisher died; counted in the ring)"}));
  audit.set_verdict(v1::LinkAudit::WRONG);
  EXPECT_EQ(AuditLines(audit)[0], "link 7 a.b, cam@0 to view@2, ended: DOES NOT ADD UP (why)");
}

}  // namespace
}  // namespace ivmq::command
