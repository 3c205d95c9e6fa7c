// The small parts of the SDK that need no daemon.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/status.h"
#include "sdk/node/convert.h"
#include "sdk/node/defaults.h"
#include "sdk/node/wire_text.h"
#include "sdk/threads/call_gate.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SocketPathsTest, TriesWhatItWasToldAndNothingElse) {
  EXPECT_THAT(NodeSocketPaths("/asked", {"/environment", "/run/user/1", false}),
              ElementsAre("/asked"));
  EXPECT_THAT(NodeSocketPaths("", {"/environment", "/run/user/1", false}),
              ElementsAre("/environment"));
}

TEST(SocketPathsTest, TriesTheSystemsFirstAsRootAndTheUsersFirstOtherwise) {
  EXPECT_THAT(NodeSocketPaths("", {"", "/run/user/1", true}),
              ElementsAre("/run/ivmq/node.sock", "/run/user/1/ivmq/node.sock"));
  EXPECT_THAT(NodeSocketPaths("", {"", "/run/user/1", false}),
              ElementsAre("/run/user/1/ivmq/node.sock", "/run/ivmq/node.sock"));
  EXPECT_THAT(NodeSocketPaths("", {"", "", false}), ElementsAre("/run/ivmq/node.sock"));
}

TEST(NodeNameTest, EndsWithThePidAndFits) {
  const std::string name = DefaultNodeName();
  const std::string pid = "-" + std::to_string(::getpid());
  EXPECT_LE(name.size(), kNodeNameBytesMax);
  EXPECT_EQ(name.substr(name.size() - pid.size()), pid);
  EXPECT_GT(name.size(), pid.size());
}

TEST(StatusTest, NamesEveryCodeDifferently) {
  std::set<std::string> names;
  const std::vector<int> codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 64, 65, 66};
  for (const int code : codes) names.insert(CodeName(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), codes.size());
  EXPECT_EQ(Status().ToString(), "OK");
  EXPECT_EQ(Status(Code::kFull, "no room").ToString(), "FULL: no room");
}

TEST(StatusTest, DiesOfTheValueOfAFailure) {
  const Result<int> failed(Status(Code::kNotFound, "nothing here"));
  EXPECT_DEATH(static_cast<void>(failed.value()), "NOT_FOUND: nothing here");
}

TEST(ConvertTest, KnowsTheCodesOfGrpcOnly) {
  v1::Failure failure;
  failure.set_message("why");
  for (const int code : {0, -1, 17, 64}) {
    failure.set_code(code);
    EXPECT_EQ(FromFailure(failure).code(), Code::kUnknown) << code;
  }
  failure.set_code(9);
  EXPECT_EQ(FromFailure(failure).code(), Code::kFailedPrecondition);
  EXPECT_EQ(FromFailure(failure).message(), "why");
}

TEST(ConvertTest, BoundsADeadlineThatTheClockCannotHold) {
  const auto now = std::chrono::steady_clock::now();
  EXPECT_GT(DeadlineAfter(std::chrono::nanoseconds::max()), now + 24h);
  EXPECT_LT(DeadlineAfter(std::chrono::nanoseconds::min()), now + 1min);
  EXPECT_EQ(DurationText(50ms), "50 ms");
  EXPECT_EQ(DurationText(1500ms), "1.5 s");
}

TEST(WireTextTest, TakesUtf8AndNamesTheTokenThatIsNot) {
  for (const char* text : {"", "a.b",
                           "gr\xc3\xb6\xc3\x9f"
                           "e",
                           "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    EXPECT_TRUE(CheckWireText("topic", text).ok()) << text;
  }
  for (const char* text :
       {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"}) {
    const Status refused = CheckWireText("topic", std::string("good.ba") + text + ".good");
    EXPECT_EQ(refused.code(), Code::kInvalidArgument);
    EXPECT_THAT(refused.message(), HasSubstr("\"ba\\x"));
  }
  EXPECT_TRUE(CheckWireText("topic", std::string(4096, 'x')).ok());
  EXPECT_EQ(CheckWireText("topic", std::string(4097, 'x')).code(), Code::kInvalidArgument);
}

TEST(HandlerScopeTest, KnowsEveryNodeThatIsCallingBack) {
  const int one = 1;
  const int two = 2;
  EXPECT_FALSE(HandlerScope::Inside(&one));
  {
    const HandlerScope outer(&one);
    const HandlerScope inner(&two);
    EXPECT_TRUE(HandlerScope::Inside(&one));
    EXPECT_TRUE(HandlerScope::Inside(&two));
    std::thread([&] { EXPECT_FALSE(HandlerScope::Inside(&one)); }).join();
  }
  EXPECT_FALSE(HandlerScope::Inside(&one));
}

TEST(CallGateTest, RefusesACallWithinACall) {
  CallGate gate;
  ASSERT_TRUE(gate.Enter());
  EXPECT_FALSE(gate.Enter());
  EXPECT_FALSE(gate.NobodyInside());
  gate.Leave();
  EXPECT_TRUE(gate.NobodyInside());
}

// A build without debug checks may miss it, where both enter at once, but takes it for nothing
// else.
TEST(CallGateTest, TellsASecondThreadFromACallWithinACall) {
  CallGate gate;
  ASSERT_TRUE(gate.Enter());
  std::thread([&gate] {
    EXPECT_FALSE(gate.Enter());
    EXPECT_TRUE(CallGate::LastClash().of_threads);
  }).join();
  EXPECT_FALSE(gate.Enter());
  EXPECT_FALSE(CallGate::LastClash().of_threads);
  EXPECT_EQ(CallGate::LastClash().refused, 0);
  gate.Leave();
}

#ifndef NDEBUG
TEST(CallGateTest, RefusesASecondThreadAndNamesBoth) {
  CallGate gate;
  ASSERT_TRUE(gate.Enter());
  const int first = ::gettid();
  std::thread([&gate, first] {
    EXPECT_FALSE(gate.Enter());
    EXPECT_EQ(CallGate::LastClash().inside, first);
    EXPECT_EQ(CallGate::LastClash().refused, ::gettid());
  }).join();
  EXPECT_FALSE(gate.Enter());
  EXPECT_EQ(CallGate::LastClash().refused, 0);
  gate.Leave();
  std::thread([&gate] {
    EXPECT_TRUE(gate.Enter());
    gate.Leave();
  }).join();
}
#endif

// What the gate protects is a plain integer: both threads change it, and neither loses a change.
TEST(CallGateTest, NeverLetsTwoThreadsIn) {
  CallGate::Prepare();
  constexpr int kChanges = 20'000;
  CallGate gate;
  std::mutex mutex;
  int to_apply = 0;    // guarded by mutex
  int protected_ = 0;  // by the gate
  int calls = 0;
  std::atomic<bool> done{false};
  const auto take_pending = [&] {
    const std::lock_guard lock(mutex);
    if (!gate.pending()) return;
    protected_ += to_apply;
    to_apply = 0;
    gate.Done();
  };
  std::thread caller([&] {
    while (!done) {
      ASSERT_TRUE(gate.Enter());
      if (gate.pending()) take_pending();
      ++protected_;
      ++calls;
      gate.Leave();
      if (gate.pending()) take_pending();
    }
  });
  for (int i = 0; i < kChanges; ++i) {
    const std::lock_guard lock(mutex);
    ++to_apply;
    gate.Request();
    if (gate.NobodyInside()) {
      protected_ += to_apply;
      to_apply = 0;
      gate.Done();
    }
  }
  done = true;
  caller.join();
  EXPECT_EQ(protected_ + to_apply, kChanges + calls);
}

}  // namespace
}  // namespace ivmq::internal
