#ifndef IVMQ_TESTS_SDK_FAKE_CONTROL_H_
#define IVMQ_TESTS_SDK_FAKE_CONTROL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/v1/control.pb.h"
#include "transport/attach_server.h"
#include "transport/frame_channel.h"
#include "transport/memfd_device.h"
#include "transport/unique_fd.h"

namespace ivmq::test {

// A daemon inside the test: attach server, region and a control that matches every publisher with
// every subscriber of its topic, giving it what it asks for, and that misbehaves on demand. It
// never takes memory back.
//
// Threads: its own serves; all public members may be called from any.
class FakeControl {
 public:
  struct Link {
    uint64_t id = 0;
    std::string topic;
    uint64_t publisher_node = 0;
    uint64_t subscriber_node = 0;
    uint64_t publisher = 0;
    uint64_t subscriber = 0;
    uint64_t ring_offset = 0;
    uint64_t ring_capacity = 0;
    v1::Qos qos;        // agreed on
    uint64_t pair = 0;  // the other link of a client and a server
  };
  struct Options {
    uint64_t region_bytes = 16 << 20;
    bool answers_hello = true;
    bool answers_registrations = true;
    bool answers_watches = true;
    bool sends_link_ready = true;
    bool shares_ready_bytes = false;  // all links have those of the first one
  };

  FakeControl();
  explicit FakeControl(Options options);
  ~FakeControl();
  FakeControl(const FakeControl&) = delete;
  FakeControl& operator=(const FakeControl&) = delete;

  std::string socket_path() const { return directory_ + "/node.sock"; }
  // The region as everybody else sees it: for those who write nonsense into it.
  std::span<std::byte> region() const { return device_->region(); }

  // Everything that any node has sent, in order. Each waits until there is one that fits, up to a
  // minute, and fails the test otherwise.
  v1::NodeRequest AwaitRequest(const std::function<bool(const v1::NodeRequest&)>& fits);
  std::vector<v1::NodeRequest> requests() const;
  std::vector<Link> links() const;

  // From now on.
  void set_answers_registrations(bool answers);
  void set_sends_link_ready(bool sends);
  void set_shares_ready_bytes(bool shares) {
    const std::lock_guard lock(mutex_);
    options_.shares_ready_bytes = shares;
  }

  // To the node that came as number `node` (from 1).
  void SendEvent(uint64_t node, const v1::NodeEvent& event);
  // Tells one side of that link once more.
  void RepeatLinkUp(const Link& link, bool publisher);
  // Both sides' node learns that the link is down.
  void BreakLink(const Link& link);
  // As control dying: every channel is closed, the attach connections stay.
  void Die();
  // As the whole daemon dying.
  void DieWithKeeper();

 private:
  struct NodeState {
    uint64_t connection = 0;
    std::unique_ptr<transport::FrameChannel> channel;
    uint32_t vector = 0;
    uint64_t wake_offset = 0;
  };
  struct EndpointState {
    uint64_t id = 0;
    uint64_t node = 0;
    bool publishes = false;  // a client does as well
    bool of_service = false;
    std::string topic;
    v1::Qos qos;
  };

  void Serve();
  void OnAttached(transport::AttachServer::Client client);
  void OnGone(uint64_t connection);
  void OnReadable(uint64_t node);
  void OnRequest(uint64_t node, const v1::NodeRequest& request);
  void OnHello(uint64_t node, uint64_t request_id);
  void OnRegister(uint64_t node, const v1::NodeRequest& request);
  void OnUnregister(uint64_t id);
  void OnDescribe(uint64_t node, const v1::NodeRequest& request);
  Link MakeLink(const EndpointState& publisher, const EndpointState& subscriber);
  void MakePair(const EndpointState& client, const EndpointState& server);
  void AnswerRegister(uint64_t request_id, const v1::NodeRequest& request,
                      const EndpointState& endpoint, uint32_t links);
  void TellLinkUp(const Link& link, bool publisher);
  void FillWake(v1::WakeAddress* wake, uint64_t node, uint64_t ready_offset);
  void SendLocked(uint64_t node, const v1::NodeEvent& event, std::vector<int> fds = {});
  uint64_t Allocate(uint64_t bytes);
  void Wake();

  Options options_;
  std::string directory_;
  std::shared_ptr<transport::MemfdDevice> device_;
  transport::RegionInfo info_;
  transport::UniqueFd wake_;
  std::unique_ptr<transport::AttachServer> server_;

  mutable std::mutex mutex_;  // guards all below
  std::map<uint64_t, NodeState> nodes_;
  std::vector<EndpointState> endpoints_;
  std::map<uint64_t, Link> links_;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> ready_;  // link: consumer's, producer's byte
  std::vector<v1::NodeRequest> requests_;
  uint64_t next_node_ = 1;
  uint64_t next_endpoint_ = 100;
  uint64_t next_link_ = 1000;
  uint64_t next_offset_ = 0;
  bool stopping_ = false;
  bool without_keeper_ = false;

  std::thread thread_;
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_FAKE_CONTROL_H_
