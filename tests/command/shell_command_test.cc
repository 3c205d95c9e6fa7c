#include "sdk/command/shell_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/texts.h"

namespace ivmq::command {
namespace {

using test::AsBytes;
using testing::HasSubstr;

class ShellCommandTest : public testing::Test {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }
};

Result<std::string> Sh(const std::string& command, const std::string& input = "",
                       size_t bytes_max = 1 << 20) {
  return RunShellCommand({command, {"GREETING=hello"}, bytes_max}, AsBytes(input),
                         [] { return false; });
}

TEST_F(ShellCommandTest, GivesInputAndTakesOutput) {
  EXPECT_EQ(Sh("tr a-z A-Z", "shout").value(), "SHOUT");
  EXPECT_EQ(Sh("echo $GREETING").value(), "hello\n");
  EXPECT_EQ(Sh("true").value(), "");
}

TEST_F(ShellCommandTest, CarriesMoreThanAPipeHoldsBothWays) {
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(Sh("cat", large).value(), large);
  EXPECT_EQ(Sh("echo read nothing", large).value(), "read nothing\n");
}

TEST_F(ShellCommandTest, SaysHowACommandFailed) {
  EXPECT_THAT(Sh("exit 3").status().ToString(),
              HasSubstr("INTERNAL: the command ended with status 3"));
  EXPECT_THAT(Sh("kill -9 $$").status().message(), HasSubstr("signal 9"));
  EXPECT_EQ(Sh("/nonexistent 2>/dev/null").status().code(), Code::kInternal);
  EXPECT_EQ(Sh("echo 12345", "", 6).value(), "12345\n");
  EXPECT_EQ(Sh("echo 123456", "", 6).status().code(), Code::kResourceExhausted);
}

TEST_F(ShellCommandTest, StartsWithSignalsAsTheyAreByDefault) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  EXPECT_THAT(Sh("kill -TERM $$").status().message(), HasSubstr("signal 15"));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(ShellCommandTest, KillsTheCommandAndItsChildrenWhenItIsGivenUp) {
  const std::string file = testing::TempDir() + "ivmq-shell-command-" + std::to_string(::getpid());
  const std::string command =
      "sleep 1000 & echo $! >" + file + ".new; mv " + file + ".new " + file + "; wait";
  const auto status = RunShellCommand({command, {}, 100}, {}, [&] {
                        return std::filesystem::exists(file);
                      }).status();
  EXPECT_EQ(status.code(), Code::kCancelled);
  std::string child;
  std::ifstream(file) >> child;
  std::filesystem::remove(file);
  EXPECT_TRUE(test::WaitUntil([&child] { return HasEnded(child); }));
}

}  // namespace
}  // namespace ivmq::command
