#include "transport/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class EventLoopTest : public testing::Test {
 protected:
  static UniqueFd ReadyFd() { return UniqueFd(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)); }

  const std::unique_ptr<EventLoop> loop_ = EventLoop::Create().value();
};

TEST_F(EventLoopTest, CallsForAReadyFdUntilTheWatchEnds) {
  const UniqueFd fd = ReadyFd();
  int calls = 0;
  FdWatch watch(loop_.get(), fd.get(), EPOLLIN, [&](uint32_t events) {
    EXPECT_EQ(events, uint32_t{EPOLLIN});
    ++calls;
  });
  ASSERT_TRUE(watch);
  loop_->RunOnce(seconds(10));
  loop_->RunOnce(seconds(10));
  EXPECT_EQ(calls, 2);
  watch.Reset();
  loop_->RunOnce(milliseconds(0));
  EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, DoesNotCallAHandlerThatAnotherOfTheSameRoundRemoved) {
  const UniqueFd one = ReadyFd();
  const UniqueFd two = ReadyFd();
  FdWatch first;
  FdWatch second;
  int calls = 0;
  const auto once = [&](uint32_t) {
    ++calls;
    first.Reset();
    second.Reset();
  };
  first = FdWatch(loop_.get(), one.get(), EPOLLIN, once);
  second = FdWatch(loop_.get(), two.get(), EPOLLIN, once);
  loop_->RunOnce(seconds(10));
  loop_->RunOnce(milliseconds(0));
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, SaysWhenTheKernelRefusesAWatch) {
  const FdWatch watch(loop_.get(), -1, EPOLLIN, [](uint32_t) {});
  EXPECT_FALSE(watch);
}

TEST_F(EventLoopTest, RunsTimersInTheOrderOfTheirDeadlines) {
  std::vector<int> ran;
  Timer late(loop_.get());
  Timer early(loop_.get());
  Timer never(loop_.get());
  late.Set(milliseconds(4), [&] { ran.push_back(2); });
  early.Set(milliseconds(2), [&] { ran.push_back(1); });
  never.Set(milliseconds(3), [&] { ran.push_back(0); });
  never.Reset();
  EXPECT_TRUE(late.is_set());
  while (late.is_set()) loop_->RunOnce(seconds(10));
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

TEST_F(EventLoopTest, ATimersHandlerMaySetItAgainOrDestroyIt) {
  auto timer = std::make_unique<Timer>(loop_.get());
  int calls = 0;
  timer->Set(milliseconds(0), [&] {
    ++calls;
    timer->Set(milliseconds(0), [&] {
      ++calls;
      timer.reset();
    });
  });
  while (timer) loop_->RunOnce(seconds(10));
  EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, RunsWhatOtherThreadsPostInOrder) {
  constexpr int kPosts = 10'000;
  std::vector<int> ran;
  std::thread poster([&] {
    for (int i = 0; i < kPosts; ++i) {
      loop_->Post([&ran, i] { ran.push_back(i); });
    }
    loop_->Post([this] { loop_->Stop(); });
  });
  loop_->Run();
  poster.join();
  ASSERT_EQ(ran.size(), size_t{kPosts});
  for (int i = 0; i < kPosts; ++i) ASSERT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST_F(EventLoopTest, StopsFromAnyThreadAndRunsAgain) {
  std::thread stopper([this] { loop_->Stop(); });
  loop_->Run();
  stopper.join();
  loop_->Stop();  // before it runs
  loop_->Run();
  Timer timer(loop_.get());
  timer.Set(milliseconds(1), [this] { loop_->Stop(); });
  loop_->Run();
  EXPECT_FALSE(timer.is_set());
}

TEST_F(EventLoopTest, DropsWhatIsStillPostedAtItsEnd) {
  const auto alive = std::make_shared<int>(0);
  auto loop = EventLoop::Create().value();
  loop->Post([alive] { FAIL() << "ran in " << alive.use_count(); });
  EXPECT_EQ(alive.use_count(), 2);
  loop.reset();
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_F(EventLoopTest, ArmsBeforeEachSleepAndStaysAwakeWhereThatIsRefused) {
  bool refuse = true;
  int armed = 0;
  int disarmed = 0;
  loop_->SetSleepHooks(
      [&] {
        ++armed;
        return !refuse;
      },
      [&] { ++disarmed; });
  loop_->RunOnce(std::chrono::hours(1));  // does not sleep
  EXPECT_EQ(armed, 1);
  EXPECT_EQ(disarmed, 1);
  EXPECT_EQ(loop_->wakeups(), 0U);
  refuse = false;
  loop_->RunOnce(milliseconds(1));
  EXPECT_EQ(armed, 2);
  EXPECT_EQ(loop_->wakeups(), 1U);
  loop_->SetSleepHooks(nullptr, nullptr);
  loop_->RunOnce(milliseconds(1));
  EXPECT_EQ(armed, 2);
}

TEST_F(EventLoopTest, SleepsWhenThereIsNothingToDo) {
  Timer end(loop_.get());
  end.Set(milliseconds(50), [this] { loop_->Stop(); });
  loop_->Run();
  EXPECT_LE(loop_->wakeups(), 2U);
}

}  // namespace
}  // namespace ivmq::transport
