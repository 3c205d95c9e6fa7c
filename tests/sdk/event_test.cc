// What the application hears of links, of the daemon and of silence.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using Kind = Event::Kind;

constexpr auto kLong = 60s;

class Events {
 public:
  EventHandler handler() {
    return [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
    };
  }
  // The first of that kind.
  Event Await(Kind kind) {
    std::unique_lock lock(mutex_);
    Event found;
    const bool came = changed_.wait_for(lock, kLong, [&] {
      for (const Event& event : events_) {
        if (event.kind != kind) continue;
        found = event;
        return true;
      }
      return false;
    });
    EXPECT_TRUE(came) << EventName(kind);
    return found;
  }
  size_t Count(Kind kind) {
    const std::lock_guard lock(mutex_);
    size_t count = 0;
    for (const Event& event : events_) count += event.kind == kind ? 1 : 0;
    return count;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
};

class EventTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name, EventHandler on_event = {}) {
    return Node::Open({.name = name,
                       .socket_path = control_.socket_path(),
                       .on_event = std::move(on_event)})
        .value();
  }
  FakeControl control_;
};

TEST_F(EventTest, TellsBothSidesOfALinkThatComesAndGoes) {
  Events of_node;
  Events of_publisher;
  Events of_subscriber;
  Node node = Open("p", of_node.handler());
  auto publisher = node.CreatePublisher("t", {.on_event = of_publisher.handler()}).value();
  Node other = Open("s");
  auto subscriber = std::make_unique<BytesSubscriber>(
      other.CreateSubscriber("t", {.on_event = of_subscriber.handler()}).value());
  const Event matched = of_publisher.Await(Kind::kMatched);
  EXPECT_EQ(matched.topic, "t");
  EXPECT_EQ(matched.node, "node-2");
  EXPECT_EQ(matched.link_id, control_.links().at(0).id);
  EXPECT_EQ(of_subscriber.Await(Kind::kMatched).node, "node-1");
  EXPECT_EQ(of_node.Await(Kind::kMatched).link_id, matched.link_id);

  v1::NodeEvent suspect;
  suspect.mutable_link_suspect()->set_link_id(matched.link_id);
  suspect.mutable_link_suspect()->set_suspect(true);
  control_.SendEvent(1, suspect);
  control_.SendEvent(2, suspect);
  EXPECT_EQ(of_publisher.Await(Kind::kSuspect).link_id, matched.link_id);
  EXPECT_EQ(of_subscriber.Await(Kind::kSuspect).link_id, matched.link_id);
  suspect.mutable_link_suspect()->set_suspect(false);
  control_.SendEvent(1, suspect);
  EXPECT_EQ(of_publisher.Await(Kind::kAlive).topic, "t");

  v1::NodeEvent refused;
  refused.mutable_link_refused()->set_endpoint_id(control_.links().at(0).publisher);
  refused.mutable_link_refused()->set_topic("t");
  refused.mutable_link_refused()->set_other_node("picky");
  refused.mutable_link_refused()->set_reason("wants what is not offered");
  control_.SendEvent(1, refused);
  EXPECT_EQ(of_publisher.Await(Kind::kIncompatible).detail, "wants what is not offered");
  EXPECT_EQ(of_node.Await(Kind::kIncompatible).node, "picky");

  subscriber.reset();
  EXPECT_EQ(of_publisher.Await(Kind::kGone).node, "node-2");
}

TEST_F(EventTest, CountsWhatHandlersThrowAndGoesOn) {
  Node node = Open("n", [](const Event&) { throw std::runtime_error("no"); });
  Events of_publisher;
  auto publisher = node.CreatePublisher("t", {.on_event = of_publisher.handler()}).value();
  auto subscriber = node.CreateSubscriber("t").value();
  of_publisher.Await(Kind::kMatched);
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  EXPECT_TRUE(subscriber.Receive(kLong).ok());
  EXPECT_TRUE(WaitUntil([&] { return node.failed_handlers() > 0; }));
}

TEST_F(EventTest, TellsOfTheLossOfTheDaemonOnce) {
  Events events;
  Node node = Open("n", events.handler());
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  control_.Die();
  EXPECT_NE(events.Await(Kind::kDaemonLost).detail, "");
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  EXPECT_TRUE(subscriber.Receive(kLong).ok());
  EXPECT_EQ(node.CreatePublisher("u").status().code(), Code::kUnavailable);
  EXPECT_EQ(events.Count(Kind::kDaemonLost), 1u);
}

TEST_F(EventTest, TellsOfAnEviction) {
  Events events;
  Node node = Open("n", events.handler());
  v1::NodeEvent evicted;
  evicted.mutable_evicted()->set_reason("maintenance");
  control_.SendEvent(1, evicted);
  EXPECT_EQ(events.Await(Kind::kEvicted).detail, "maintenance");
  EXPECT_EQ(events.Count(Kind::kDaemonLost), 0u);
}

TEST_F(EventTest, TellsWhenATopicFallsSilentAndAgainAfterAMessage) {
  Node node = Open("n");
  Events events;
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber =
      node.CreateSubscriber("t", {.on_event = events.handler(), .deadline = 20ms}).value();
  const Event silent = events.Await(Kind::kSilent);
  EXPECT_EQ(silent.topic, "t");
  EXPECT_EQ(silent.link_id, control_.links().at(0).id);
  for (size_t told = 1; told < 4; ++told) {
    ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
    ASSERT_TRUE(subscriber.Receive(kLong).ok());
    while (events.Count(Kind::kSilent) == told) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(events.Count(Kind::kSilent), told + 1);
  }
}

TEST_F(EventTest, TakesWhatLiesUnreadForASignOfLife) {
  Node node = Open("n");
  Events events;
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber =
      node.CreateSubscriber("t", {.on_event = events.handler(), .deadline = 500ms}).value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  Events of_nobody;
  auto alone = node.CreateSubscriber("u", {.on_event = of_nobody.handler(), .deadline = 10ms});
  EXPECT_EQ(of_nobody.Await(Kind::kSilent).node, "");
  // Another deadline, twice as long, says when it would have been told.
  Events of_patient;
  auto patient = node.CreateSubscriber("v", {.on_event = of_patient.handler(), .deadline = 1s});
  of_patient.Await(Kind::kSilent);
  EXPECT_EQ(events.Count(Kind::kSilent), 0u);
}

}  // namespace
}  // namespace ivmq::test
