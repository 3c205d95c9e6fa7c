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

}  // namespace
}  // namespace ivmq::test
