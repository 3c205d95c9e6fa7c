// How a server's threads serve, and how a stream of replies fails.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <future>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "sdk/node/node_impl.h"
#include "sdk/services/server_impl.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 60s;

class ServingTest : public ::testing::Test {
 protected:
  NodeOptions Options(const std::string& name) {
    return {.name = name, .socket_path = control_.socket_path()};
  }

  FakeControl control_;
  Node client_node_ = Node::Open(Options("client")).value();
};

TEST_F(ServingTest, RunGoesOnWhenNothingCameInOneOfItsWaits) {
  const auto node = internal::NodeImpl::Open(Options("server")).value();
  const auto server = internal::ServerImpl::Create(
                          node, "s", "", "",
                          [](BytesServerCall& call) { return call.Reply(call.query()); }, {}, false)
                          .value();
  auto run = std::async(std::launch::async, [&] { return server->Run(0ns); });
  auto client = client_node_.CreateClient("s").value();
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  int answered = 0;
  // Between two of them lie hundreds of such waits.
  while (answered < 100 && run.wait_for(0s) != std::future_status::ready) {
    if (client.Call(AsBytes("x"), 1s).ok()) ++answered;
  }
  EXPECT_EQ(answered, 100);
  server->Interrupt();
  EXPECT_EQ(run.get().code(), Code::kTimeout);
}

TEST_F(ServingTest, TheFirstRequestTakesNoLongerThanItMay) {
  auto options = Options("patient");
  options.timeout = 24h;
  Node patient = Node::Open(options).value();
  control_.set_answers_registrations(false);
  EXPECT_EQ(patient.Request<Bytes>("s", Bytes(1), 1ms).status().code(), Code::kDeadlineExceeded);
}

TEST_F(ServingTest, AStreamThatLacksATooLargePieceEndsWithThatFailure) {
  Node node = Node::Open(Options("server")).value();
  std::vector<Code> written;
  auto server =
      node.ServeBytes("s", "", "",
                      [&](BytesServerCall& call) {
                        for (const size_t bytes : {size_t{1}, size_t{1} << 20, size_t{1}}) {
                          const Bytes piece(bytes);
                          written.push_back(call.Write(piece).code());
                        }
                        return Status();
                      })
          .value();
  auto client = client_node_.CreateClient("s").value();
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  auto replies = client.CallStream(AsBytes("x"), kLong).value();
  const auto first = replies.Next();
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ(replies.Next().status().code(), Code::kResourceExhausted);
  server.Close();
  const std::vector<Code> expected = {Code::kOk, Code::kResourceExhausted,
                                      Code::kResourceExhausted};
  EXPECT_EQ(written, expected);
}

TEST_F(ServingTest, AStreamThatTheClientDidNotTakeInTimeHasNoGoodEnd) {
  Node node = Node::Open(Options("server")).value();
  std::promise<Code> given_up;
  auto server = node.ServeBytes("s", "", "",
                                [&](BytesServerCall& call) {
                                  Status status;
                                  while (status.ok()) status = call.Write(AsBytes("x"));
                                  given_up.set_value(status.code());
                                  return Status();
                                },
                                {.write_timeout = 1ms})
                    .value();
  auto client = client_node_.CreateClient("s").value();
  ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
  auto replies = client.CallStream(AsBytes("x"), kLong).value();
  EXPECT_EQ(given_up.get_future().get(), Code::kDeadlineExceeded);
  auto next = replies.Next();
  while (next.ok() && next->has_value()) next = replies.Next();
  EXPECT_EQ(next.status().code(), Code::kDeadlineExceeded);
}

}  // namespace
}  // namespace ivmq::test
