// Clients of a service, with servers in the same test or none, and one that lies.

#include <gmock/gmock.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"
#include "tests/sdk/threads.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using google::protobuf::StringValue;
using ::testing::HasSubstr;

constexpr auto kLong = 60s;

std::string Text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
StringValue Value(const std::string& text) {
  StringValue value;
  value.set_value(text);
  return value;
}
StringValue Echo(const StringValue& query) { return query; }

class ClientTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  template <class Handler>
  Server Serve(Handler handler, ServerOptions options = {}) {
    return server_node_
        .Serve<StringValue, StringValue>("echo", std::move(handler), std::move(options))
        .value();
  }

  FakeControl control_;
  Node server_node_ = Open("server");
  Node client_node_ = Open("client");
};

TEST_F(ClientTest, AsksAndIsAnswered) {
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  EXPECT_EQ(client.servers(), 1u);
  for (const char* text : {"one", "", "three"}) {
    const auto reply = client.Call(Value(text), kLong);
    ASSERT_TRUE(reply.ok()) << reply.status().ToString();
    EXPECT_EQ(reply->value(), text);
  }
  EXPECT_EQ(client.counters().requests, 3u);
  EXPECT_EQ(client.counters().replies, 3u);
  EXPECT_EQ(client.counters().open, 0u);
  EXPECT_EQ(server.counters().requests, 3u);
}

TEST_F(ClientTest, RequestOfANodeKeepsItsClient) {
  const Server server = Serve(Echo);
  for (int i = 0; i < 3; ++i) {
    const auto reply = client_node_.Request<StringValue>("echo", Value("x"), kLong);
    ASSERT_TRUE(reply.ok()) << reply.status().ToString();
    EXPECT_EQ(reply->value(), "x");
  }
  int registered = 0;
  for (const auto& request : control_.requests()) registered += request.has_register_client();
  EXPECT_EQ(registered, 1);
}

TEST_F(ClientTest, ANodeThatHasAskedStillGoesAway) {
  const Server server = Serve(Echo);
  {
    Node node = Open("short");
    ASSERT_TRUE(node.Request<StringValue>("echo", Value("x"), kLong).ok());
  }
  control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_goodbye(); });
}

TEST_F(ClientTest, SaysAtOnceThatNobodyServes) {
  const auto reply = client_node_.Request<StringValue>("echo", Value("x"), 24h);
  EXPECT_EQ(reply.status().code(), Code::kUnavailable);
  EXPECT_THAT(reply.status().message(), HasSubstr("'echo'"));
}

TEST_F(ClientTest, RefusesAFilterAndWhatIsTooLarge) {
  for (const char* filter : {"a.*", ">", "*", "a.>", "a.*.b"}) {
    const auto refused = client_node_.Request<StringValue>(filter, Value("x"));
    EXPECT_EQ(refused.status().code(), Code::kInvalidArgument) << filter;
    EXPECT_EQ((server_node_.Serve<StringValue, StringValue>(filter, Echo).status().code()),
              Code::kInvalidArgument);
  }
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient("echo", {.ring_bytes = 4096}).value();
  EXPECT_EQ(client.max_query_bytes(), 4096u / 8 - 24);
  EXPECT_TRUE(client.Call(Bytes(client.max_query_bytes()), kLong).status().code() ==
              Code::kDataLoss);  // no StringValue, but it got there
  const Status refused = client.Call(Bytes(client.max_query_bytes() + 1), kLong).status();
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("489"));
  EXPECT_THAT(refused.message(), HasSubstr("488"));
  EXPECT_EQ(client_node_.CreateClient("echo", {.ring_bytes = 5}).status().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(client_node_.CreateClient("echo", {.max_open = 0}).status().code(),
            Code::kInvalidArgument);
}

TEST_F(ClientTest, GivesUpAtItsDeadlineAndCountsTheLateReply) {
  std::promise<void> go_on;
  const Server server = Serve([&](const StringValue& query) {
    if (query.value() == "slow") go_on.get_future().wait();
    return query;
  });
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  const auto reply = client.Call(Value("slow"), 20ms);
  EXPECT_EQ(reply.status().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(reply.status().message(), HasSubstr("'node-1'"));
  go_on.set_value();
  EXPECT_EQ(client.Call(Value("fast"), kLong).value().value(), "fast");
  EXPECT_EQ(client.counters().late_replies, 1u);
}

TEST_F(ClientTest, WaitsForRoomOfTheRequestRingUntilItsDeadline) {
  const auto server = server_node_.CreateServer<Bytes, Bytes>(
      "echo", [](const Bytes& query) { return query; }, {.ring_bytes = 4096});
  auto client = client_node_.CreateClient("echo", {.ring_bytes = 4096}).value();
  const Bytes query(400);
  std::atomic<int> done = 0;
  Status full;
  // 4 KiB hold nine of these; nobody serves yet.
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(client
                    .CallAsync(query, kLong,
                               [&](const Result<Bytes>& reply) {
                                 EXPECT_TRUE(reply.ok()) << reply.status().ToString();
                                 ++done;
                               })
                    .ok());
  }
  EXPECT_EQ(client.Call(query, 20ms).status().code(), Code::kDeadlineExceeded);
  std::thread waits([&] { EXPECT_TRUE(client.Call(query, kLong).ok()); });
  while (client.counters().open < 10) std::this_thread::yield();
  auto serving = server.value();
  std::thread serves([&] {
    while (serving.RunOnce(kLong).ok()) {
    }
  });
  waits.join();
  EXPECT_TRUE(WaitUntil([&] { return done == 9; }));
  serving.Close();
  serves.join();
}

TEST_F(ClientTest, CallsBackOnceForEachRequest) {
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  std::atomic<int> right = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client
                    .CallAsync(Value(std::to_string(i)), kLong,
                               [&, i](const auto& reply) {
                                 right += reply.ok() && reply->value() == std::to_string(i);
                                 if (i == 7) throw std::runtime_error("a callback");
                               })
                    .ok());
  }
  EXPECT_TRUE(WaitUntil([&] { return right == 100; }));
  EXPECT_TRUE(WaitUntil([&] { return client.counters().exceptions == 1; }));
}

TEST_F(ClientTest, CallsBackAtTheDeadlineAndWhenCancelledAndWhenClosed) {
  const auto server = server_node_.CreateServer<StringValue, StringValue>("echo", Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  std::promise<Code> late, cancelled, closed;
  const auto tell = [](std::promise<Code>* promise) {
    return
        [promise](const Result<StringValue>& reply) { promise->set_value(reply.status().code()); };
  };
  ASSERT_TRUE(client.CallAsync(Value("a"), kLong, tell(&closed)).ok());
  ASSERT_TRUE(client.CallAsync(Value("b"), 10ms, tell(&late)).ok());
  EXPECT_EQ(late.get_future().get(), Code::kDeadlineExceeded);
  auto pending = client.CallAsync(Value("c"), kLong, tell(&cancelled)).value();
  pending.Cancel();
  EXPECT_EQ(cancelled.get_future().get(), Code::kCancelled);
  pending.Cancel();
  client.Close();
  EXPECT_EQ(closed.get_future().get(), Code::kClosed);
  EXPECT_EQ(client.Call(Value("d")).status().code(), Code::kClosed);
  EXPECT_EQ(client.CallAsync(Value("d"), kLong, nullptr).status().code(), Code::kClosed);
}

TEST_F(ClientTest, MayBeDroppedInItsOwnCallback) {
  const Server server = Serve(Echo);
  std::promise<void> called;
  auto client = std::make_shared<Client<StringValue, StringValue>>(
      client_node_.CreateClient<StringValue, StringValue>("echo").value());
  ASSERT_TRUE(client
                  ->CallAsync(Value("x"), kLong,
                              [&called, client](const auto& reply) mutable {
                                EXPECT_TRUE(reply.ok());
                                client.reset();
                                called.set_value();
                              })
                  .ok());
  client.reset();
  called.get_future().wait();
  control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_unregister(); });
}

TEST_F(ClientTest, ServesManyThreadsAtOnce) {
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&client, t] {
      for (int i = 0; i < 300; ++i) {
        const std::string text = std::to_string(t) + "/" + std::to_string(i);
        const auto reply = client.Call(Value(text), kLong);
        ASSERT_TRUE(reply.ok()) << reply.status().ToString();
        ASSERT_EQ(reply->value(), text);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(client.counters().replies, 2400u);
  EXPECT_EQ(client.counters().late_replies, 0u);
}

TEST_F(ClientTest, SharesTheLoadAmongServers) {
  std::vector<Server> servers;
  for (int i = 0; i < 3; ++i) servers.push_back(Serve(Echo));
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  EXPECT_EQ(client.servers(), 3u);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(client.Call(Value("x"), kLong).ok());
  for (const Server& server : servers) EXPECT_EQ(server.counters().requests, 10u);
}

TEST_F(ClientTest, AsksTheServerThatHasLeastToDo) {
  std::promise<void> go_on;
  auto wait = go_on.get_future().share();
  Threads threads;
  const Server stuck = Serve(
      [wait](const StringValue& query) {
        wait.wait();
        return query;
      },
      {.executor = threads.executor()});
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  std::promise<void> answered;
  ASSERT_TRUE(client
                  .CallAsync(Value("x"), kLong,
                             [&](const auto& reply) {
                               EXPECT_TRUE(reply.ok());
                               answered.set_value();
                             })
                  .ok());
  const Server free = Serve(Echo);
  ASSERT_TRUE(client.WaitForServers(2, kLong).ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.Call(Value("x"), kLong).ok());
  EXPECT_EQ(free.counters().requests, 10u);
  go_on.set_value();
  answered.get_future().wait();
}

TEST_F(ClientTest, LimitsHowManyAreOpen) {
  const auto server = server_node_.CreateServer<StringValue, StringValue>("echo", Echo);
  auto client =
      client_node_.CreateClient<StringValue, StringValue>("echo", {.max_open = 2}).value();
  auto first = client.CallStream(Value("a"), kLong).value();
  {
    const auto second = client.CallStream(Value("b"), kLong);
    ASSERT_TRUE(second.ok());
    const Status refused = client.Call(Value("c"), kLong).status();
    EXPECT_EQ(refused.code(), Code::kResourceExhausted);
    EXPECT_THAT(refused.message(), HasSubstr("at most 2"));
  }
  EXPECT_TRUE(client.CallStream(Value("d"), kLong).ok());
}

TEST_F(ClientTest, IsAbortedAtOnceWhenTheServerClosesButReadsWhatItWrote) {
  auto server = server_node_.CreateServer<StringValue, StringValue>("echo", Echo).value();
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  std::promise<Code> first, second;
  ASSERT_TRUE(client
                  .CallAsync(Value("a"), 24h,
                             [&](const auto& reply) { first.set_value(reply.status().code()); })
                  .ok());
  ASSERT_TRUE(client
                  .CallAsync(Value("b"), 24h,
                             [&](const auto& reply) { second.set_value(reply.status().code()); })
                  .ok());
  ASSERT_TRUE(server.RunOnce(kLong).ok());
  server.Close();
  EXPECT_EQ(first.get_future().get(), Code::kOk);
  EXPECT_EQ(second.get_future().get(), Code::kAborted);
  EXPECT_EQ(client.counters().aborted, 1u);
  EXPECT_EQ(client.Call(Value("c"), 24h).status().code(), Code::kUnavailable);
}

TEST_F(ClientTest, GoesOnWithItsServersWhenControlDies) {
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  control_.DieWithKeeper();
  EXPECT_TRUE(WaitUntil([&] { return !client_node_.connected(); }));
  EXPECT_TRUE(client.Call(Value("x"), kLong).ok());
}

TEST_F(ClientTest, EndsWithItsNode) {
  const auto server = server_node_.CreateServer<StringValue, StringValue>("echo", Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  std::thread closes([&] {
    while (client.counters().open == 0) std::this_thread::yield();
    client_node_.Close();
  });
  EXPECT_EQ(client.Call(Value("x"), 24h).status().code(), Code::kClosed);
  closes.join();
}

TEST_F(ClientTest, StreamsUntilTheEnd) {
  const Server server = Serve([](const StringValue& query, ReplyStream<StringValue>& stream) {
    for (int i = 0; i < 1000; ++i) {
      Status status = stream.Write(Value(query.value() + std::to_string(i)));
      if (!status.ok()) return status;
    }
    return Status();
  });
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  auto reader = client.CallStream(Value("n"), kLong).value();
  for (int i = 0; i < 1000; ++i) {
    const auto next = reader.Next(kLong);
    ASSERT_TRUE(next.ok()) << next.status().ToString();
    ASSERT_TRUE(next.value().has_value());
    ASSERT_EQ((*next)->value(), "n" + std::to_string(i));
  }
  for (int i = 0; i < 2; ++i) {
    const auto end = reader.Next(kLong);
    ASSERT_TRUE(end.ok()) << end.status().ToString();
    EXPECT_FALSE(end.value().has_value());
  }
  EXPECT_EQ(client.Call(Value("n"), kLong).status().code(), Code::kFailedPrecondition);
}

TEST_F(ClientTest, TakesAPlainReplyAsAStreamOfOne) {
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  for (const char* text : {"x", ""}) {
    auto reader = client.CallStream(Value(text), kLong).value();
    const auto next = reader.Next();
    ASSERT_TRUE(next.ok() && next.value().has_value());
    EXPECT_EQ((*next)->value(), text);
    EXPECT_FALSE(reader.Next().value().has_value());
  }
}

TEST_F(ClientTest, ASlowStreamHoldsItsServerBackAndNobodyElse) {
  std::atomic<int> written = 0;
  Threads threads;
  Server server = Serve(
      [&written](const StringValue& query, ReplyStream<StringValue>& stream) {
        if (query.value() == "quick") return stream.Write(query);
        for (;;) {
          if (Status status = stream.Write(query); !status.ok()) return status;
          ++written;
        }
      },
      {.executor = threads.executor()});
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  auto slow = client.CallStream(Value("slow"), kLong).value();
  EXPECT_TRUE(WaitUntil([&] { return written == 64; }));
  for (int i = 0; i < 50; ++i) {
    auto quick = client.CallStream(Value("quick"), kLong).value();
    EXPECT_TRUE(quick.Next(kLong).value().has_value());
    EXPECT_FALSE(quick.Next(kLong).value().has_value());
  }
  EXPECT_EQ(written, 64);
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(slow.Next(kLong).value().has_value());
  EXPECT_TRUE(WaitUntil([&] { return written == 96; }));
  slow.Cancel();
  for (;;) {
    const auto next = slow.Next(kLong);
    if (next.ok()) continue;
    EXPECT_EQ(next.status().code(), Code::kCancelled);
    break;
  }
  EXPECT_TRUE(WaitUntil([&] { return server.counters().running == 0; }));
  server.Close();
}

TEST_F(ClientTest, NextOfAStreamTimesOutAndGoesOn) {
  std::promise<void> go_on;
  const Server server = Serve([&](const StringValue& query, ReplyStream<StringValue>& stream) {
    go_on.get_future().wait();
    return stream.Write(query);
  });
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  auto reader = client.CallStream(Value("x"), kLong).value();
  EXPECT_EQ(reader.Next(1ms).status().code(), Code::kTimeout);
  go_on.set_value();
  EXPECT_TRUE(reader.Next(kLong).value().has_value());
  EXPECT_FALSE(reader.Next(kLong).value().has_value());
}

TEST_F(ClientTest, AStreamEndsAtItsDeadline) {
  const auto server = server_node_.CreateServer<StringValue, StringValue>("echo", Echo);
  auto client = client_node_.CreateClient<StringValue, StringValue>("echo").value();
  auto reader = client.CallStream(Value("x"), 10ms).value();
  EXPECT_EQ(reader.Next(kLong).status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(reader.Next(kLong).status().code(), Code::kDeadlineExceeded);
}

TEST_F(ClientTest, SaysDataLossForAReplyOfAnotherType) {
  const auto server = server_node_.ServeBytes(
      "echo", StringValue::default_instance().GetTypeName(),
      StringValue::default_instance().GetTypeName(),
      [](BytesServerCall& call) { return call.Reply(AsBytes("\xff\xff\xff")); });
  const auto reply = client_node_.Request<StringValue>("echo", Value("x"), kLong);
  EXPECT_EQ(reply.status().code(), Code::kDataLoss);
  EXPECT_THAT(reply.status().message(), HasSubstr("google.protobuf.StringValue"));
}

TEST_F(ClientTest, AnswersInBytesToo) {
  const auto server = server_node_.ServeBytes(
      "raw", "", "", [](BytesServerCall& call) { return call.Reply(call.query()); });
  auto client = client_node_.CreateClient("raw").value();
  EXPECT_EQ(Text(client.Call(AsBytes("bytes"), kLong).value()), "bytes");
  auto reader = client.CallStream(AsBytes("more"), kLong).value();
  auto moved = std::move(reader);
  EXPECT_EQ(Text(moved.Next().value().value()), "more");
}

}  // namespace
}  // namespace ivmq::test
