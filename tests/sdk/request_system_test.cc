// Requests through the real ivmqd and its control, with processes that are stopped and killed.

#include <gmock/gmock.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using google::protobuf::Int64Value;
using google::protobuf::StringValue;
using ::testing::HasSubstr;

constexpr auto kLong = 60s;

class RequestSystemTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name = "test") {
    return Node::Open({.name = name, .socket_path = daemon_.node_socket(), .timeout = kLong})
        .value();
  }
  std::unique_ptr<Child> Peer(const std::string& what) {
    auto peer = std::make_unique<Child>(
        std::vector<std::string>{"sdk_service_peer", what, daemon_.node_socket(), "s"});
    if (what != "ask") {
      EXPECT_EQ(peer->ReadLine(), "ready");
    }
    return peer;
  }

  Daemon daemon_;
};

TEST_F(RequestSystemTest, ManyThreadsAskSeveralProcesses) {
  std::vector<std::unique_ptr<Child>> servers;
  for (int i = 0; i < 2; ++i) servers.push_back(Peer("serve"));
  Node node = Open();
  auto client = node.CreateClient("s").value();
  ASSERT_TRUE(client.WaitForServers(2, kLong).ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&client, t] {
      for (int i = 0; i < 500; ++i) {
        const std::string text = std::to_string(t) + "/" + std::to_string(i);
        const auto reply = client.Call(AsBytes(text), kLong);
        ASSERT_TRUE(reply.ok()) << reply.status().ToString();
        ASSERT_EQ(std::string(reinterpret_cast<const char*>(reply->data()), reply->size()), text);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(client.counters().replies, 2000u);
}

TEST_F(RequestSystemTest, RequestsOfAKilledServerAreAbortedAtOnce) {
  auto server = Peer("serve");
  Node node = Open();
  auto client = node.CreateClient("s").value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&client] {
      const Status status = client.Call(AsBytes("hold"), 24h).status();
      EXPECT_EQ(status.code(), Code::kAborted) << status.ToString();
    });
  }
  std::promise<Code> called_back;
  ASSERT_TRUE(client
                  .CallAsync(AsBytes("hold"), 24h,
                             [&](const Result<Bytes>& reply) {
                               called_back.set_value(reply.status().code());
                             })
                  .ok());
  ASSERT_EQ(server->ReadLine(), "holding");
  EXPECT_TRUE(WaitUntil([&] { return client.counters().open == 5; }));
  server->Signal(SIGKILL);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(called_back.get_future().get(), Code::kAborted);
  EXPECT_EQ(client.Call(AsBytes("x"), 24h).status().code(), Code::kUnavailable);
  const auto successor = Peer("serve");
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  EXPECT_TRUE(client.Call(AsBytes("x"), kLong).ok());
}

TEST_F(RequestSystemTest, AStoppedServerCostsItsDeadlineAndNoMore) {
  const auto server = Peer("serve");
  Node node = Open();
  auto client = node.CreateClient("s").value();
  ASSERT_TRUE(client.Call(AsBytes("x"), kLong).ok());
  server->Stop();
  EXPECT_EQ(client.Call(AsBytes("x"), 50ms).status().code(), Code::kDeadlineExceeded);
  server->Signal(SIGCONT);
  EXPECT_TRUE(client.Call(AsBytes("x"), kLong).ok());
}

TEST_F(RequestSystemTest, AServerLearnsThatItsClientWasKilled) {
  Node node = Open();
  std::promise<void> begun, learnt;
  const Server server = node.Serve<Bytes, Bytes>("s",
                                                 [&](const Bytes& query, ServerContext& context) {
                                                   begun.set_value();
                                                   while (!context.cancelled())
                                                     std::this_thread::yield();
                                                   learnt.set_value();
                                                   return query;
                                                 })
                            .value();
  const auto asker = Peer("ask");
  begun.get_future().wait();
  asker->Signal(SIGKILL);
  learnt.get_future().wait();
  EXPECT_TRUE(WaitUntil([&] { return server.clients() == 0; }));
}

TEST_F(RequestSystemTest, StreamsToASlowReaderInOrder) {
  const auto server = Peer("count");
  Node node = Open();
  auto client = node.CreateClient("s").value();
  auto reader = client.CallStream(Bytes(), kLong).value();
  for (int i = 0; i < 3000; ++i) {
    const auto next = reader.Next(kLong);
    ASSERT_TRUE(next.ok() && next.value().has_value()) << next.status().ToString();
    const Bytes& piece = next.value().value();
    ASSERT_EQ(std::string(reinterpret_cast<const char*>(piece.data()), piece.size()),
              std::to_string(i));
    if (i % 500 == 0) std::this_thread::yield();
  }
  reader.Cancel();
}

TEST_F(RequestSystemTest, ControlRefusesWhatDoesNotFit) {
  Node node = Open("server-node");
  const auto serve = [](const StringValue& query) { return query; };
  const Server server = node.Serve<StringValue, StringValue>("s", serve).value();
  const auto refused = Open("client-node").CreateClient<StringValue, Int64Value>("s").status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("google.protobuf.Int64Value"));
  EXPECT_THAT(refused.message(), HasSubstr("google.protobuf.StringValue"));
  const auto asked = Open().Request<StringValue>("s", Int64Value());
  EXPECT_EQ(asked.status().code(), Code::kFailedPrecondition);
}

TEST_F(RequestSystemTest, TwoNodesOfOneProcessAskEachOther) {
  Node left = Open("left");
  Node right = Open("right");
  const auto echo = [](const Bytes& query) { return query; };
  const Server ours = left.Serve<Bytes, Bytes>("left", echo).value();
  const Server theirs =
      right
          .Serve<Bytes, Bytes>("right",
                               [&](const Bytes& query) -> Result<Bytes> {
                                 return right.Request<Bytes>("left", query, kLong);
                               })
          .value();
  EXPECT_EQ(left.Request<Bytes>("right", Bytes(5), kLong).value(), Bytes(5));
}

}  // namespace
}  // namespace ivmq::test
