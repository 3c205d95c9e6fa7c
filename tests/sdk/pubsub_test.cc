#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 30s;

Node OpenNode(const FakeControl& control, const std::string& name) {
  return Node::Open({.name = name, .socket_path = control.socket_path()}).value();
}

TEST(PubSubTest, DeliversInOrder) {
  FakeControl control;
  Node node = OpenNode(control, "one");
  auto publisher = node.CreatePublisher("a.b").value();
  auto subscriber = node.CreateSubscriber("a.b").value();
  for (int i = 0; i < 100; ++i) {
    const auto sent = publisher.Publish(AsBytes("message " + std::to_string(i)));
    ASSERT_TRUE(sent.ok()) << sent.status().ToString();
    EXPECT_EQ(sent->links, 1u);
  }
  for (int i = 0; i < 100; ++i) {
    const auto got = subscriber.Receive(kLong);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_EQ(got->text(), "message " + std::to_string(i));
    EXPECT_EQ(got->info.sequence, static_cast<uint64_t>(i));
    EXPECT_EQ(got->info.topic, "a.b");
    EXPECT_EQ(got->gap(), 0u);
  }
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  EXPECT_EQ(subscriber.counters().messages, 100u);
  EXPECT_EQ(publisher.counters().messages, 100u);
  EXPECT_EQ(publisher.counters().written, 100u);
}

TEST(PubSubTest, WakesASubscriberThatSleeps) {
  FakeControl control;
  Node sender = OpenNode(control, "sender");
  Node receiver = OpenNode(control, "receiver");
  auto publisher = sender.CreatePublisher("t").value();
  auto subscriber = receiver.CreateSubscriber("t", {.wait = Wait::kBlock}).value();
  std::thread thread([&] {
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(2ms);
      EXPECT_TRUE(publisher.Publish(AsBytes(std::to_string(i))).ok());
    }
  });
  for (int i = 0; i < 20; ++i) {
    const auto got = subscriber.Receive(kLong);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    EXPECT_EQ(got->text(), std::to_string(i));
  }
  thread.join();
}

}  // namespace
}  // namespace ivmq::test
