// Audit beside a real ivmqd and real processes that are killed.
#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "tests/control/admin_client.h"
#include "tests/control/test_node.h"
#include "tests/sdk/daemon.h"
#include "transport/unix_socket.h"

namespace ivmq::control {
namespace {

constexpr int kCount = 1000;

class AuditSystemTest : public testing::Test {
 protected:
  static AdminClient Operator(const test::Daemon& daemon) {
    auto socket = transport::ConnectUnix(daemon.admin_socket(), transport::UnixSocketType::kStream,
                                         std::chrono::steady_clock::now() + kPatience);
    if (!socket.ok()) throw std::runtime_error(socket.status().message());
    return AdminClient(std::move(socket).value());
  }
  test::Child Start(const std::string& mode, int count = kCount) {
    return test::Child(
        {"system_test_node", daemon_.node_socket(), mode, "t", std::to_string(count)});
  }
  v1::LinkAudit Final() {
    v1::AuditResponse audited;
    EXPECT_TRUE(WaitUntil([&] {
      audited = admin_.Audit();
      return audited.links_size() == 1 && audited.links(0).ended();
    }));
    return audited.links_size() == 0 ? v1::LinkAudit() : audited.links(0);
  }

  test::Daemon daemon_;
  AdminClient admin_ = Operator(daemon_);
};

TEST_F(AuditSystemTest, AccountsForAllThatAKilledPublisherWrote) {
  test::Child subscriber = Start("sub");
  ASSERT_EQ(subscriber.ReadLine(), "ready");
  subscriber.Signal(SIGSTOP);  // so that it closes nothing before the publisher is dead
  test::Child publisher = Start("give");
  ASSERT_EQ(publisher.ReadLine(), "sent 1000");
  publisher.Signal(SIGKILL);
  publisher.Wait();
  subscriber.Signal(SIGCONT);
  EXPECT_EQ(subscriber.ReadLine(), "received 1000");
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), v1::LinkAudit::EXACT) << audit.DebugString();
  EXPECT_TRUE(audit.published_recounted());
  EXPECT_EQ(audit.counters().published().least(), 1000u);
  EXPECT_EQ(audit.counters().delivered().most(), 1000u);
}

TEST_F(AuditSystemTest, KnowsToTheMessageWhatAKilledSubscriberHadReceived) {
  test::Child subscriber = Start("take", 601);
  ASSERT_EQ(subscriber.ReadLine(), "ready");
  test::Child publisher = Start("give");
  ASSERT_EQ(publisher.ReadLine(), "sent 1000");
  ASSERT_EQ(subscriber.ReadLine(), "received 601");
  subscriber.Signal(SIGKILL);
  ASSERT_EQ(publisher.ReadLine(), "closed");
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), v1::LinkAudit::EXACT) << audit.DebugString();
  EXPECT_EQ(audit.counters().published().least(), 1000u);
  EXPECT_EQ(audit.counters().delivered().least(), 601u);
  EXPECT_EQ(audit.counters().delivered().most(), 601u);
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::SUBSCRIBER_DIED);
  EXPECT_EQ(audit.counters().drops(0).count().least(), 399u);
  EXPECT_EQ(audit.counters().drops(0).count().most(), 399u);
  EXPECT_EQ(audit.counters().drops(0).first_sequence(), 601u);
}

TEST_F(AuditSystemTest, AccountsForWhatAKilledPublisherWroteAfterItWasLastAsked) {
  test::Child subscriber = Start("sub");
  ASSERT_EQ(subscriber.ReadLine(), "ready");
  subscriber.Signal(SIGSTOP);
  test::Child publisher = Start("asked-give");
  ASSERT_EQ(publisher.ReadLine(), "sent 10");
  EXPECT_EQ(admin_.Links().links(0).counters().published(), 10u);
  ASSERT_EQ(publisher.ReadLine(), "sent 1000");
  publisher.Signal(SIGKILL);
  publisher.Wait();
  subscriber.Signal(SIGCONT);
  EXPECT_EQ(subscriber.ReadLine(), "received 1000");
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), v1::LinkAudit::EXACT) << audit.DebugString();
  EXPECT_EQ(audit.counters().published().least(), 1000u);
}

TEST_F(AuditSystemTest, KnowsWhatAKilledSubscriberReceivedAfterItWasLastAsked) {
  test::Child subscriber = Start("asked-take", 601);
  ASSERT_EQ(subscriber.ReadLine(), "ready");
  test::Child publisher = Start("give");
  ASSERT_EQ(publisher.ReadLine(), "sent 1000");
  ASSERT_EQ(subscriber.ReadLine(), "received 10");
  EXPECT_EQ(admin_.Links().links(0).counters().delivered(), 10u);
  ASSERT_EQ(subscriber.ReadLine(), "received 601");
  subscriber.Signal(SIGKILL);
  ASSERT_EQ(publisher.ReadLine(), "closed");
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), v1::LinkAudit::EXACT) << audit.DebugString();
  EXPECT_EQ(audit.counters().delivered().least(), 601u);
  EXPECT_EQ(audit.counters().drops(0).count().most(), 399u);
}

}  // namespace
}  // namespace ivmq::control
