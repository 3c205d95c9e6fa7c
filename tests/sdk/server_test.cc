// Servers: their handlers, their threads, and what reaches a handler of its client's fate.

#include <gmock/gmock.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
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

StringValue Value(const std::string& text) {
  StringValue value;
  value.set_value(text);
  return value;
}
StringValue Echo(const StringValue& query) { return query; }

class ServerTest : public ::testing::Test {
 protected:
  using StringClient = Client<StringValue, StringValue>;

  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  template <class Handler>
  Server Serve(Handler handler, ServerOptions options = {}) {
    return node_.Serve<StringValue, StringValue>("s", std::move(handler), std::move(options))
        .value();
  }
  StringClient MakeClient(const ClientOptions& options = {}) {
    return client_node_.CreateClient<StringValue, StringValue>("s", options).value();
  }
  static void Begin(StringClient* client, const std::string& text, int count = 1) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(client->CallAsync(Value(text), kLong, [](const auto&) {}).ok());
    }
  }

  FakeControl control_;
  Node node_ = Open("server");
  Node client_node_ = Open("client");
};

TEST_F(ServerTest, TellsTheClientWhatTheHandlerReturns) {
  const Server server = Serve([](const StringValue& query) -> Result<StringValue> {
    if (query.value() == "full") return Status(Code::kFull, "full up");
    if (query.value() == "unknown") return Status(Code::kNotFound, "no such thing");
    return query;
  });
  auto client = MakeClient();
  const Status status = client.Call(Value("unknown"), kLong).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(), "no such thing");
  EXPECT_EQ(client.Call(Value("full"), kLong).status().code(), Code::kResourceExhausted);
  EXPECT_TRUE(client.Call(Value("known"), kLong).ok());
  const std::string long_text(5000, 'x');
  const Server other =
      node_
          .Serve<StringValue, StringValue>("long",
                                           [&](const StringValue&) -> Result<StringValue> {
                                             return Status(Code::kInternal, long_text);
                                           })
          .value();
  EXPECT_EQ(client_node_.Request<StringValue>("long", Value("x"), kLong).status().message(),
            std::string(1024, 'x'));
}

TEST_F(ServerTest, OutlivesAHandlerThatThrows) {
  const Server server = Serve([](const StringValue& query) {
    if (query.value() == "number") throw 7;
    if (query.value() != "fine") throw std::runtime_error("what a handler!");
    return query;
  });
  auto client = MakeClient();
  const Status status = client.Call(Value("x"), kLong).status();
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("what a handler!"));
  EXPECT_EQ(client.Call(Value("number"), kLong).status().code(), Code::kInternal);
  EXPECT_TRUE(client.Call(Value("fine"), kLong).ok());
  EXPECT_EQ(server.counters().exceptions, 2u);
}

TEST_F(ServerTest, SaysDataLossForAQueryOfAnotherType) {
  const Server server = Serve(Echo);
  auto client = client_node_.CreateClient("s").value();
  const Status status = client.Call(AsBytes("\xff\xff"), kLong).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("StringValue"));
}

TEST_F(ServerTest, RefusesAReplyThatFitsNoRing) {
  const Server server = Serve([](const StringValue&) { return Value(std::string(10000, 'x')); });
  auto client = MakeClient();
  const Status status = client.Call(Value("x"), kLong).status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("8208"));
  auto roomy = MakeClient({.ring_bytes = 256 << 10});
  EXPECT_EQ(roomy.Call(Value("x"), kLong).value().value().size(), 10000u);
}

TEST_F(ServerTest, RunsOnTheCallersThread) {
  std::thread::id where;
  auto server = node_
                    .CreateServer<StringValue, StringValue>("s",
                                                            [&](const StringValue& query) {
                                                              where = std::this_thread::get_id();
                                                              return query;
                                                            })
                    .value();
  EXPECT_EQ(server.RunOnce(1ms).code(), Code::kTimeout);
  auto client = MakeClient();
  std::thread asks([&] { EXPECT_TRUE(client.Call(Value("x"), kLong).ok()); });
  EXPECT_TRUE(server.RunOnce(kLong).ok());
  asks.join();
  EXPECT_EQ(where, std::this_thread::get_id());
  server.Interrupt();
  EXPECT_EQ(server.Run().code(), Code::kTimeout);
  std::thread closes([&] { server.Close(); });
  EXPECT_EQ(server.Run().code(), Code::kClosed);
  closes.join();
  EXPECT_EQ(server.RunOnce(0s).code(), Code::kClosed);
}

TEST_F(ServerTest, RunsOnSeveralThreadsOfTheCaller) {
  std::mutex mutex;
  std::map<std::thread::id, int> counts;
  auto server = node_
                    .CreateServer<StringValue, StringValue>("s",
                                                            [&](const StringValue& query) {
                                                              const std::lock_guard lock(mutex);
                                                              ++counts[std::this_thread::get_id()];
                                                              return query;
                                                            })
                    .value();
  std::vector<std::thread> serving(3);
  for (std::thread& one : serving) one = std::thread([&] { static_cast<void>(server.Run()); });
  auto client = MakeClient();
  std::atomic<int> answered = 0;
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(
        client.CallAsync(Value("x"), kLong, [&](const auto& reply) { answered += reply.ok(); })
            .ok());
  }
  EXPECT_TRUE(WaitUntil([&] { return answered == 500; }));
  server.Close();
  for (auto& thread : serving) thread.join();
  int served = 0;
  for (const auto& [thread, count] : counts) served += count;
  EXPECT_EQ(served, 500);
}

TEST_F(ServerTest, GivesAnExecutorNoMoreThanItMay) {
  std::mutex mutex;
  std::vector<std::function<void()>> given;
  Server server = Serve(Echo, {.executor =
                                   [&](std::function<void()> run) {
                                     const std::lock_guard lock(mutex);
                                     given.push_back(std::move(run));
                                   },
                               .max_concurrent = 3});
  auto client = MakeClient();
  std::atomic<int> answered = 0;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(
        client.CallAsync(Value("x"), kLong, [&](const auto& reply) { answered += reply.ok(); })
            .ok());
  }
  EXPECT_TRUE(WaitUntil([&] { return server.counters().waiting == 7; }));
  while (answered < 10) {
    std::vector<std::function<void()>> taken;
    {
      const std::lock_guard lock(mutex);
      taken.swap(given);
    }
    EXPECT_LE(taken.size(), 3u);
    for (auto& run : taken) run();
  }
  EXPECT_EQ(server.counters().waiting, 0u);
}

TEST_F(ServerTest, AnExecutorThatDropsARequestAbortsIt) {
  int calls = 0;
  const Server server = Serve(Echo, {.executor = [&](const std::function<void()>&) {
                                if (++calls % 2 == 0) throw std::runtime_error("no");
                              }});
  auto client = MakeClient();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(client.Call(Value("x"), kLong).status().code(), Code::kAborted);
  }
  EXPECT_EQ(server.counters().running, 0u);
}

TEST_F(ServerTest, HandlersLearnThatTheClientCancelled) {
  std::promise<void> begun;
  std::promise<std::string> learnt;
  const Server server = Serve([&](const StringValue& query, ServerContext& context) {
    EXPECT_GT(context.deadline(), std::chrono::steady_clock::now() + kLong / 2);
    EXPECT_FALSE(context.cancelled());
    begun.set_value();
    while (!context.cancelled()) std::this_thread::yield();
    learnt.set_value(context.client());
    return query;
  });
  auto client = MakeClient();
  auto pending = client.CallAsync(Value("x"), kLong, [](const auto&) {}).value();
  begun.get_future().wait();
  pending.Cancel();
  EXPECT_EQ(learnt.get_future().get(), "node-2");
}

TEST_F(ServerTest, HandlersLearnThatTheClientClosed) {
  std::promise<void> begun, learnt;
  const Server server = Serve([&](const StringValue& query, ServerContext& context) {
    begun.set_value();
    while (!context.cancelled()) std::this_thread::yield();
    learnt.set_value();
    return query;
  });
  auto client = MakeClient();
  Begin(&client, "x");
  begun.get_future().wait();
  client.Close();
  learnt.get_future().wait();
}

TEST_F(ServerTest, HandlersSeeTheClientsDeadline) {
  std::promise<void> learnt, gave_up;
  std::atomic<bool> begun = false;
  const Server server = Serve([&](const StringValue& query, ServerContext& context) {
    begun = true;
    while (!context.cancelled()) std::this_thread::yield();
    learnt.set_value();
    gave_up.get_future().wait();
    return query;
  });
  auto client = MakeClient();
  while (!begun) {  // One whose time was over before its turn came is not begun.
    EXPECT_EQ(client.Call(Value("x"), 5ms).status().code(), Code::kDeadlineExceeded);
  }
  learnt.get_future().wait();
  gave_up.set_value();
}

TEST_F(ServerTest, DoesNotBeginWhatIsPastItsDeadlineOrCancelled) {
  std::vector<std::string> served;
  auto server = node_
                    .CreateServer<StringValue, StringValue>("s",
                                                            [&](const StringValue& query) {
                                                              served.push_back(query.value());
                                                              return query;
                                                            })
                    .value();
  auto client = MakeClient();
  auto cancelled = client.CallAsync(Value("cancelled"), kLong, [](const auto&) {}).value();
  EXPECT_EQ(client.Call(Value("late"), 1ms).status().code(), Code::kDeadlineExceeded);
  cancelled.Cancel();
  Begin(&client, "good");
  ASSERT_TRUE(server.RunOnce(kLong).ok());
  EXPECT_EQ(served, std::vector<std::string>{"good"});
  EXPECT_EQ(server.counters().cancelled, 2u);
  EXPECT_EQ(server.counters().waiting, 0u);
}

TEST_F(ServerTest, AStreamEndsWithItsClient) {
  std::promise<Code> cancelled, gone;
  Threads threads;
  Server server = Serve(
      [&](const StringValue& query, ReplyStream<StringValue>& stream) {
        for (;;) {
          Status status = stream.Write(query);
          if (status.ok()) continue;
          (query.value() == "cancel" ? cancelled : gone).set_value(status.code());
          return status;
        }
      },
      {.executor = threads.executor()});
  auto client = MakeClient();
  {
    auto reader = client.CallStream(Value("cancel"), kLong).value();
    ASSERT_TRUE(reader.Next(kLong).ok());  // It is begun.
  }
  EXPECT_EQ(cancelled.get_future().get(), Code::kCancelled);
  auto reader = client.CallStream(Value("gone"), kLong).value();
  ASSERT_TRUE(reader.Next(kLong).ok());
  client.Close();
  EXPECT_EQ(gone.get_future().get(), Code::kAborted);
  server.Close();
}

TEST_F(ServerTest, AStreamEndsWithItsServer) {
  std::promise<Code> closed;
  Server server = Serve([&](const StringValue& query, ReplyStream<StringValue>& stream) {
    for (;;) {
      Status status = stream.Write(query);
      if (status.ok()) continue;
      closed.set_value(status.code());
      return status;
    }
  });
  auto client = MakeClient();
  auto reader = client.CallStream(Value("x"), kLong).value();
  ASSERT_TRUE(reader.Next(kLong).ok());
  server.Close();
  EXPECT_EQ(closed.get_future().get(), Code::kClosed);
  for (;;) {
    const auto next = reader.Next(kLong);
    if (next.ok() && next.value().has_value()) continue;
    EXPECT_EQ(next.status().code(), Code::kAborted);
    break;
  }
}

TEST_F(ServerTest, AOneThreadedServerReadsCreditBehindWaitingRequests) {
  constexpr int kPieces = 500;
  const Server server = Serve([](const StringValue& query, ReplyStream<StringValue>& stream) {
    for (int i = 0; i < (query.value() == "many" ? kPieces : 1); ++i) {
      if (Status status = stream.Write(query); !status.ok()) return status;
    }
    return Status();
  });
  auto client = MakeClient();
  auto many = client.CallStream(Value("many"), kLong).value();
  std::vector<ReplyReader<StringValue>> others;
  others.reserve(40);
  for (int i = 0; i < 40; ++i) others.push_back(client.CallStream(Value("one"), kLong).value());
  for (int i = 0; i < kPieces; ++i) ASSERT_TRUE(many.Next(kLong).value().has_value());
  EXPECT_FALSE(many.Next(kLong).value().has_value());
  for (auto& other : others) EXPECT_TRUE(other.Next(kLong).value().has_value());
}

TEST_F(ServerTest, ReadsNoMoreOfAClientThanItCanHold) {
  auto server = node_.CreateServer<StringValue, StringValue>("s", Echo).value();
  auto greedy = MakeClient();
  auto modest = MakeClient();
  std::atomic<int> answered = 0;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(
        greedy.CallAsync(Value("x"), kLong, [&](const auto& reply) { answered += reply.ok(); })
            .ok());
  }
  ASSERT_TRUE(server.RunOnce(kLong).ok());
  ASSERT_TRUE(server.RunOnce(kLong).ok());
  EXPECT_LE(server.counters().waiting, 64u);
  // The other one is not the 299th in the queue.
  std::thread asks([&] { EXPECT_TRUE(modest.Call(Value("y"), kLong).ok()); });
  while (modest.counters().open == 0) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(server.RunOnce(kLong).ok());
  asks.join();
  while (answered < 300) ASSERT_TRUE(server.RunOnce(1ms).code() != Code::kClosed);
}

TEST_F(ServerTest, KeepsRepliesForAClientThatReadsLate) {
  auto server = node_
                    .CreateServer<Bytes, Bytes>("s", [](const Bytes&) { return Bytes(400); },
                                                {.ring_bytes = 4096})
                    .value();
  auto client = client_node_.CreateClient("s", {.ring_bytes = 4096}).value();
  // Nobody reads until Next() is called, and the reply ring holds nine.
  std::vector<BytesReplyReader> readers;
  for (int i = 0; i < 30; ++i) {
    readers.push_back(client.CallStream(AsBytes("x"), kLong).value());
    ASSERT_TRUE(server.RunOnce(10ms).code() != Code::kClosed);
  }
  std::thread serves([&] { static_cast<void>(server.Run()); });
  for (auto& reader : readers) EXPECT_EQ(reader.Next(kLong).value().value().size(), 400u);
  server.Close();
  serves.join();
}

TEST_F(ServerTest, CloseWaitsForItsHandlers) {
  std::promise<void> begun;
  std::atomic<bool> over = false;
  Server server = Serve([&](const StringValue& query, ServerContext& context) {
    begun.set_value();
    while (!context.cancelled()) std::this_thread::yield();
    over = true;
    return query;
  });
  auto client = MakeClient();
  Begin(&client, "x");
  begun.get_future().wait();
  server.Close();
  EXPECT_TRUE(over);
}

TEST_F(ServerTest, MayBeClosedAndDroppedInItsOwnHandler) {
  std::promise<void> may_drop, dropped;
  auto server = std::make_shared<std::optional<Server>>();
  *server = Serve([&, server](const StringValue& query) {
    may_drop.get_future().wait();
    (*server)->Close();
    server->reset();
    dropped.set_value();
    return query;
  });
  auto client = MakeClient();
  Begin(&client, "x");
  server.reset();
  may_drop.set_value();
  dropped.get_future().wait();
}

TEST_F(ServerTest, AClientThatGetsNoReplyIsToldSo) {
  const auto silent = [](BytesServerCall&) { return Status(); };
  const Server server = node_.ServeBytes("s", {}, {}, silent).value();
  const Status none = client_node_.CreateClient("s").value().Call({}, kLong).status();
  EXPECT_EQ(none.code(), Code::kFailedPrecondition);
  EXPECT_THAT(none.message(), HasSubstr("service 's' gave no reply"));
}

TEST_F(ServerTest, RefusesWhatCannotBe) {
  EXPECT_EQ((node_.Serve<Bytes, Bytes>("s", [](const Bytes& b) { return b; }, {.ring_bytes = 7}))
                .status()
                .code(),
            Code::kInvalidArgument);
  EXPECT_EQ(
      (node_.Serve<Bytes, Bytes>("s", [](const Bytes& b) { return b; }, {.max_concurrent = 0}))
          .status()
          .code(),
      Code::kInvalidArgument);
  EXPECT_EQ(node_.ServeBytes("s", "", "", nullptr).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ivmq::test
