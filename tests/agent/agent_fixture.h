#ifndef IVMQ_TESTS_AGENT_AGENT_FIXTURE_H_
#define IVMQ_TESTS_AGENT_AGENT_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sdk/agent/agent.h"
#include "tests/agent/agent_thread.h"
#include "tests/agent/fake_control.h"
#include "transport/attach_client.h"
#include "transport/frame_channel.h"

namespace ivmq::agent {

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
        page_(LocalRealm::Must(transport::CreateRegionMemfd("doorbell", 1 << 20,
                                                            transport::RegionPages::kOnDemand))) {}
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

// Clients in this process that die one by one, as far as the agent can see.
class Lives {
 public:
  transport::Result<transport::UniqueFd> Open() {
    const std::lock_guard lock(mutex_);
    ends_.push_back(std::move(LocalRealm::Must(transport::CreateEventfds(1)).front()));
    return transport::UniqueFd(::dup(ends_.back().get()));
  }
  // Connections count from 1.
  void End(uint64_t connection_id) {
    const std::lock_guard lock(mutex_);
    const uint64_t one = 1;
    EXPECT_EQ(::write(ends_.at(connection_id - 1).get(), &one, sizeof(one)), 8);
  }

 private:
  std::mutex mutex_;
  std::vector<transport::UniqueFd> ends_;
};

// An agent with a stand-in of control, and clients that attach to it.
class AgentFixture : public testing::Test {
 protected:
  AgentFixture() {
    std::string pattern = "/tmp/ivmq-agent.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    vm_ = control_.AddVm(1);
  }
  ~AgentFixture() override {
    agent_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::string socket() const { return directory_ + "/node.sock"; }

  void Start(bool interrupts = true) {
    agent_.emplace(std::make_shared<LendingDevice>(vm_, interrupts), options());
  }
  Agent::Options options() {
    return {.node_socket = socket(),
            .open_process = [this](const transport::PeerProcess&) { return lives_.Open(); }};
  }

  void StartConnected(bool interrupts = true) {
    control_.Announce(1);
    Start(interrupts);
    ASSERT_TRUE(Eventually([this] { return agent_->connected(); }));
  }

  struct Client {
    Lives* lives;
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
      const uint64_t id = attached.welcome.connection_id;
      channel.reset();
      attached.connection.Reset();
      lives->End(id);
    }
  };

  Client Attach() {
    Client client{&lives_, LocalRealm::Must(transport::Attach(socket(), Soon())), std::nullopt};
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
  Lives lives_;
  FakeControl control_;
  std::shared_ptr<transport::MemfdDevice> vm_;
  std::optional<AgentThread> agent_;
};

}  // namespace ivmq::agent

#endif  // IVMQ_TESTS_AGENT_AGENT_FIXTURE_H_
