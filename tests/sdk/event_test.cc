// What the application hears of links, of the daemon and of silence.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "sdk/node/event_queue.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"
#include "transport/unix_socket.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using Kind = Event::Kind;
using ::testing::HasSubstr;

constexpr auto kLong = 60s;

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

TEST_F(EventTest, AHandlerThatAsksTheDaemonIsToldWhyItCannot) {
  std::promise<Status> said;
  Node* own = nullptr;
  Node node = Open("n", [&](const Event& event) {
    if (event.kind == Kind::kMatched) said.set_value(own->DescribeType("a.T").status());
  });
  own = &node;
  auto publisher = node.CreatePublisher("t").value();
  Node other = Open("s");
  auto subscriber = other.CreateSubscriber("t").value();
  const Status refused = said.get_future().get();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("event handler"));
}

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

using OwnHandler = internal::EventQueue::OwnHandler;

TEST(EventQueueTest, TellsTheNodeAloneOfWhatComesAfterTheEnd) {
  int told = 0;
  int told_node = 0;
  internal::EventQueue queue(nullptr, [&](const Event&) { ++told_node; });
  const auto own = std::make_shared<OwnHandler>([&](const Event&) { ++told; });
  queue.Push({}, own);
  queue.Forget(own);
  queue.Push({}, own);
  queue.Deliver();
  EXPECT_EQ(told, 0);
  EXPECT_EQ(told_node, 2);
}

TEST(EventQueueTest, DropsWhatComesAfterTheEndOfItsNode) {
  int told = 0;
  internal::EventQueue queue(nullptr, [&](const Event&) { ++told; });
  const auto own = std::make_shared<OwnHandler>([&](const Event&) { ++told; });
  queue.Push({}, own);
  queue.Deliver();
  EXPECT_EQ(told, 2);
  queue.Push({}, own);
  queue.ForgetAll();
  queue.Push({}, own);
  queue.Deliver();
  EXPECT_EQ(told, 2);
}

TEST(EventQueueTest, CountsWhatItLeavesOutWhileTooManyWait) {
  size_t told = 0;
  internal::EventQueue queue(nullptr, [&](const Event&) { ++told; });
  constexpr size_t kMost = internal::EventQueue::kWaitingMax;
  for (size_t i = 0; i < kMost; ++i) queue.Push({}, nullptr);
  EXPECT_EQ(queue.left_out(), 0u);
  for (int i = 0; i < 3; ++i) queue.Push({}, nullptr);
  EXPECT_EQ(queue.left_out(), 3u);
  queue.Deliver();
  EXPECT_EQ(told, kMost);
  queue.Push({}, nullptr);
  queue.Deliver();
  EXPECT_EQ(told, kMost + 1);
  EXPECT_EQ(queue.left_out(), 3u);
}

TEST(EventQueueTest, LetsAHandlerGoWithoutALock) {
  internal::EventQueue queue(nullptr, nullptr);
  // As a handler that holds another publisher, which goes with it.
  struct Forgets {
    explicit Forgets(internal::EventQueue* of) : queue(of) {}
    ~Forgets() { queue->Forget(std::make_shared<OwnHandler>(nullptr)); }
    internal::EventQueue* queue;
  };
  auto own =
      std::make_shared<OwnHandler>([held = std::make_shared<Forgets>(&queue)](const Event&) {});
  queue.Push({}, own);
  queue.Push({}, own);
  own = nullptr;
  queue.Deliver();
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

TEST_F(EventTest, TellsOfEachDaemonThatIsThereInstead) {
  Events events;
  Node node = Open("n", events.handler());
  Events of_publisher;
  auto publisher = node.CreatePublisher("t", {.on_event = of_publisher.handler()}).value();
  control_.DieWithKeeper();
  events.Await(Kind::kDaemonLost);
  std::filesystem::remove(control_.socket_path());
  EXPECT_EQ(events.Count(Kind::kDaemonBack), 0u);
  const auto listener =
      transport::ListenUnix(control_.socket_path(), transport::UnixSocketType::kSeqpacket);
  ASSERT_TRUE(listener.ok());
  EXPECT_THAT(events.Await(Kind::kDaemonBack).detail, ::testing::HasSubstr("new node"));
  std::filesystem::remove(control_.socket_path());
  const auto next =
      transport::ListenUnix(control_.socket_path(), transport::UnixSocketType::kSeqpacket);
  ASSERT_TRUE(next.ok());
  EXPECT_TRUE(WaitUntil([&] { return events.Count(Kind::kDaemonBack) == 2; }));
  EXPECT_EQ(of_publisher.Count(Kind::kDaemonBack), 0u) << "of the node only";
}

TEST_F(EventTest, TellsOfAnEviction) {
  Events events;
  Node node = Open("n", events.handler());
  v1::NodeEvent evicted;
  evicted.mutable_evicted()->set_reason("maintenance");
  control_.SendEvent(1, evicted);
  EXPECT_EQ(events.Await(Kind::kEvicted).detail, "maintenance");
  EXPECT_TRUE(WaitUntil([&] { return !node.connected(); }));
  const Status refused = node.CreatePublisher("t").status();
  EXPECT_EQ(refused.code(), Code::kClosed);
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("evicted"));
  // It is told what happens afterwards as one is that has lost its daemon.
  EXPECT_EQ(events.Count(Kind::kDaemonBack), 0u);
  control_.DieWithKeeper();
  std::filesystem::remove(control_.socket_path());
  const auto listener =
      transport::ListenUnix(control_.socket_path(), transport::UnixSocketType::kSeqpacket);
  ASSERT_TRUE(listener.ok());
  events.Await(Kind::kDaemonBack);
  EXPECT_EQ(events.Count(Kind::kEvicted), 1u);
  EXPECT_EQ(events.Count(Kind::kDaemonLost), 0u);
}

TEST_F(EventTest, TellsAnEvictedNodeWhatBecomesOfTheMessagesThatItHad) {
  Events events;
  Node node = Open("n", events.handler());
  auto publisher = Open("other").CreatePublisher("t").value();
  std::promise<void> evicted;
  int calls = 0;
  const auto on_message = [&](const BytesMessage&) {
    if (++calls == 1) return evicted.get_future().wait();
    throw std::runtime_error("no");
  };
  auto subscriber = node.CreateSubscriber("t", {.on_message = on_message}).value();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  v1::NodeEvent event;
  event.mutable_evicted()->set_reason("test");
  control_.SendEvent(1, event);
  events.Await(Kind::kEvicted);
  evicted.set_value();
  events.Await(Kind::kCallbackFailed);
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
