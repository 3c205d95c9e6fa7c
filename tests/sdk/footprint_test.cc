// What a node costs while it does nothing, as the kernel counts it.

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/process_figures.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

TEST(FootprintTest, SleepsWhileItIsBlockedInReceiveAndStaysSmall) {
  Daemon daemon;
  Child idle({"sdk_test_peer", "idle", daemon.node_socket(), "t"});
  ASSERT_EQ(idle.ReadLine(), "ready");
  std::this_thread::sleep_for(500ms);  // Of measuring, not of waiting: it settles down.
  const uint64_t before = ActivityOf(idle.pid()).sleeps;
  constexpr int kSeconds = 4;
  std::this_thread::sleep_for(std::chrono::seconds(kSeconds));
  const auto [sleeps, cpu_ns, threads] = ActivityOf(idle.pid());
  const double a_second = static_cast<double>(sleeps - before) / double{kSeconds};
  const uint64_t resident = ResidentBytes(idle.pid()) / 1024;
  RecordProperty("wake_ups_a_second", std::to_string(a_second));
  RecordProperty("resident_kilobytes", std::to_string(resident));
  std::printf("idle node: %.2f wake-ups a second, %d threads, %lu KiB resident\n", a_second,
              threads, resident);
#if !defined(__SANITIZE_THREAD__)  // which has a thread of its own, that wakes up often
  EXPECT_LE(a_second, 5.0);
  EXPECT_LE(threads, 2);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_GT(resident, 0u);
  EXPECT_LT(resident, 8u << 10);
#endif
#endif
}

TEST(FootprintTest, HasTwoThreadsHoweverManyCallbacks) {
  Daemon daemon;
  Child busy({"sdk_test_peer", "serve", daemon.node_socket(), "t"});
  ASSERT_EQ(busy.ReadLine(), "ready");
  [[maybe_unused]] const int threads = ActivityOf(busy.pid()).threads;
#if !defined(__SANITIZE_THREAD__)
  EXPECT_LE(threads, 1 + 2);
#endif
}

}  // namespace
}  // namespace ivmq::test
