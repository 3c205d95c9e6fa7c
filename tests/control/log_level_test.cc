// --log-level of ivmqd says what control logs, too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>

#include "tests/control/test_node.h"
#include "tests/sdk/daemon.h"
#include "transport/attach_client.h"

namespace ivmq::control {
namespace {

using testing::HasSubstr;
using testing::Not;

// What both processes log at that level while a process comes and sends a frame that is nonsense.
std::string LogAt(const std::string& level) {
  test::Daemon daemon({"--log-level", level});
  auto attached =
      transport::Attach(daemon.node_socket(), std::chrono::steady_clock::now() + kPatience);
  EXPECT_TRUE(attached.ok());
  if (!attached.ok()) return "";
  TestNode node(attached.value().welcome.connection_id, std::move(attached.value().channel));
  node.SendRaw("\xff\xff\xff");
  EXPECT_TRUE(WaitUntil([&] { return node.AtEof(); }));
  EXPECT_EQ(daemon.Stop(), 0);
  return daemon.log();
}

TEST(LogLevelTest, AtDebugControlSaysWhyASessionEnded) {
  const std::string log = LogAt("debug");
  EXPECT_THAT(log, HasSubstr("ivmqd-control info realm \"default\": "));
  EXPECT_THAT(log, HasSubstr("ivmqd-control debug process "));
  EXPECT_THAT(log, HasSubstr("session ended: a frame that is no NodeRequest"));
}

TEST(LogLevelTest, AtInfoControlSaysNothingOfSessions) {
  const std::string log = LogAt("info");
  EXPECT_THAT(log, HasSubstr("ivmqd-control info realm \"default\": "));
  EXPECT_THAT(log, Not(HasSubstr("session ended")));
}

TEST(LogLevelTest, AtErrorNeitherProcessSaysThatAllIsWell) { EXPECT_EQ(LogAt("error"), ""); }

}  // namespace
}  // namespace ivmq::control
