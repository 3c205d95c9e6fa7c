// The exit status of `ivmq audit`, where all adds up and where a node tells what is not true.

#include <gmock/gmock.h>

#include <string>

#include "tests/command/command_fixture.h"

namespace ivmq::command {
namespace {

using testing::HasSubstr;

class AuditFailsTest : public CommandFixture {
 protected:
  // Ten messages of a publisher of that kind, all read; returns when the link has ended.
  void Exchange(const std::string& kind, const std::string& topic) {
    test::Child subscriber({"system_test_node", daemon_.node_socket(), "sub", topic, "10"});
    ASSERT_EQ(subscriber.ReadLine(), "ready");
    test::Child publisher({"system_test_node", daemon_.node_socket(), kind, topic, "10"});
    ASSERT_EQ(publisher.ReadLine(), "sent 10");
    ASSERT_EQ(subscriber.ReadLine(), "received 10");
    ASSERT_EQ(publisher.ReadLine(), "closed");
    ASSERT_EQ(subscriber.Wait(), 0);
    ASSERT_EQ(publisher.Wait(), 0);
  }
};

TEST_F(AuditFailsTest, ItIsADoneAuditWhereEveryLinkAddsUp) {
  Exchange("give", "honest");
  const Finished audit = Run({"audit"});
  EXPECT_EQ(audit.exit_code, 0);
  EXPECT_THAT(audit.out, HasSubstr("ended: adds up"));
  EXPECT_EQ(audit.err, "");
}

TEST_F(AuditFailsTest, ItFailsAndNamesTheLinkThatDoesNotAddUp) {
  Exchange("give", "honest");
  Exchange("boast", "boast");
  const Finished audit = Run({"audit"});
  EXPECT_EQ(audit.exit_code, 1);
  EXPECT_THAT(audit.out, HasSubstr("ended: adds up"));
  EXPECT_THAT(audit.out, HasSubstr("ended: DOES NOT ADD UP (the publisher counted 11 into the "
                                   "ring, the ring holds 10)"));
  EXPECT_THAT(audit.err, HasSubstr("(boast) does not add up: the publisher counted 11"));
  EXPECT_THAT(audit.err, testing::Not(HasSubstr("honest")));
  const Finished json = Run({"audit", "--topic", "boast", "--json"});
  EXPECT_EQ(json.exit_code, 1);
  ASSERT_EQ(json.Lines().size(), 1u);
  EXPECT_EQ(ParseJson<v1::LinkAudit>(json.Lines()[0]).verdict(), v1::LinkAudit::WRONG);
  EXPECT_EQ(Run({"audit", "--topic", "honest"}).exit_code, 0);
}

}  // namespace
}  // namespace ivmq::command
