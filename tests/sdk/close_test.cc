// Close and destructors inside handlers and callbacks, while others run.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 60s;

// Something that happens once, on whatever thread.
class Once {
 public:
  void Happen() { promise_.set_value(); }
  void Await() { future_.wait(); }
  bool Happened() { return future_.wait_for(kLong) == std::future_status::ready; }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

class CloseTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  // On kGone: comes in, waits for the callback to have done so, closes.
  template <class Close>
  EventHandler WhenGone(Close close) {
    return [this, close](const Event& event) {
      if (event.kind != Event::Kind::kGone) return;
      made_.Await();
      in_handler_.Happen();
      in_callback_.Await();
      close();
      handler_closed_.Happen();
    };
  }
  template <class Close>
  void InCallback(Close close) {
    in_callback_.Happen();
    in_handler_.Await();
    close();
    callback_closed_.Happen();
  }

  FakeControl control_;
  Once made_;  // what the handlers close: that they may see it
  Once in_handler_;
  Once in_callback_;
  Once handler_closed_;
  Once callback_closed_;
  Node other_ = Open("other");
  Node node_ = Open("node");
};

TEST_F(CloseTest, OfAClientEndsInAHandlerAndInACallbackAtOnce) {
  auto server = other_.CreateBytesServer("s", "", "", [](BytesServerCall&) { return Status(); });
  std::optional<BytesClient> client;
  client = node_.CreateClient("s", {.on_event = WhenGone([&] { client->Close(); })}).value();
  made_.Happen();
  ASSERT_TRUE(client->WaitForServers(1, kLong).ok());
  Code code = Code::kOk;
  ASSERT_TRUE(client
                  ->CallAsync(AsBytes("x"), kLong,
                              [&](const Result<Bytes>& reply) {
                                code = reply.status().code();
                                InCallback([&] { client->Close(); });
                              })
                  .ok());
  server->Close();
  ASSERT_TRUE(handler_closed_.Happened() && callback_closed_.Happened());
  EXPECT_EQ(code, Code::kAborted);
}

TEST_F(CloseTest, OfANodeEndsInACallbackWhileAHandlerClosesTheSubscriber) {
  std::optional<BytesSubscriber> subscriber;
  auto publisher = other_.CreatePublisher("t").value();
  subscriber.emplace(
      node_
          .CreateSubscriber(
              "t", {.on_event = WhenGone([&] { subscriber->Close(); }),
                    .on_message = [&](const BytesMessage&) { InCallback([&] { node_.Close(); }); }})
          .value());
  made_.Happen();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  in_callback_.Await();
  publisher.Close();
  ASSERT_TRUE(handler_closed_.Happened() && callback_closed_.Happened());
}

TEST_F(CloseTest, InAHandlerLeavesACallbackItsSession) {
  std::optional<BytesSubscriber> subscriber;
  Status created;
  auto publisher = other_.CreatePublisher("t").value();
  subscriber.emplace(node_
                         .CreateSubscriber("t", {.on_event = WhenGone([&] { subscriber->Close(); }),
                                                 .on_message =
                                                     [&](const BytesMessage&) {
                                                       InCallback([&] {
                                                         created =
                                                             node_.CreatePublisher("u").status();
                                                       });
                                                     }})
                         .value());
  made_.Happen();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  in_callback_.Await();
  publisher.Close();
  ASSERT_TRUE(handler_closed_.Happened() && callback_closed_.Happened());
  EXPECT_TRUE(created.ok()) << created.message();
}

// Each waits for the handlers that run, and each is closed in one of the other.
TEST_F(CloseTest, OfTwoServersEndsInHandlersOfEachOther) {
  std::optional<BytesServer> first;
  std::optional<BytesServer> second;
  first = node_
              .CreateBytesServer("first", "", "",
                                 [&](BytesServerCall& call) {
                                   InCallback([&] { second->Close(); });
                                   return call.Reply(call.query());
                                 })
              .value();
  second = node_
               .CreateBytesServer("second", "", "",
                                  [&](BytesServerCall& call) {
                                    in_handler_.Happen();
                                    in_callback_.Await();
                                    first->Close();
                                    handler_closed_.Happen();
                                    return call.Reply(call.query());
                                  })
               .value();
  auto to_first = other_.CreateClient("first").value();
  auto to_second = other_.CreateClient("second").value();
  ASSERT_TRUE(to_first.WaitForServers(1, kLong).ok());
  ASSERT_TRUE(to_second.WaitForServers(1, kLong).ok());
  const auto one =
      std::async(std::launch::async, [&] { static_cast<void>(first->RunOnce(kLong)); });
  const auto two =
      std::async(std::launch::async, [&] { static_cast<void>(second->RunOnce(kLong)); });
  ASSERT_TRUE(to_first.CallAsync(AsBytes("x"), kLong, [](const Result<Bytes>&) {}).ok());
  ASSERT_TRUE(to_second.CallAsync(AsBytes("x"), kLong, [](const Result<Bytes>&) {}).ok());
  ASSERT_TRUE(handler_closed_.Happened() && callback_closed_.Happened());
}

// Whoever lets the last copy go may destroy next what the handlers use.
TEST_F(CloseTest, OfTheLastCopyOfAServerWaitsForItsHandler) {
  std::atomic<bool> over = false;
  std::optional<BytesServer> server = node_
                                          .Serve<Bytes, Bytes>("s",
                                                               [&](const Bytes& query) {
                                                                 in_handler_.Happen();
                                                                 std::this_thread::sleep_for(50ms);
                                                                 over = true;
                                                                 return query;
                                                               })
                                          .value();
  auto client = other_.CreateClient("s").value();
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  ASSERT_TRUE(client.CallAsync(AsBytes("x"), kLong, [](const Result<Bytes>&) {}).ok());
  in_handler_.Await();
  server.reset();
  EXPECT_TRUE(over);
}

TEST_F(CloseTest, OfTheLastCopyOfAClientWaitsForItsCallback) {
  std::atomic<bool> over = false;
  const auto server =
      other_.Serve<Bytes, Bytes>("s", [](const Bytes& query) { return query; }).value();
  std::optional<BytesClient> client = node_.CreateClient("s").value();
  ASSERT_TRUE(client->WaitForServers(1, kLong).ok());
  ASSERT_TRUE(client
                  ->CallAsync(AsBytes("x"), kLong,
                              [&](const Result<Bytes>&) {
                                in_callback_.Happen();
                                std::this_thread::sleep_for(50ms);
                                over = true;
                              })
                  .ok());
  in_callback_.Await();
  client.reset();
  EXPECT_TRUE(over);
}

// What the closed client has not called back is called back by whoever is at it.
TEST_F(CloseTest, InAHandlerLeavesTheRestToTheCallbackThatRuns) {
  auto server = other_.CreateBytesServer(
      "s", "", "", [](BytesServerCall& call) { return call.Reply(call.query()); });
  auto publisher = other_.CreatePublisher("t").value();
  auto client = node_.CreateClient("s").value();
  auto subscriber =
      node_.CreateSubscriber("t", {.on_event = WhenGone([&] { client.Close(); })}).value();
  made_.Happen();
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  std::promise<Code> last;
  ASSERT_TRUE(
      client
          .CallAsync(AsBytes("x"), kLong,
                     [&](const Result<Bytes>&) { InCallback([&] { handler_closed_.Await(); }); })
          .ok());
  ASSERT_TRUE(client
                  .CallAsync(AsBytes("x"), kLong,
                             [&](const Result<Bytes>& reply) {
                               last.set_value(callback_closed_.Happened() ? reply.status().code()
                                                                          : Code::kInternal);
                             })
                  .ok());
  ASSERT_TRUE(server->RunOnce(kLong).ok());
  in_callback_.Await();
  publisher.Close();
  EXPECT_EQ(last.get_future().get(), Code::kClosed);
}

}  // namespace
}  // namespace ivmq::test
