// Where callbacks and handlers run, and who works for a client or server while nobody waits.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <set>
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
using ::testing::HasSubstr;

constexpr auto kLong = 60s;

// Which threads came by.
class Visitors {
 public:
  void Come() {
    const std::lock_guard lock(mutex_);
    threads_.insert(std::this_thread::get_id());
    ++visits_;
  }
  size_t visits() const {
    const std::lock_guard lock(mutex_);
    return visits_;
  }
  std::set<std::thread::id> threads() const {
    const std::lock_guard lock(mutex_);
    return threads_;
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::thread::id> threads_;
  size_t visits_ = 0;
};

// Whether each callback thread of this process waits, as the kernel says.
bool CallbackThreadsSleep() {
  int asleep = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string stat;
    std::getline(std::ifstream(task.path() / "stat"), stat);
    if (stat.find("(ivmq-callback)") == std::string::npos) continue;
    if (stat.find("(ivmq-callback) S") == std::string::npos) return false;
    ++asleep;
  }
  return asleep > 0;
}

class StandInTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  static Status Echo(BytesServerCall& call) { return call.Reply(call.query()); }
  // Answers only when asked to.
  BytesServer Silent(const std::string& service) {
    return server_node_.CreateBytesServer(service, "", "", Echo).value();
  }

  FakeControl control_;
  Node server_node_ = Open("server");
  Node node_ = Open("client");
};

TEST_F(StandInTest, CallbacksAndHandlersOfANodeShareOneThread) {
  Visitors visitors;
  const auto handle = [&](BytesServerCall& call) {
    visitors.Come();
    return Echo(call);
  };
  auto first = node_.ServeBytes("first", "", "", handle).value();
  auto second = node_.ServeBytes("second", "", "", handle).value();
  auto subscriber =
      node_.CreateSubscriber("t", {.on_message = [&](const BytesMessage&) { visitors.Come(); }});
  auto publisher = node_.CreatePublisher("t").value();
  auto to_first = node_.CreateClient("first").value();
  auto to_second = server_node_.CreateClient("second").value();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  ASSERT_TRUE(
      to_first.CallAsync(AsBytes("x"), kLong, [&](const Result<Bytes>&) { visitors.Come(); }).ok());
  ASSERT_TRUE(to_second.Call(AsBytes("x"), kLong).ok());
  ASSERT_TRUE(WaitUntil([&] { return visitors.visits() == 4; }));
  EXPECT_EQ(visitors.threads().size(), 1u);
  EXPECT_EQ(visitors.threads().count(std::this_thread::get_id()), 0u);
}

TEST_F(StandInTest, SaysWhyAHandlerThatAsksItsOwnThreadGetsNoAnswer) {
  auto inner = server_node_.ServeBytes("inner", "", "", Echo).value();
  auto client = server_node_.CreateClient("inner").value();
  std::promise<Status> asked;
  auto outer = server_node_.ServeBytes("outer", "", "", [&](BytesServerCall& call) {
    asked.set_value(client.Call(call.query(), 20ms).status());
    return Echo(call);
  });
  EXPECT_TRUE(node_.CreateClient("outer").value().Call(AsBytes("x"), kLong).ok());
  const Status status = asked.get_future().get();
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("executor"));
}

TEST_F(StandInTest, AnExecutorRunsCallbacksOneAfterTheOther) {
  auto server = server_node_.ServeBytes("s", "", "", Echo).value();
  std::vector<std::thread> threads;
  std::atomic<int> inside = 0;
  std::atomic<int> called = 0;
  Visitors visitors;
  {
    auto client =
        node_
            .CreateClient(
                "s", {.executor =
                          [&](std::function<void()> run) { threads.emplace_back(std::move(run)); }})
            .value();
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(client
                      .CallAsync(AsBytes("x"), kLong,
                                 [&](const Result<Bytes>& reply) {
                                   EXPECT_EQ(inside.fetch_add(1), 0);
                                   EXPECT_TRUE(reply.ok());
                                   visitors.Come();
                                   ++called;
                                   --inside;
                                 })
                      .ok());
    }
    EXPECT_TRUE(WaitUntil([&] { return called == 200; }));
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(visitors.threads().count(std::this_thread::get_id()), 0u);
}

TEST_F(StandInTest, CloseCallsBackWhatTheExecutorNeverRan) {
  auto server = Silent("s");
  auto client = node_.CreateClient("s", {.executor = [](const std::function<void()>&) {}}).value();
  int closed = 0;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(client
                    .CallAsync(AsBytes("x"), 24h,
                               [&](const Result<Bytes>& reply) {
                                 closed += reply.status().code() == Code::kClosed ? 1 : 0;
                               })
                    .ok());
  }
  client.Close();
  EXPECT_EQ(closed, 200);
}

TEST_F(StandInTest, CloseInACallbackCallsBackTheOthersAfterIt) {
  auto server = Silent("s");
  auto client = node_.CreateClient("s").value();
  std::mutex held_by_callback;
  std::atomic<int> closed = 0;
  ASSERT_TRUE(client
                  .CallAsync(AsBytes("first"), kLong,
                             [&](const Result<Bytes>& reply) {
                               EXPECT_TRUE(reply.ok());
                               const std::lock_guard lock(held_by_callback);
                               client.Close();
                             })
                  .ok());
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(client
                    .CallAsync(AsBytes("x"), 24h,
                               [&](const Result<Bytes>& reply) {
                                 const std::lock_guard lock(held_by_callback);
                                 closed += reply.status().code() == Code::kClosed ? 1 : 0;
                               })
                    .ok());
  }
  ASSERT_TRUE(server.RunOnce(kLong).ok());
  EXPECT_TRUE(WaitUntil([&] { return closed == 200; }));
}

// Threads that wait and requests that nobody waits for take turns at reading.
TEST_F(StandInTest, LosesNoReplyWhereSomeWaitAndSomeDoNot) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::vector<BytesServer> servers;
  for (int i = 0; i < 2; ++i) {
    servers.push_back(server_node_.ServeBytes("s", "", "", Echo).value());
  }
  auto client = node_.CreateClient("s", {.ring_bytes = 4096}).value();
  constexpr int kRequests = 400;
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, random = std::mt19937(seed + t)]() mutable {
      for (int i = 0; i < kRequests; ++i) {
        const Bytes query(random() % 400);
        if (random() % 2 == 0) {
          answered += client.Call(query, kLong).ok() ? 1 : 0;
        } else {
          ASSERT_TRUE(
              client
                  .CallAsync(query, kLong,
                             [&](const Result<Bytes>& reply) { answered += reply.ok() ? 1 : 0; })
                  .ok());
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(WaitUntil([&] { return answered == 3 * kRequests; })) << answered;
}

TEST_F(StandInTest, WakesForARequestThatFindsItAsleep) {
  auto server = server_node_.ServeBytes("s", "", "", Echo).value();
  auto client = node_.CreateClient("s").value();
  std::atomic<int> answered = 0;
  for (int i = 1; i <= 20; ++i) {
    ASSERT_TRUE(WaitUntil(CallbackThreadsSleep));
    ASSERT_TRUE(client
                    .CallAsync(AsBytes("x"), kLong,
                               [&](const Result<Bytes>& reply) { answered += reply.ok() ? 1 : 0; })
                    .ok());
    ASSERT_TRUE(WaitUntil([&] { return answered == i; }));
  }
}

}  // namespace
}  // namespace ivmq::test
