#ifndef IVMQ_TESTS_CONTROL_TEST_NODE_H_
#define IVMQ_TESTS_CONTROL_TEST_NODE_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ivmq/v1/control.pb.h"
#include "transport/frame_channel.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

inline constexpr std::chrono::seconds kPatience{60};

// Asks until `done` says true; false after kPatience.
bool WaitUntil(const std::function<bool()>& done);

// A process on the host, as control sees it: a channel that speaks frames. One thread.
class TestNode {
 public:
  TestNode(uint64_t connection, transport::UniqueFd channel)
      : connection_(connection), channel_(std::move(channel)) {}

  // Sends the request and returns its answer; what comes before it is kept for Next().
  v1::NodeEvent Call(v1::NodeRequest request);
  void Tell(const v1::NodeRequest& request);
  void SendRaw(const std::string& payload) { (void)channel_.Send(payload); }
  // The next event that was not an answer; an empty one at EOF or after kPatience.
  v1::NodeEvent Next();
  // The next event of that kind; others are dropped.
  v1::NodeEvent NextOf(v1::NodeEvent::EventCase kind);
  // Whether control has closed the channel; reads what is there.
  bool AtEof();

  // Says hello; 0 if that fails.
  uint64_t Hello(const std::string& name);
  v1::NodeEvent Publish(const std::string& topic, const std::string& type = "",
                        uint64_t ring_bytes = 0);
  v1::NodeEvent Subscribe(const std::string& topic, const std::string& type = "",
                          uint64_t ring_bytes = 0);
  void LinkAttached(uint64_t link_id);
  void LinkClosed(uint64_t link_id);
  // With its last counters, of which link_id says which link.
  void LinkClosed(const v1::LinkCounters& last);
  v1::NodeEvent Unregister(uint64_t endpoint_id);

  uint64_t connection() const { return connection_; }
  // File descriptors beside the last event that had some.
  std::vector<transport::UniqueFd>& fds() { return fds_; }
  transport::FrameChannel& channel() { return channel_; }

 private:
  bool Receive(v1::NodeEvent* event);

  uint64_t connection_;
  transport::FrameChannel channel_;
  uint64_t next_request_ = 1;
  std::deque<v1::NodeEvent> events_;
  std::vector<transport::UniqueFd> fds_;
};

}  // namespace ivmq::control

#endif  // IVMQ_TESTS_CONTROL_TEST_NODE_H_
