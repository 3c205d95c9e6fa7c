#include "sdk/agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "tests/agent/agent_thread.h"
#include "tests/agent/fake_control.h"
#include "transport/attach_client.h"
#include "transport/frame_channel.h"

namespace ivmq::agent {
namespace {

using testing::HasSubstr;
using transport::Attached;
using transport::Eventually;
using transport::FrameChannel;
using transport::LocalRealm;
using transport::Soon;

// A device whose interrupts do not reach user space, as through sysfs.
class PollingDevice : public transport::Device {
 public:
  explicit PollingDevice(std::shared_ptr<transport::Device> device) : device_(std::move(device)) {}
  std::span<std::byte> region() const override { return device_->region(); }
  uint32_t peer_id() const override { return device_->peer_id(); }
  uint32_t vector_count() const override { return 0; }
  int vector_fd(uint32_t) const override { return -1; }
  transport::Result<transport::Doorbell> OpenDoorbell(uint32_t peer,
                                                      uint32_t vector) const override {
    return device_->OpenDoorbell(peer, vector);
  }
  transport::Status Lend(uint32_t vector, transport::AttachMessage* welcome,
                         std::vector<int>* fds) const override {
    return device_->Lend(vector, welcome, fds);
  }
  std::string description() const override { return "polling"; }

 private:
  const std::shared_ptr<transport::Device> device_;
};

// Lends what an agent lends: a region and a doorbell register, here a page that nobody looks at.
class LendingDevice : public PollingDevice {
 public:
  LendingDevice(std::shared_ptr<transport::MemfdDevice> device, bool interrupts)
      : PollingDevice(device),
        device_(std::move(device)),
        interrupts_(interrupts),
        page_(LocalRealm::Must(transport::CreateRegionMemfd("doorbell", 1 << 20, false))) {}
  uint32_t vector_count() const override { return interrupts_ ? device_->vector_count() : 0; }
  int vector_fd(uint32_t vector) const override {
    return interrupts_ ? device_->vector_fd(vector) : -1;
  }
  transport::Status Lend(uint32_t vector, transport::AttachMessage* welcome,
                         std::vector<int>* fds) const override {
    welcome->region_access = transport::RegionAccess::kSysfs;
    welcome->doorbell_access = transport::DoorbellAccess::kMmap;
    welcome->region_bytes = device_->region().size();
    welcome->peer_id = device_->peer_id();
    welcome->has_wake_fd = interrupts_ ? 1 : 0;
    fds->assign({device_->region_fd(), page_.get()});
    if (interrupts_) fds->push_back(device_->vector_fd(vector));
    return transport::Status();
  }

 private:
  const std::shared_ptr<transport::MemfdDevice> device_;
  const bool interrupts_;
  const transport::UniqueFd page_;
};

class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    std::string pattern = "/tmp/ivmq-agent.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    vm_ = control_.AddVm(1);
  }
  ~AgentTest() override {
    agent_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::string socket() const { return directory_ + "/node.sock"; }

  void Start(bool interrupts = true) {
    agent_.emplace(std::make_shared<LendingDevice>(vm_, interrupts), options());
  }
  Agent::Options options() const { return {.node_socket = socket()}; }

  void StartConnected(bool interrupts = true) {
    control_.Announce(1);
    Start(interrupts);
    ASSERT_TRUE(Eventually([this] { return agent_->connected(); }));
  }

  struct Client {
    Attached attached;
    std::optional<FrameChannel> channel;

    void Say(const v1::NodeRequest& request) {
      const transport::Status sent = channel->Send(request.SerializeAsString());
      EXPECT_TRUE(sent.ok()) << sent.message();
    }
    void SayHello() {
      v1::NodeRequest request;
      request.set_request_id(1);
      request.mutable_hello()->set_node_name("tester");
      Say(request);
    }
    v1::NodeEvent Hear() {
      FrameChannel::Frame frame;
      v1::NodeEvent event;
      const transport::Status status = channel->ReceiveUntil(Soon(), &frame);
      EXPECT_TRUE(status.ok()) << status.message();
      EXPECT_TRUE(event.ParseFromString(frame.payload));
      return event;
    }
    bool ChannelEnds() {
      FrameChannel::Frame frame;
      transport::Status status;
      do {
        status = channel->ReceiveUntil(Soon(), &frame);
      } while (status.ok());
      return status.code() == transport::Code::kUnavailable;
    }
    void Die() {
      channel.reset();
      attached.connection.Reset();
    }
  };

  Client Attach() {
    Client client{LocalRealm::Must(transport::Attach(socket(), Soon())), std::nullopt};
    client.channel.emplace(std::move(client.attached.channel));
    return client;
  }

  FakeControl::Session SessionAt(size_t index) {
    Eventually([&] { return control_.sessions().size() > index; });
    return control_.sessions().at(index);
  }
  bool SessionHas(size_t index, v1::NodeRequest::RequestCase what) {
    return Eventually([&] {
      const auto sessions = control_.sessions();
      return sessions.size() > index && sessions[index].Has(what);
    });
  }

  std::string directory_;
  FakeControl control_;
  std::shared_ptr<transport::MemfdDevice> vm_;
  std::optional<AgentThread> agent_;
};

TEST_F(AgentTest, FindsControlAndShowsThatItLives) {
  StartConnected();
  EXPECT_EQ(control_.hellos_accepted(), 1U);
  const uint64_t beat = control_.heartbeat_of(1);
  EXPECT_TRUE(Eventually([&] { return control_.heartbeat_of(1) > beat + 1; }));
}

TEST_F(AgentTest, WaitsForItsEntryInThePeerTable) {
  Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_FALSE(agent_->connected());
  control_.Announce(1);
  EXPECT_TRUE(Eventually([this] { return agent_->connected(); }));
}

TEST_F(AgentTest, RingsAgainUntilControlListens) {
  control_.set_accepts(false);
  control_.Announce(1);
  Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
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

TEST_F(AgentTest, PassesOnWhatADeadProcessSaidAndThenItsDeath) {
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

TEST_F(AgentTest, DoesNotCallAClosedChannelADeath) {
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

TEST_F(AgentTest, ForgetsAProcessThatDiesWithoutReading) {
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
  control_.DropStreams();
  EXPECT_TRUE(client.ChannelEnds());
  EXPECT_TRUE(Eventually([&] { return control_.hellos_accepted() == 2; }));

  Client another = Attach();
  another.SayHello();
  EXPECT_TRUE(another.Hear().has_welcome());
  EXPECT_EQ(SessionAt(1).requests[0].attached().session_nonce(), 1002U);
}

TEST_F(AgentTest, ReportsInTheNextSessionWhoDiedWithoutControl) {
  StartConnected();
  Client client = Attach();
  client.SayHello();
  client.Hear();
  control_.set_accepts(false);
  control_.DropStreams();
  EXPECT_TRUE(client.ChannelEnds());
  client.Die();
  EXPECT_EQ(agent_->processes(), 1U);
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

TEST_F(AgentTest, GivesAProcessThatLostItsSessionNoNewOneButReportsItsDeath) {
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

TEST_F(AgentTest, ReportsTheDeathOfAProcessWhoseSessionItHadClosed) {
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

TEST_F(AgentTest, ASecondAgentOfTheSameMachineIsHeardAnew) {
  StartConnected();
  agent_.reset();
  Start();
  EXPECT_TRUE(Eventually([&] { return control_.hellos_accepted() == 2; }));
  EXPECT_TRUE(Eventually([&] { return agent_->connected(); }));
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
