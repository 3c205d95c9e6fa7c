// Whom the agent reports dead to control, and when.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sdk/agent/process.h"
#include "tests/agent/agent_fixture.h"

namespace ivmq::agent {
namespace {

using ProcessDeathTest = AgentFixture;

TEST_F(ProcessDeathTest, PassesOnWhatADeadProcessSaidAndThenItsDeath) {
  StartConnected();
  Client client = Attach();
  constexpr uint64_t kLast = 200;
  for (uint64_t i = 1; i <= kLast; ++i) {
    v1::NodeRequest request;
    request.set_request_id(i);
    request.mutable_link_attached()->set_link_id(i);
    client.Say(request);
  }
  client.Die();
  ASSERT_TRUE(SessionHas(0, v1::NodeRequest::kExited));
  const FakeControl::Session session = SessionAt(0);
  ASSERT_EQ(session.requests.size(), kLast + 2);
  for (uint64_t i = 1; i <= kLast; ++i) EXPECT_EQ(session.requests[i].request_id(), i);
  const v1::ProcessExited& exited = session.requests.back().exited();
  EXPECT_EQ(exited.connection_id(), client.attached.welcome.connection_id);
  EXPECT_EQ(exited.session_nonce(), 1001U);
  EXPECT_TRUE(Eventually([&] { return control_.sessions()[0].half_closed; }));
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

TEST_F(ProcessDeathTest, DoesNotCallAClosedChannelADeath) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  client.channel.reset();
  Client other = Attach();
  other.SayHello();
  other.Hear();
  EXPECT_FALSE(SessionAt(0).Has(v1::NodeRequest::kExited));
  client.Die();
  EXPECT_TRUE(SessionHas(0, v1::NodeRequest::kExited));
}

TEST_F(ProcessDeathTest, ForgetsAProcessThatDiesWithoutReading) {
  StartConnected();
  control_.set_flood(4000, 2000);
  Client slow = Attach();
  v1::NodeRequest watch;
  watch.mutable_watch();
  slow.Say(watch);
  slow.Hear();
  slow.Die();
  EXPECT_TRUE(SessionHas(0, v1::NodeRequest::kExited));
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

TEST_F(ProcessDeathTest, ReportsInTheNextSessionWhoDiedWithoutControl) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  control_.set_accepts(false);
  control_.DropStreams();
  EXPECT_TRUE(client.ChannelEnds());
  client.Die();
  control_.set_accepts(true);
  ASSERT_TRUE(SessionHas(1, v1::NodeRequest::kExited));
  const FakeControl::Session report = SessionAt(1);
  ASSERT_EQ(report.requests.size(), 2U);
  const uint64_t id = client.attached.welcome.connection_id;
  EXPECT_EQ(report.requests[0].attached().connection_id(), id);
  EXPECT_EQ(report.requests[0].attached().session_nonce(), 1002U);
  EXPECT_EQ(report.requests[1].exited().connection_id(), id);
  EXPECT_EQ(report.requests[1].exited().session_nonce(), 1002U);
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

TEST_F(ProcessDeathTest, GivesAProcessThatLostItsSessionNoNewOneButReportsItsDeath) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  control_.DropStreams();
  EXPECT_TRUE(client.ChannelEnds());
  EXPECT_TRUE(Eventually([&] { return control_.hellos_accepted() == 2; }));
  Client other = Attach();
  other.SayHello();
  other.Hear();
  EXPECT_EQ(control_.sessions().size(), 2U);  // one each
  client.Die();
  EXPECT_TRUE(SessionHas(2, v1::NodeRequest::kExited));
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 1; }));
}

TEST_F(ProcessDeathTest, ReportsTheDeathOfAProcessWhoseSessionItHadClosed) {
  StartConnected();
  Client client = Attach();
  ASSERT_TRUE(client.channel->Send("\xff\xff\xff no request").ok());
  EXPECT_TRUE(client.ChannelEnds());
  client.Die();
  EXPECT_TRUE(Eventually([&] {
    // The first call may end before control has seen it begin.
    const auto sessions = control_.sessions();
    return !sessions.empty() && sessions.back().Has(v1::NodeRequest::kExited);
  }));
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

TEST_F(ProcessDeathTest, AwaitsTheDeathOfAProcessThatEndsItsConnectionAndLives) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  ASSERT_EQ(::shutdown(client.attached.connection.get(), SHUT_RDWR), 0);
  EXPECT_TRUE(client.ChannelEnds());
  Client other = Attach();
  other.SayHello();
  other.Hear();
  for (const FakeControl::Session& session : control_.sessions()) {
    EXPECT_FALSE(session.Has(v1::NodeRequest::kExited));
  }
  client.Die();
  EXPECT_TRUE(SessionHas(2, v1::NodeRequest::kExited));
  EXPECT_EQ(SessionAt(2).requests[0].attached().connection_id(),
            client.attached.welcome.connection_id);
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 1; }));
}

TEST_F(ProcessDeathTest, ForgetsAProcessThatLeavesInGoodOrderAndLives) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  v1::NodeRequest goodbye;
  goodbye.set_request_id(2);
  goodbye.mutable_goodbye();
  client.Say(goodbye);
  EXPECT_TRUE(client.Hear().has_done());
  client.channel.reset();
  client.attached.connection.Reset();
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

}  // namespace
}  // namespace ivmq::agent
