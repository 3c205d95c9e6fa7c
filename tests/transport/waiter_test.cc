#include "transport/waiter.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/transport/link_yard.h"

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr auto kNothing = [](Look) { return false; };

bool Readable(int fd, milliseconds patience = milliseconds(0)) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, static_cast<int>(patience.count())) == 1;
}

class WaiterTest : public testing::Test {
 protected:
  static std::unique_ptr<Waiter> Open(const YardNode& node, WaitStrategy strategy) {
    return LocalRealm::Must(Waiter::Open(node.wake, {.strategy = strategy}));
  }
  std::unique_ptr<Waiter> Open() { return Open(node_, WaitStrategy::kBlock); }
  // A node without interrupts.
  YardNode Polling() {
    YardNode node = yard_.MakeNode(yard_.host, 99);
    EXPECT_FALSE(node.wake->interrupts());
    return node;
  }
  uint32_t SleepWord() const {
    return reinterpret_cast<WakeBlock*>(yard_.At(node_.wake_offset))->sleep.load();
  }

  LinkYard yard_;
  std::shared_ptr<MemfdDevice> guest_ = yard_.realm.AddPeer(1);
  YardNode node_ = yard_.MakeNode(yard_.host);
  Doorbell bell_ = LocalRealm::Must(guest_->OpenDoorbell(0, 0));
};

TEST_F(WaiterTest, ReturnsWorkThatIsThereAlreadyEvenAfterTheDeadline) {
  for (const WaitStrategy strategy :
       {WaitStrategy::kAdaptive, WaitStrategy::kBlock, WaitStrategy::kSpin}) {
    const auto waiter = Open(node_, strategy);
    EXPECT_EQ(waiter->Wait(Clock::time_point::min(), [](Look) { return true; }), WaitResult::kWork);
    EXPECT_EQ(waiter->blocks(), 0u);
  }
}

TEST_F(WaiterTest, ReturnsAtTheDeadlineAndNotBefore) {
  for (const WaitStrategy strategy :
       {WaitStrategy::kAdaptive, WaitStrategy::kBlock, WaitStrategy::kSpin}) {
    for (const YardNode& node : {node_, Polling()}) {
      const auto waiter = Open(node, strategy);
      const auto deadline = Clock::now() + milliseconds(20);
      EXPECT_EQ(waiter->Wait(deadline, kNothing), WaitResult::kDeadline);
      EXPECT_GE(Clock::now(), deadline);
    }
  }
  EXPECT_EQ(SleepWord(), 0u);
}

TEST_F(WaiterTest, TheLastLookIsTakenWithTheSleepWordSet) {
  const auto waiter = Open();
  bool looked = false;
  (void)waiter->Wait(Clock::now() + milliseconds(1), [&](Look look) {
    if (look == Look::kSleep) {
      looked = true;
      EXPECT_EQ(SleepWord(), 1u);
    }
    return false;
  });
  EXPECT_TRUE(looked);
  EXPECT_EQ(SleepWord(), 0u);
}

TEST_F(WaiterTest, ADoorbellWakesABlockedWaiter) {
  const auto waiter = Open();
  std::atomic<bool> work = false;
  std::thread peer([&] {
    EXPECT_TRUE(Eventually([&] { return SleepWord() == 1; }));
    work = true;
    bell_.Ring();
  });
  EXPECT_EQ(waiter->Wait(Soon(), [&](Look) { return work.load(); }), WaitResult::kWork);
  peer.join();
}

TEST_F(WaiterTest, ADoorbellThatBroughtNothingIsReported) {
  const auto waiter = Open();
  bell_.Ring();
  EXPECT_EQ(waiter->Wait(Soon(), kNothing), WaitResult::kDoorbell);
}

TEST_F(WaiterTest, RingsFromBeforeTheWaiterAreForgotten) {
  bell_.Ring();
  const auto waiter = Open();
  EXPECT_EQ(waiter->Wait(Clock::now() + milliseconds(5), kNothing), WaitResult::kDeadline);
}

TEST_F(WaiterTest, NotifyIsRememberedAndTakenOnce) {
  for (const WaitStrategy strategy :
       {WaitStrategy::kAdaptive, WaitStrategy::kBlock, WaitStrategy::kSpin}) {
    const auto waiter = Open(node_, strategy);
    waiter->Notify();
    waiter->Notify();
    EXPECT_EQ(waiter->Wait(Soon(), kNothing), WaitResult::kNotified);
    EXPECT_EQ(waiter->Wait(Clock::now() + milliseconds(5), kNothing), WaitResult::kDeadline);
  }
}

TEST_F(WaiterTest, NotifyWakesABlockedWaiterWithAndWithoutInterrupts) {
  for (const YardNode& node : {node_, Polling()}) {
    const auto waiter = Open(node, WaitStrategy::kBlock);
    std::thread other([&] {
      EXPECT_TRUE(Eventually([&] { return waiter->blocks() > 0; }));
      waiter->Notify();
    });
    EXPECT_EQ(waiter->Wait(Soon(), kNothing), WaitResult::kNotified);
    other.join();
  }
}

TEST_F(WaiterTest, NoNotifyIsLostAmongMany) {
  constexpr int kRounds = 20'000;
  const auto waiter = Open();
  std::atomic<int> asked = 0;
  std::atomic<int> answered = 0;
  std::thread other([&] {
    for (int i = 1; i <= kRounds; ++i) {
      asked = i;
      waiter->Notify();
      while (answered.load() < i) std::this_thread::yield();
    }
  });
  while (answered.load() < kRounds) {
    // Nothing but Notify() tells of it.
    ASSERT_EQ(waiter->Wait(Soon(), kNothing), WaitResult::kNotified);
    answered = asked.load();
  }
  other.join();
}

TEST_F(WaiterTest, LooksAtEverythingOnceASecondAndHardlyWakesOtherwise) {
  const auto waiter = Open();
  int thorough = 0;
  EXPECT_EQ(waiter->Wait(Clock::now() + milliseconds(2500),
                         [&](Look look) {
                           thorough += look == Look::kThorough;
                           return false;
                         }),
            WaitResult::kDeadline);
  EXPECT_GE(thorough, 1);
  EXPECT_LE(thorough, 3);
  EXPECT_LE(waiter->blocks(), 5u) << "two wake-ups a second at most";
}

TEST_F(WaiterTest, WithoutInterruptsFindsWorkThatNobodyRingsFor) {
  const YardNode polling = Polling();
  const auto waiter = Open(polling, WaitStrategy::kAdaptive);
  std::atomic<bool> work = false;
  std::thread peer([&] {
    EXPECT_TRUE(Eventually([&] { return waiter->blocks() > 10; }));
    work = true;
  });
  EXPECT_EQ(waiter->Wait(Soon(), [&](Look look) { return look != Look::kSpin && work.load(); }),
            WaitResult::kWork);
  peer.join();
}

TEST_F(WaiterTest, TwoWaitersOnOneVectorAreBothWokenByOneRing) {
  std::atomic<int> woken = 0;
  std::atomic<bool> work = false;
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<Waiter>> waiters;
  waiters.reserve(2);
  threads.reserve(2);
  for (int i = 0; i < 2; ++i) waiters.push_back(Open());
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_EQ(waiters[i]->Wait(Soon(), [&](Look) { return work.load(); }), WaitResult::kWork);
      ++woken;
    });
  }
  EXPECT_TRUE(Eventually([&] { return waiters[0]->blocks() > 0 && waiters[1]->blocks() > 0; }));
  work = true;
  bell_.Ring();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(woken, 2);
  EXPECT_EQ(SleepWord(), 0u);
}

TEST_F(WaiterTest, TheFdTurnsReadableWithADoorbellAndUnreadableWhenDisarmed) {
  const auto waiter = Open();
  ASSERT_TRUE(waiter->ArmFd(kNothing));
  EXPECT_EQ(SleepWord(), 1u);
  EXPECT_FALSE(Readable(waiter->fd()));
  bell_.Ring();
  EXPECT_TRUE(Readable(waiter->fd()));
  EXPECT_TRUE(Readable(waiter->fd())) << "level-triggered";
  EXPECT_FALSE(waiter->DisarmFd());
  EXPECT_EQ(SleepWord(), 0u);
  EXPECT_FALSE(Readable(waiter->fd()));
}

TEST_F(WaiterTest, TheFdIsReadableAtOnceIfThereIsWork) {
  const auto waiter = Open();
  EXPECT_FALSE(waiter->ArmFd([](Look) { return true; }));
  EXPECT_TRUE(Readable(waiter->fd()));
  EXPECT_FALSE(waiter->DisarmFd());
  EXPECT_FALSE(Readable(waiter->fd()));
}

TEST_F(WaiterTest, TheFdShowsANotifyAlsoOneFromBeforeItWasArmed) {
  const auto waiter = Open();
  ASSERT_TRUE(waiter->ArmFd(kNothing));
  waiter->Notify();
  EXPECT_TRUE(Readable(waiter->fd()));
  EXPECT_FALSE(waiter->ArmFd(kNothing)) << "not yet taken";
  EXPECT_TRUE(Readable(waiter->fd()));
  EXPECT_TRUE(waiter->DisarmFd());
  waiter->Notify();
  EXPECT_FALSE(waiter->ArmFd(kNothing));
  EXPECT_TRUE(Readable(waiter->fd()));
  EXPECT_TRUE(waiter->DisarmFd());
  EXPECT_TRUE(waiter->ArmFd(kNothing));
}

TEST_F(WaiterTest, TheArmedFdAsksForALookOnceASecond) {
  const auto waiter = Open();
  ASSERT_TRUE(waiter->ArmFd(kNothing));
  EXPECT_TRUE(Readable(waiter->fd(), kPatience));
  (void)waiter->DisarmFd();
  bool thorough = false;
  EXPECT_FALSE(waiter->ArmFd([&](Look look) {
    thorough = look == Look::kThorough;
    return true;
  }));
  EXPECT_TRUE(thorough);
}

TEST_F(WaiterTest, WithoutInterruptsTheArmedFdAsksForALookByItself) {
  const YardNode polling = Polling();
  const auto waiter = Open(polling, WaitStrategy::kBlock);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(waiter->ArmFd(kNothing));
    ASSERT_TRUE(Readable(waiter->fd(), kPatience));
    EXPECT_FALSE(waiter->DisarmFd());
    EXPECT_FALSE(Readable(waiter->fd()));
  }
}

TEST_F(WaiterTest, WaitingDisarmsTheFdAndKeepsItsNotify) {
  const auto waiter = Open();
  ASSERT_TRUE(waiter->ArmFd(kNothing));
  waiter->Notify();
  EXPECT_EQ(waiter->Wait(Soon(), kNothing), WaitResult::kNotified);
  EXPECT_EQ(SleepWord(), 0u);
}

TEST_F(WaiterTest, AWaiterThatEndsArmedLeavesNoSleepWordBehind) {
  auto waiter = Open();
  ASSERT_TRUE(waiter->ArmFd(kNothing));
  waiter.reset();
  EXPECT_EQ(SleepWord(), 0u);
}

TEST_F(WaiterTest, TwoFdsOnOneVectorBothShowInOneEpoll) {
  const auto first = Open();
  const auto second = Open();
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  for (const auto* waiter : {&first, &second}) {
    ASSERT_TRUE((*waiter)->ArmFd(kNothing));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = (*waiter)->fd();
    ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, (*waiter)->fd(), &event), 0);
  }
  epoll_event events[4];
  for (int round = 0; round < 100; ++round) {
    ASSERT_EQ(::epoll_wait(epoll.get(), events, 4, 0), 0);
    bell_.Ring();
    ASSERT_EQ(::epoll_wait(epoll.get(), events, 4, 0), 2);
    EXPECT_FALSE(first->DisarmFd());
    EXPECT_FALSE(second->DisarmFd());
    ASSERT_TRUE(first->ArmFd(kNothing));
    ASSERT_TRUE(second->ArmFd(kNothing));
  }
}

// In the child of a fork, which has no mapping of its parent's: opens everything anew.
int SleepInChild(int region, int vector, uint64_t wake_offset, uint64_t ready_offset) {
  MemfdDevice::Parts parts;
  parts.region = LocalRealm::Copy(region);
  parts.vectors.push_back(LocalRealm::Copy(vector));
  const auto device = LocalRealm::Must(MemfdDevice::Open(std::move(parts)));
  const auto node = LocalRealm::Must(NodeWake::Open(device, wake_offset, 0));
  const auto waiter = LocalRealm::Must(Waiter::Open(node, {.strategy = WaitStrategy::kBlock}));
  const auto* ready = reinterpret_cast<ReadyByte*>(device->region().data() + ready_offset);
  const auto deadline = Soon();
  while (Clock::now() < deadline) {
    // Deaf to the thorough look: only a doorbell shows it what there is.
    const WaitResult result = waiter->Wait(
        deadline, [&](Look look) { return look != Look::kThorough && ready->load() != 0; });
    if (result == WaitResult::kWork) return 0;
  }
  return 1;
}

TEST_F(WaiterTest, TwoProcessesOnOneVectorAreBothWoken) {
  struct Child {
    uint64_t wake_offset;
    uint64_t ready_offset;
    pid_t pid;
  };
  std::vector<Child> children;
  children.reserve(2);
  for (int i = 0; i < 2; ++i) {
    children.push_back({yard_.Allocate(sizeof(WakeBlock)), yard_.Allocate(1), 0});
  }
  for (Child& child : children) {
    child.pid = ::fork();
    ASSERT_GE(child.pid, 0);
    if (child.pid == 0) {
      ::_exit(SleepInChild(yard_.host->region_fd(), yard_.host->vector_fd(0), child.wake_offset,
                           child.ready_offset));
    }
  }
  for (const Child& child : children) {
    auto* block = reinterpret_cast<WakeBlock*>(yard_.At(child.wake_offset));
    EXPECT_TRUE(Eventually([&] { return block->sleep.load() == 1; }));
    const WakeTarget target = LocalRealm::Must(WakeTarget::Open(
        guest_->region(), {child.wake_offset, child.ready_offset, 0, 0, false}, bell_));
    (void)target.Wake();
  }
  for (const Child& child : children) {
    int status = -1;
    EXPECT_EQ(::waitpid(child.pid, &status, 0), child.pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
}

}  // namespace
}  // namespace ivmq::transport
