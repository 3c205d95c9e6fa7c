// What a node costs while it does nothing, as the kernel counts it.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

// Resident kilobytes of everything but the region, from /proc/PID/smaps.
uint64_t ResidentKilobytes(pid_t pid) {
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/smaps");
  uint64_t total = 0;
  bool region = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key.find('-') != std::string::npos && key.back() != ':') {
      region = line.find("/memfd:") != std::string::npos;
    } else if (key == "Rss:" && !region) {
      uint64_t kilobytes = 0;
      words >> kilobytes;
      total += kilobytes;
    }
  }
  return total;
}

// How often any thread of the process gave up a CPU to wait: each wake-up leads to one.
uint64_t Sleeps(pid_t pid, int* threads) {
  uint64_t total = 0;
  *threads = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    ++*threads;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      std::istringstream words(line);
      std::string key;
      uint64_t value = 0;
      words >> key >> value;
      if (key == "voluntary_ctxt_switches:") total += value;
    }
  }
  return total;
}

TEST(FootprintTest, SleepsWhileItIsBlockedInReceiveAndStaysSmall) {
  Daemon daemon;
  Child idle({"sdk_test_peer", "idle", daemon.node_socket(), "t"});
  ASSERT_EQ(idle.ReadLine(), "ready");
  std::this_thread::sleep_for(500ms);  // Of measuring, not of waiting: it settles down.
  int threads = 0;
  const uint64_t before = Sleeps(idle.pid(), &threads);
  constexpr int kSeconds = 4;
  std::this_thread::sleep_for(std::chrono::seconds(kSeconds));
  const double a_second =
      static_cast<double>(Sleeps(idle.pid(), &threads) - before) / double{kSeconds};
  const uint64_t resident = ResidentKilobytes(idle.pid());
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
  int threads = 0;
  static_cast<void>(Sleeps(busy.pid(), &threads));
#if !defined(__SANITIZE_THREAD__)
  EXPECT_LE(threads, 1 + 2);
#endif
}

}  // namespace
}  // namespace ivmq::test
