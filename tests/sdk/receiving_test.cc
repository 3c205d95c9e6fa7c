// The ways to receive beside Receive and Poll: callbacks, wait sets, borrowed messages.

#include <gmock/gmock.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr auto kLong = 30s;

// Collects texts from any thread.
class Texts {
 public:
  void Add(std::string text) {
    const std::lock_guard lock(mutex_);
    texts_.push_back(std::move(text));
    changed_.notify_all();
  }
  std::vector<std::string> Await(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kLong, [&] { return texts_.size() >= count; }));
    return texts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> texts_;
};

class ReceivingTest : public ::testing::Test {
 protected:
  Node Open(EventHandler on_event = {}) {
    return Node::Open({.name = "n",
                       .socket_path = control_.socket_path(),
                       .on_event = std::move(on_event)})
        .value();
  }
  FakeControl control_;
};

TEST_F(ReceivingTest, GivesMessagesToACallbackOnOneThreadOfTheNode) {
  Node node = Open();
  Texts texts;
  std::mutex mutex;
  std::set<std::thread::id> threads;
  const auto collect = [&](const BytesMessage& message) {
    {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    texts.Add(std::string(message.info.topic) + ":" + std::string(message.text()));
  };
  auto left = node.CreateSubscriber("left", {.on_message = collect}).value();
  auto right = node.CreateSubscriber("right", {.on_message = collect}).value();
  auto to_left = node.CreatePublisher("left").value();
  auto to_right = node.CreatePublisher("right").value();
  ASSERT_TRUE(to_left.Publish(AsBytes("1")).ok());
  ASSERT_TRUE(to_right.Publish(AsBytes("2")).ok());
  EXPECT_THAT(texts.Await(2), UnorderedElementsAre("left:1", "right:2"));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(to_left.Publish(AsBytes("x")).ok());
  texts.Await(1002);
  const std::lock_guard lock(mutex);
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0u);
  EXPECT_EQ(left.Receive(0s).status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(left.Poll(1, collect).status().message(), HasSubstr("on_message"));
}

TEST_F(ReceivingTest, SurvivesACallbackThatThrows) {
  Texts events;
  Node node = Open([&](const Event& event) {
    if (event.kind == Event::Kind::kCallbackFailed) events.Add(event.topic + ":" + event.detail);
  });
  Texts texts;
  auto subscriber = node.CreateSubscriber("t", {.on_message =
                                                    [&](const BytesMessage& message) {
                                                      if (message.text() == "bad")
                                                        throw std::runtime_error("no such thing");
                                                      texts.Add(std::string(message.text()));
                                                    }})
                        .value();
  auto publisher = node.CreatePublisher("t").value();
  for (const char* text : {"good", "bad", "better"}) {
    ASSERT_TRUE(publisher.Publish(AsBytes(text)).ok());
  }
  EXPECT_THAT(texts.Await(2), ElementsAre("good", "better"));
  EXPECT_THAT(events.Await(1), ElementsAre("t:no such thing"));
  EXPECT_EQ(subscriber.counters().messages, 3u) << "it counts as delivered";
}

TEST_F(ReceivingTest, RunsCallbacksOnAnExecutor) {
  Node node = Open();
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  Texts texts;
  SubscriberOptions options;
  options.on_message = [&](const BytesMessage& message) { texts.Add(std::string(message.text())); };
  options.executor = [&](std::function<void()> task) {
    const std::lock_guard lock(mutex);
    tasks.push_back(std::move(task));
    changed.notify_all();
  };
  std::function<void()> stale;
  {
    auto subscriber = node.CreateSubscriber("t", options).value();
    auto publisher = node.CreatePublisher("t").value();
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(publisher.Publish(AsBytes(std::to_string(round))).ok());
      for (size_t before = texts.Await(0).size(); texts.Await(0).size() == before;) {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, kLong, [&] { return !tasks.empty(); }));
        const auto task = std::move(tasks.front());
        tasks.pop_front();
        lock.unlock();
        task();
      }
    }
    ASSERT_TRUE(publisher.Publish(AsBytes("late")).ok());
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, kLong, [&] { return !tasks.empty(); }));
    stale = std::move(tasks.front());
  }
  stale();  // Its subscriber is gone.
  EXPECT_THAT(texts.Await(3), ElementsAre("0", "1", "2"));
}

TEST_F(ReceivingTest, RefusesToReceiveWhileACallbackRuns) {
  Node node = Open();
  std::promise<void> entered;
  std::promise<void> leave;
  auto subscriber = node.CreateSubscriber("t", {.on_message =
                                                    [&](const BytesMessage&) {
                                                      entered.set_value();
                                                      leave.get_future().wait();
                                                    }})
                        .value();
  auto publisher = node.CreatePublisher("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  ASSERT_EQ(entered.get_future().wait_for(kLong), std::future_status::ready);
  for (const Status& refused :
       {subscriber.Receive(kLong).status(), subscriber.Borrow(kLong).status(),
        subscriber.Poll(1, [](const BytesMessage&) {}).status()}) {
    EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
    EXPECT_THAT(refused.message(), HasSubstr("on_message"));
  }
  EXPECT_GE(subscriber.fd(), 0);
  leave.set_value();
}

TEST_F(ReceivingTest, ReportsAnExecutorThatThrows) {
  Texts events;
  Node node = Open([&](const Event& event) {
    if (event.kind == Event::Kind::kCallbackFailed) events.Add(event.detail);
  });
  SubscriberOptions options;
  options.on_message = [](const BytesMessage&) {};
  options.executor = [](const std::function<void()>&) { throw std::runtime_error("shut down"); };
  auto subscriber = node.CreateSubscriber("t", options).value();
  auto publisher = node.CreatePublisher("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  EXPECT_THAT(events.Await(1), ElementsAre("shut down"));
}

TEST_F(ReceivingTest, CloseWaitsForTheExecutorToTakeATask) {
  Node node = Open();
  std::promise<void> entered;
  std::promise<void> leave;
  std::atomic<bool> left = false;
  SubscriberOptions options;
  options.on_message = [](const BytesMessage&) {};
  options.executor = [&](const std::function<void()>&) {
    entered.set_value();
    leave.get_future().wait();
    left = true;
  };
  auto subscriber = node.CreateSubscriber("t", options).value();
  auto publisher = node.CreatePublisher("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  ASSERT_EQ(entered.get_future().wait_for(kLong), std::future_status::ready);
  std::thread closer([&] {
    subscriber.Close();
    EXPECT_TRUE(left);
  });
  std::this_thread::sleep_for(50ms);  // for a Close that does not wait to be seen
  leave.set_value();
  closer.join();
}

TEST_F(ReceivingTest, AsksAnExecutorAgainThatThrewOrThrewATaskAway) {
  Texts events;
  Texts texts;
  Node node = Open([&](const Event& event) {
    if (event.kind == Event::Kind::kCallbackFailed) events.Add(event.detail);
  });
  int asked = 0;
  SubscriberOptions options;
  options.on_message = [&](const BytesMessage& message) { texts.Add(std::string(message.text())); };
  options.executor = [&](const std::function<void()>& run) {
    ++asked;
    if (asked == 1) throw std::runtime_error("out of threads");
    if (asked > 2) run();
  };
  auto subscriber = node.CreateSubscriber("t", options).value();
  auto publisher = node.CreatePublisher("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("first")).ok());
  EXPECT_THAT(texts.Await(1), ElementsAre("first"));
  EXPECT_THAT(events.Await(2), ElementsAre("out of threads", "the executor threw a task away"));
  ASSERT_TRUE(publisher.Publish(AsBytes("second")).ok());
  EXPECT_THAT(texts.Await(2), ElementsAre("first", "second"));
  subscriber.Close();
}

TEST_F(ReceivingTest, ClosesWithinItsCallbackAndWaitsForItElsewhere) {
  Node node = Open();
  std::unique_ptr<BytesSubscriber> inside;
  std::atomic<int> calls = 0;
  inside =
      std::make_unique<BytesSubscriber>(node.CreateSubscriber("t", {.on_message =
                                                                        [&](const BytesMessage&) {
                                                                          ++calls;
                                                                          inside->Close();
                                                                        }})
                                            .value());
  auto publisher = node.CreatePublisher("t").value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Write(AsBytes("x")).ok());
  publisher.Flush();
  ASSERT_TRUE(WaitUntil([&] { return calls.load() > 0 && publisher.subscribers() == 0; }));

  std::atomic<bool> entered = false;
  std::atomic<bool> left = false;
  auto outside = std::make_unique<BytesSubscriber>(
      node.CreateSubscriber("u", {.on_message =
                                      [&](const BytesMessage&) {
                                        entered = true;
                                        std::this_thread::sleep_for(20ms);
                                        left = true;
                                      }})
          .value());
  auto to_outside = node.CreatePublisher("u").value();
  ASSERT_TRUE(to_outside.Publish(AsBytes("x")).ok());
  ASSERT_TRUE(WaitUntil([&] { return entered.load(); }));
  outside.reset();
  EXPECT_TRUE(left.load()) << "the callback ran on while its subscriber went";
}

TEST_F(ReceivingTest, GivesTypedMessagesToACallbackAndCountsWhatIsNone) {
  Node node = Open();
  Texts texts;
  auto subscriber =
      node.CreateSubscriber<google::protobuf::StringValue>(
              "t",
              [&](const Message<google::protobuf::StringValue>& message) {
                texts.Add(message.value().value() + std::to_string(message.info().sequence));
              })
          .value();
  const std::string type = google::protobuf::StringValue::descriptor()->full_name();
  auto publisher = node.CreateBytesPublisher("t", type).value();
  google::protobuf::StringValue value;
  value.set_value("text");
  for (const std::string& bytes :
       {value.SerializeAsString(), std::string("\xff\xff\xff"), value.SerializeAsString()}) {
    ASSERT_TRUE(publisher.Publish(AsBytes(bytes)).ok());
  }
  EXPECT_THAT(texts.Await(2), ElementsAre("text0", "text2"));
  EXPECT_EQ(subscriber.counters().undecodable, 1u);
  EXPECT_EQ(subscriber.counters().messages, 3u);
}

TEST_F(ReceivingTest, MayBeDestroyedInItsOwnCallback) {
  Node node = Open();
  auto held = std::make_shared<int>(7);
  const std::weak_ptr<int> watched = held;
  std::unique_ptr<BytesSubscriber> subscriber;
  std::atomic<bool> alive = false;
  std::atomic<bool> called = false;
  const auto on_message = [&, held = std::move(held)](const BytesMessage&) {
    subscriber.reset();
    alive = !watched.expired();  // what this very function object holds
    called = true;
  };
  subscriber = std::make_unique<BytesSubscriber>(
      node.CreateSubscriber("t", {.on_message = std::move(on_message)}).value());
  auto publisher = node.CreatePublisher("t").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  ASSERT_TRUE(WaitUntil([&] { return called.load(); }));
  EXPECT_TRUE(alive.load());
  EXPECT_TRUE(WaitUntil([&] { return publisher.subscribers() == 0; }));
}

TEST_F(ReceivingTest, WaitsForSeveralSubscribersAtOnce) {
  Node node = Open();
  auto left = node.CreateSubscriber("left").value();
  auto right = node.CreateSubscriber("right").value();
  auto to_left = node.CreatePublisher("left").value();
  auto to_right = node.CreatePublisher("right").value();
  WaitSet set = WaitSet::Create().value();
  ASSERT_TRUE(set.Add(&left, 1).ok());
  ASSERT_TRUE(set.Add(&right, 2).ok());
  EXPECT_EQ(set.Add(&right, 3).code(), Code::kAlreadyExists);
  std::vector<uint64_t> seen;
  const auto take = [&](std::chrono::nanoseconds timeout) {
    seen.clear();
    const auto ready = set.Wait(timeout);
    if (!ready.ok()) return ready.status().code();
    for (const uint64_t key : *ready) {
      BytesSubscriber& subscriber = key == 1 ? left : right;
      while (subscriber.Receive(0s).ok()) seen.push_back(key);
    }
    return Code::kOk;
  };
  while (take(0s) == Code::kOk) {  // what their links brought
  }
  EXPECT_EQ(take(5ms), Code::kTimeout);
  ASSERT_TRUE(to_right.Publish(AsBytes("x")).ok());
  while (seen.empty()) ASSERT_EQ(take(kLong), Code::kOk);
  EXPECT_THAT(seen, ElementsAre(2u));
  std::thread later([&] {
    std::this_thread::sleep_for(10ms);
    ASSERT_TRUE(to_left.Publish(AsBytes("y")).ok());
  });
  seen.clear();
  while (seen.empty()) ASSERT_EQ(take(kLong), Code::kOk);
  EXPECT_THAT(seen, ElementsAre(1u));
  later.join();
  std::thread interrupter([&] {
    std::this_thread::sleep_for(10ms);
    set.Interrupt();
  });
  while (take(kLong) == Code::kOk) {
  }
  interrupter.join();
  EXPECT_TRUE(set.Remove(&left).ok());
  EXPECT_EQ(set.Remove(&left).code(), Code::kNotFound);
}

TEST_F(ReceivingTest, LendsAMessageInPlaceUntilItIsReturned) {
  Node node = Open();
  auto publisher = node.CreatePublisher("t", {.reliability = Fail(), .ring_bytes = 4096}).value();
  auto subscriber = node.CreateSubscriber("t").value();
  const auto link = control_.links().at(0);
  int fit = 0;
  while (publisher.Publish(std::vector<std::byte>(512, std::byte{7})).ok()) ++fit;
  {
    auto borrowed = subscriber.Borrow(0s).value();
    EXPECT_EQ(borrowed.bytes().size(), 512u);
    EXPECT_EQ(borrowed.bytes()[511], std::byte{7});
    EXPECT_EQ(borrowed.info().topic, "t");
    EXPECT_EQ(borrowed.info().link_id, link.id);
    const Status second = subscriber.Receive(0s).status();
    EXPECT_EQ(second.code(), Code::kFailedPrecondition);
    EXPECT_THAT(second.message(), HasSubstr("borrowed"));
    EXPECT_EQ(subscriber.Borrow(0s).status().code(), Code::kFailedPrecondition);
    BorrowedMessage moved = std::move(borrowed);
    EXPECT_EQ(moved.info().sequence, 0u);
  }
  for (int i = 1; i < fit; ++i) EXPECT_EQ(subscriber.Borrow(0s)->info().sequence, uint64_t(i));
  EXPECT_EQ(subscriber.Borrow(1ms).status().code(), Code::kTimeout);
  EXPECT_TRUE(publisher.Drain(0s).ok());
  EXPECT_EQ(subscriber.counters().messages, uint64_t(fit));
}

TEST_F(ReceivingTest, LetsGoOfADeadLinkWhileMessagesOfAnotherAreOnlyBorrowed) {
  Node node = Open();
  auto busy = node.CreatePublisher("t").value();
  auto dying = std::make_unique<BytesPublisher>(node.CreatePublisher("t").value());
  std::atomic<bool> gone = false;
  const auto on_event = [&](const Event& event) { gone = event.kind == Event::Kind::kGone; };
  auto subscriber = node.CreateSubscriber("t", {.on_event = on_event}).value();
  const uint64_t dead = control_.links().at(1).id;
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(busy.Publish(AsBytes("x")).ok());
  {
    const auto borrowed = subscriber.Borrow(kLong);
    ASSERT_TRUE(dying->Publish(AsBytes("last")).ok());
    dying.reset();
    ASSERT_TRUE(WaitUntil([&] { return gone.load(); }));
  }
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(subscriber.Borrow(kLong).ok());
  control_.AwaitRequest([dead](const v1::NodeRequest& one) {
    return one.has_link_closed() && one.link_closed().link_id() == dead &&
           one.link_closed().counters().delivered() == 1;
  });
}

TEST_F(ReceivingTest, KeepsTheMemoryOfABorrowedMessageThroughTheEndOfItsSubscriber) {
  Node node = Open();
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = std::make_unique<BytesSubscriber>(node.CreateSubscriber("t").value());
  ASSERT_TRUE(publisher.Publish(AsBytes("still there")).ok());
  {
    const auto borrowed = subscriber->Borrow(kLong).value();
    subscriber.reset();
    for (const v1::NodeRequest& one : control_.requests()) EXPECT_FALSE(one.has_unregister());
    EXPECT_EQ(borrowed.bytes().size(), 11u);
  }
  control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_unregister(); });
}

}  // namespace
}  // namespace ivmq::test
