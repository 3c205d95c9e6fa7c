// Adaptive waiters that share a CPU with others.
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>

#include "tests/transport/link_yard.h"
#include "transport/waiter.h"

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr auto kNothing = [](Look) { return false; };

// This thread, to the first CPU that it may use.
void PinToFirstCpu() {
  cpu_set_t cpus;
  ASSERT_EQ(::sched_getaffinity(0, sizeof cpus, &cpus), 0);
  int first = 0;
  while (!CPU_ISSET(first, &cpus)) ++first;
  CPU_ZERO(&cpus);
  CPU_SET(first, &cpus);
  ASSERT_EQ(::sched_setaffinity(0, sizeof cpus, &cpus), 0);
}

// Whether nobody else runs there for longer than a moment.
bool FirstCpuIsFree() {
  bool free = false;
  std::thread([&free] {
    PinToFirstCpu();
    const auto start = Clock::now();
    for (int i = 0; i < 20; ++i) ::sched_yield();
    free = Clock::now() - start < milliseconds(1);
  }).join();
  return free;
}

class WaiterYieldTest : public testing::Test {
 protected:
  std::unique_ptr<Waiter> Open() {
    return LocalRealm::Must(Waiter::Open(node_.wake, {.strategy = WaitStrategy::kAdaptive}));
  }

  LinkYard yard_;
  YardNode node_ = yard_.MakeNode(yard_.host);
};

TEST_F(WaiterYieldTest, AnAdaptiveWaiterLeavesItsCpuToThePeerThatItWaitsFor) {
  if (!Open()->spins()) GTEST_SKIP() << "one CPU: nobody spins";
  constexpr int kTurns = 400;
  // Blocks of two threads of one CPU that take turns.
  const auto blocks = [&] {
    const auto zero = Open();
    const auto one = Open();
    std::atomic<int> turn = 0;
    const auto take_turns = [&turn](Waiter* mine, Waiter* other, int first) {
      for (int i = first; i < kTurns; i += 2) {
        while (turn.load() != i) {
          (void)mine->Wait(Clock::now() + std::chrono::seconds(1),
                           [&](Look) { return turn.load() == i; });
        }
        turn.store(i + 1);
        other->Notify();
      }
    };
    std::thread partner([&] {
      PinToFirstCpu();
      take_turns(one.get(), zero.get(), 1);
    });
    std::thread([&] {
      PinToFirstCpu();
      take_turns(zero.get(), one.get(), 0);
    }).join();
    partner.join();
    return zero->blocks() + one->blocks();
  };
  // A try counts if nobody else computes on that CPU, for then nobody yields.
  uint64_t least = UINT64_MAX;
  int tries = 0;
  for (int i = 0; i < 100 && tries < 5 && least >= kTurns / 4; ++i) {
    if (!FirstCpuIsFree()) {
      std::this_thread::sleep_for(milliseconds(50));
      continue;
    }
    const uint64_t blocked = blocks();
    if (blocked >= kTurns / 4 && !FirstCpuIsFree()) continue;
    least = std::min(least, blocked);
    ++tries;
  }
  if (tries == 0) GTEST_SKIP() << "others compute on the CPU all the time";
  EXPECT_LT(least, uint64_t{kTurns / 4});
}

TEST_F(WaiterYieldTest, AnAdaptiveWaiterHardlyYieldsToWhoComputesAllTheTime) {
  if (!Open()->spins()) GTEST_SKIP() << "one CPU: nobody spins";
  std::atomic<bool> computing = false;
  std::atomic<bool> over = false;
  std::thread computes([&] {
    PinToFirstCpu();
    computing.store(true);
    while (!over.load()) {
    }
  });
  while (!computing.load()) std::this_thread::yield();
  constexpr uint64_t kWaits = 100;
  uint64_t yields = 0;
  std::thread([&] {
    PinToFirstCpu();
    const auto waiter = Open();
    for (uint64_t i = 0; i < kWaits; ++i) {
      (void)waiter->Wait(Clock::now() + std::chrono::microseconds(200), kNothing);
    }
    yields = waiter->yields();
  }).join();
  over.store(true);
  computes.join();
  EXPECT_GT(yields, 0u);
  EXPECT_LT(yields, kWaits / 2);
}

}  // namespace
}  // namespace ivmq::transport
