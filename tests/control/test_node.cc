#include "tests/control/test_node.h"

#include <thread>

namespace ivmq::control {

using Clock = std::chrono::steady_clock;

bool WaitUntil(const std::function<bool()>& done) {
  const auto deadline = Clock::now() + kPatience;
  while (!done()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

void TestNode::Tell(const v1::NodeRequest& request) {
  (void)channel_.Send(request.SerializeAsString());
}

bool TestNode::Receive(v1::NodeEvent* event) {
  transport::FrameChannel::Frame frame;
  if (!channel_.ReceiveUntil(Clock::now() + kPatience, &frame).ok()) return false;
  if (!frame.fds.empty()) fds_ = std::move(frame.fds);
  return event->ParseFromString(frame.payload);
}

v1::NodeEvent TestNode::Call(v1::NodeRequest request) {
  request.set_request_id(next_request_++);
  Tell(request);
  v1::NodeEvent event;
  while (Receive(&event)) {
    if (event.request_id() == request.request_id() && !event.has_counters_wanted()) return event;
    events_.push_back(event);
  }
  return {};
}

v1::NodeEvent TestNode::Next() {
  v1::NodeEvent event;
  if (!events_.empty()) {
    event = events_.front();
    events_.pop_front();
  } else if (!Receive(&event)) {
    return {};
  }
  return event;
}

v1::NodeEvent TestNode::NextOf(v1::NodeEvent::EventCase kind) {
  for (;;) {
    v1::NodeEvent event = Next();
    if (event.event_case() == kind || event.event_case() == v1::NodeEvent::EVENT_NOT_SET) {
      return event;
    }
  }
}

bool TestNode::AtEof() {
  transport::FrameChannel::Frame frame;
  const auto deadline = Clock::now() + kPatience;
  for (;;) {
    const transport::Status status = channel_.ReceiveUntil(deadline, &frame);
    if (!status.ok()) return status.code() == transport::Code::kUnavailable;
  }
}

uint64_t TestNode::Hello(const std::string& name) {
  v1::NodeRequest request;
  request.mutable_hello()->set_protocol_version(2);
  request.mutable_hello()->set_node_name(name);
  request.mutable_hello()->set_sdk_version("test");
  return Call(request).welcome().node_id();
}

v1::NodeEvent TestNode::Publish(const std::string& topic, const std::string& type,
                                uint64_t ring_bytes) {
  v1::NodeRequest request;
  auto* wish = request.mutable_register_publisher();
  wish->set_topic(topic);
  wish->set_type_name(type);
  wish->mutable_qos()->set_reliability(v1::Qos::RELIABLE);
  wish->mutable_qos()->set_ring_bytes(ring_bytes);
  return Call(request);
}

v1::NodeEvent TestNode::Subscribe(const std::string& topic, const std::string& type,
                                  uint64_t ring_bytes) {
  v1::NodeRequest request;
  auto* wish = request.mutable_register_subscriber();
  wish->set_topic(topic);
  wish->set_type_name(type);
  wish->mutable_qos()->set_reliability(v1::Qos::RELIABLE);
  wish->mutable_qos()->set_ring_bytes(ring_bytes);
  return Call(request);
}

void TestNode::LinkAttached(uint64_t link_id) {
  v1::NodeRequest request;
  request.mutable_link_attached()->set_link_id(link_id);
  Tell(request);
}

void TestNode::LinkClosed(uint64_t link_id) {
  v1::NodeRequest request;
  request.mutable_link_closed()->set_link_id(link_id);
  Tell(request);
}

void TestNode::LinkClosed(const v1::LinkCounters& last) {
  v1::NodeRequest request;
  request.mutable_link_closed()->set_link_id(last.link_id());
  *request.mutable_link_closed()->mutable_counters() = last;
  Tell(request);
}

v1::NodeEvent TestNode::Unregister(uint64_t endpoint_id) {
  v1::NodeRequest request;
  request.mutable_unregister()->set_id(endpoint_id);
  return Call(request);
}

}  // namespace ivmq::control
