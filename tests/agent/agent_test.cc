#include "sdk/agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "tests/agent/agent_fixture.h"

namespace ivmq::agent {
namespace {

using testing::HasSubstr;

using AgentTest = AgentFixture;

// Each time it wakes it looks for its entry, and for an answer.
constexpr uint64_t kTries = 3;

TEST_F(AgentTest, FindsControlAndShowsThatItLives) {
  StartConnected();
  EXPECT_EQ(control_.hellos_accepted(), 1U);
  const uint64_t beat = control_.heartbeat_of(1);
  EXPECT_TRUE(Eventually([&] { return control_.heartbeat_of(1) > beat + 1; }));
}

TEST_F(AgentTest, WaitsForItsEntryInThePeerTable) {
  Start();
  ASSERT_TRUE(Eventually([this] { return agent_->wakeups() > kTries; }));
  EXPECT_FALSE(agent_->connected());
  control_.Announce(1);
  EXPECT_TRUE(Eventually([this] { return agent_->connected(); }));
}

TEST_F(AgentTest, RingsAgainUntilControlListens) {
  control_.set_accepts(false);
  control_.Announce(1);
  Start();
  ASSERT_TRUE(Eventually([this] { return agent_->wakeups() > kTries; }));
  EXPECT_FALSE(agent_->connected());
  control_.set_accepts(true);
  EXPECT_TRUE(Eventually([this] { return agent_->connected(); }));
}

TEST_F(AgentTest, TellsNewcomersThatThereIsNoControl) {
  Start();
  const auto attached =
      transport::Attach(socket(), std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
  ASSERT_FALSE(attached.ok());
  EXPECT_EQ(attached.status().code(), transport::Code::kUnavailable);
  EXPECT_THAT(attached.status().message(), HasSubstr("no contact to ivmqd"));
  EXPECT_THAT(attached.status().message(), HasSubstr("restart the VM"));
}

TEST_F(AgentTest, CarriesASessionBothWays) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  const v1::NodeEvent event = client.Hear();
  EXPECT_EQ(event.request_id(), 1U);
  EXPECT_EQ(event.welcome().node_id(), 7U);

  const FakeControl::Session session = SessionAt(0);
  ASSERT_EQ(session.requests.size(), 2U);
  const v1::AttachedProcess& attached = session.requests[0].attached();
  EXPECT_EQ(attached.pid(), ::getpid());
  EXPECT_EQ(attached.uid(), ::getuid());
  EXPECT_EQ(attached.start_time(), transport::ProcessStartTime(::getpid()));
  EXPECT_EQ(attached.connection_id(), client.attached.welcome.connection_id);
  EXPECT_EQ(attached.vector(), client.attached.welcome.vector);
  EXPECT_TRUE(attached.interrupts());
  EXPECT_EQ(attached.session_nonce(), 1001U);
  EXPECT_EQ(session.requests[1].hello().node_name(), "tester");
}

TEST_F(AgentTest, KeepsVectorZeroForItself) {
  StartConnected();
  ASSERT_EQ(vm_->vector_count(), 2U);
  const Client one = Attach();
  const Client two = Attach();
  EXPECT_EQ(one.attached.welcome.vector, 1U);
  EXPECT_EQ(two.attached.welcome.vector, 1U);
}

TEST_F(AgentTest, CarriesASessionByPolling) {
  StartConnected(false);
  Client client = Attach();
  EXPECT_EQ(client.attached.device->vector_count(), 0U);
  client.SayHello();
  EXPECT_TRUE(client.Hear().has_welcome());
  EXPECT_FALSE(SessionAt(0).requests[0].attached().interrupts());
}

TEST_F(AgentTest, RefusesClaimsThatOnlyItMayMake) {
  StartConnected();
  Client liar = Attach();
  v1::NodeRequest request;
  request.mutable_exited()->set_connection_id(1);
  liar.Say(request);
  EXPECT_TRUE(liar.ChannelEnds());
  EXPECT_FALSE(SessionAt(0).Has(v1::NodeRequest::kExited));

  Client impostor = Attach();
  request.mutable_attached()->set_pid(1);
  impostor.Say(request);
  EXPECT_TRUE(impostor.ChannelEnds());
  // At most what the agent itself said of the process; the call may end before that is read.
  for (const v1::NodeRequest& heard : SessionAt(1).requests) EXPECT_NE(heard.attached().pid(), 1);

  Client honest = Attach();
  honest.SayHello();
  EXPECT_TRUE(honest.Hear().has_welcome());
}

TEST_F(AgentTest, ClosesTheSessionOfAProcessThatTalksNonsense) {
  StartConnected();
  Client client = Attach();
  ASSERT_TRUE(client.channel->Send("\xff\xff\xff no request").ok());
  EXPECT_TRUE(client.ChannelEnds());
  client.Die();
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

TEST_F(AgentTest, HoldsControlBackForAProcessThatDoesNotRead) {
  StartConnected();
  constexpr uint32_t kEvents = 4000;
  control_.set_flood(kEvents, 2000);
  Client slow = Attach();
  v1::NodeRequest watch;
  watch.mutable_watch();
  slow.Say(watch);
  // Others are served meanwhile.
  for (int i = 0; i < 20; ++i) {
    Client other = Attach();
    other.SayHello();
    EXPECT_TRUE(other.Hear().has_welcome());
  }
  for (uint32_t i = 0; i < kEvents; ++i) ASSERT_EQ(slow.Hear().request_id(), i);
}

TEST_F(AgentTest, EndsAProcessesChannelWhenControlEndsItsSession) {
  StartConnected();
  Client client = Attach();
  v1::NodeRequest request;
  request.mutable_goodbye();
  client.Say(request);
  EXPECT_TRUE(client.Hear().has_done());
  EXPECT_TRUE(client.ChannelEnds());
  client.Die();
  EXPECT_TRUE(Eventually([&] { return agent_->processes() == 0; }));
}

TEST_F(AgentTest, SaysANewHelloWhenTheStreamBreaks) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  // Processes that lost their session see by this that they can open a new one.
  const auto long_ago = std::filesystem::last_write_time(socket()) - std::chrono::hours(1);
  std::filesystem::last_write_time(socket(), long_ago);
  control_.DropStreams();
  EXPECT_TRUE(client.ChannelEnds());
  EXPECT_TRUE(Eventually([&] { return control_.hellos_accepted() == 2; }));
  EXPECT_TRUE(Eventually([&] { return std::filesystem::last_write_time(socket()) > long_ago; }));

  Client another = Attach();
  another.SayHello();
  EXPECT_TRUE(another.Hear().has_welcome());
  EXPECT_EQ(SessionAt(1).requests[0].attached().session_nonce(), 1002U);
}

TEST_F(AgentTest, ASecondAgentOfTheSameMachineIsHeardAnew) {
  StartConnected();
  agent_.reset();
  Start();
  EXPECT_TRUE(Eventually([&] { return control_.hellos_accepted() == 2; }));
  EXPECT_TRUE(Eventually([&] { return agent_->connected(); }));
}

TEST_F(AgentTest, TakesItsSocketAwayAtItsEnd) {
  StartConnected();
  EXPECT_TRUE(std::filesystem::exists(socket()));
  agent_.reset();
  EXPECT_FALSE(std::filesystem::exists(socket()));
}

TEST_F(AgentTest, WhoMayAttachIsWhatItWasTold) {
  const auto access_of = [this](const Agent::Options& wish) {
    const auto agent = Agent::Create(LocalRealm::Must(transport::EventLoop::Create()), vm_, wish);
    struct stat about {};
    EXPECT_EQ(::stat(socket().c_str(), &about), 0);
    return std::pair(about.st_mode & 07777, about.st_gid);
  };
  EXPECT_EQ(access_of(options()).first, 0666u);
  Agent::Options wish = options();
  wish.node_socket_access = {.mode = 0640, .group = ::getegid()};
  if (::geteuid() == 0) wish.node_socket_access.group = 65534;
  EXPECT_EQ(access_of(wish), std::pair(mode_t{0640}, *wish.node_socket_access.group));
}

TEST_F(AgentTest, MakesOneDirectoryForItsSocketAndNoMore) {
  Agent::Options wish = options();
  wish.node_socket = directory_ + "/run/node.sock";
  EXPECT_TRUE(
      Agent::Create(LocalRealm::Must(transport::EventLoop::Create()), vm_, wish).status().ok());
  wish.node_socket = directory_ + "/rnu/ivmq/node.sock";
  const auto mistyped =
      Agent::Create(LocalRealm::Must(transport::EventLoop::Create()), vm_, wish).status();
  EXPECT_EQ(mistyped.code(), transport::Code::kNotFound);
  EXPECT_THAT(mistyped.message(), HasSubstr(directory_ + "/rnu/ivmq"));
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/rnu"));
}

TEST_F(AgentTest, RefusesARegionOfAnotherLayoutVersion) {
  transport::HeaderOf(vm_->region())->layout_version = transport::kLayoutVersion + 1;
  auto loop = LocalRealm::Must(transport::EventLoop::Create());
  const auto agent = Agent::Create(std::move(loop), vm_, options());
  ASSERT_FALSE(agent.ok());
  EXPECT_EQ(agent.status().code(), transport::Code::kFailedPrecondition);
  EXPECT_THAT(agent.status().message(), HasSubstr(std::to_string(transport::kLayoutVersion)));
  EXPECT_THAT(agent.status().message(), HasSubstr(std::to_string(transport::kLayoutVersion + 1)));
}

TEST_F(AgentTest, RefusesARegionThatIsNotOurs) {
  transport::HeaderOf(vm_->region())->magic = 0x1234;
  auto loop = LocalRealm::Must(transport::EventLoop::Create());
  const auto agent = Agent::Create(std::move(loop), vm_, options());
  ASSERT_FALSE(agent.ok());
  EXPECT_EQ(agent.status().code(), transport::Code::kFailedPrecondition);
}

TEST_F(AgentTest, IsSilentWhenThereIsNothingToDo) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  // Lets whatever follows a session's start die down; then five seconds of nothing.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const uint64_t before = agent_->wakeups();
  std::this_thread::sleep_for(std::chrono::seconds(5));
  const uint64_t wakeups = agent_->wakeups() - before;
  EXPECT_LE(wakeups, 25U) << "in five seconds";
}

}  // namespace
}  // namespace ivmq::agent
