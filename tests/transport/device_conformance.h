#ifndef IVMQ_TESTS_TRANSPORT_DEVICE_CONFORMANCE_H_
#define IVMQ_TESTS_TRANSPORT_DEVICE_CONFORMANCE_H_

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "tests/transport/device_partner.h"
#include "tests/transport/test_daemon.h"
#include "transport/attach_client.h"

// What every Device does, whatever it is made of. Include it in one source file of a program and
// instantiate DeviceConformance with factories there.

namespace ivmq::transport::conformance {

// A device with at least one other peer, and a third where there is one.
struct Ends {
  std::shared_ptr<Device> device;
  std::shared_ptr<Partner> partner;
  std::shared_ptr<Partner> bystander;  // may be null
  std::shared_ptr<void> keep;          // what else has to live meanwhile
};
struct Factory {
  std::string name;
  std::function<Ends()> make;
  bool lends = true;
  friend void PrintTo(const Factory& factory, std::ostream* out) { *out << factory.name; }
};

class DeviceConformance : public testing::TestWithParam<Factory> {
 protected:
  void SetUp() override {
    ends_ = GetParam().make();
    // Rings left over from before.
    TakeRung(device(), 0);
    partner().Do({Op::kRung, 0, 0, 0});
    if (ends_.bystander != nullptr) ends_.bystander->Do({Op::kRung, 0, 0, 0});
  }

  Device& device() const { return *ends_.device; }
  Partner& partner() const { return *ends_.partner; }
  uint64_t QuietBystander() const {
    return ends_.bystander == nullptr ? 0 : ends_.bystander->Do({Op::kRung, 0, 0, 0});
  }
  // Those that this device was given; a lent one has a single one.
  std::vector<uint32_t> OwnVectors() const {
    std::vector<uint32_t> vectors;
    for (uint32_t v = 0; v < device().vector_count(); ++v) {
      if (device().vector_fd(v) >= 0) vectors.push_back(v);
    }
    return vectors;
  }
  bool RungByPartner(uint32_t vector, uint64_t times) const {
    return partner().Do({Op::kRing, device().peer_id(), vector, times}) == times;
  }

  Ends ends_;
};

TEST_P(DeviceConformance, SharesTheRegionBothWays) {
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, kScratchBytes / 2}) {
    const uint64_t bytes = kScratchBytes / 2 - 1;
    Execute(device(), {Op::kFill, offset, bytes, 1 + offset});
    EXPECT_EQ(partner().Do({Op::kMatches, offset, bytes, 1 + offset}), 1U) << offset;
    partner().Do({Op::kFill, offset, bytes, 99 + offset});
    EXPECT_EQ(Execute(device(), {Op::kMatches, offset, bytes, 99 + offset}), 1U) << offset;
  }
}

TEST_P(DeviceConformance, PublishesDataBeforeTheWordThatAnnouncesIt) {
  constexpr uint64_t kRounds = 2'000;
  ScratchWord(device(), 0).store(0);
  partner().Start({Op::kAnswer, 0, kRounds, 0});
  EXPECT_TRUE(PingPong(device(), 0, kRounds, true));
  EXPECT_EQ(partner().Finish(), kRounds);
}

TEST_P(DeviceConformance, WakesOnTheVectorThatWasRungAndNoOther) {
  for (const uint32_t vector : OwnVectors()) {
    ASSERT_TRUE(RungByPartner(vector, 1)) << vector;
    EXPECT_EQ(TakeRung(device(), uint64_t{1} << vector), uint64_t{1} << vector);
  }
  EXPECT_EQ(QuietBystander(), 0U);
}

TEST_P(DeviceConformance, HasNoFdForVectorsThatItDoesNotHave) {
  EXPECT_EQ(device().vector_fd(device().vector_count()), -1);
  EXPECT_EQ(device().vector_fd(0xffffffff), -1);
}

TEST_P(DeviceConformance, CoalescesRingsAndGoesOnWorking) {
  for (const uint32_t vector : OwnVectors()) {
    ASSERT_TRUE(RungByPartner(vector, 1'000)) << vector;
    EXPECT_EQ(TakeRung(device(), uint64_t{1} << vector), uint64_t{1} << vector);
    ASSERT_TRUE(RungByPartner(vector, 1)) << vector;
    EXPECT_EQ(TakeRung(device(), uint64_t{1} << vector), uint64_t{1} << vector);
  }
}

TEST_P(DeviceConformance, WakesAnEdgeTriggeredWaiterAtEachRingWithoutBeingRead) {
  for (const uint32_t vector : OwnVectors()) {
    const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, device().vector_fd(vector), &event), 0);
    for (int ring = 0; ring < 3; ++ring) {
      ASSERT_TRUE(RungByPartner(vector, 1));
      EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 60'000), 1) << "ring " << ring;
    }
    TakeRung(device(), uint64_t{1} << vector);
  }
}

TEST_P(DeviceConformance, RingsTheRightVectorOfTheRightPeer) {
  for (uint32_t vector = 0; vector < partner().vector_count(); ++vector) {
    const Result<Doorbell> bell = device().OpenDoorbell(partner().peer_id(), vector);
    if (!bell.ok()) {
      ASSERT_EQ(bell.status().code(), Code::kNotFound);
      return;  // on the host a doorbell comes with each link
    }
    bell.value().Ring();
    EXPECT_EQ(partner().Do({Op::kRung, uint64_t{1} << vector, 0, 0}), uint64_t{1} << vector);
  }
  EXPECT_EQ(QuietBystander(), 0U);
  EXPECT_EQ(TakeRung(device(), 0), 0U);
}

TEST_P(DeviceConformance, IgnoresRingsToPeersAndVectorsThatAreNotThere) {
  for (const auto& [peer, vector] :
       std::vector<std::pair<uint32_t, uint32_t>>{{60'000, 0},
                                                  {0xffff, 0},
                                                  {0x10000, 0},
                                                  {partner().peer_id(), 255},
                                                  {partner().peer_id(), 256},
                                                  {partner().peer_id(), 0xffffffff}}) {
    const Result<Doorbell> bell = device().OpenDoorbell(peer, vector);
    if (bell.ok()) {
      bell.value().Ring();
    } else {
      EXPECT_EQ(bell.status().code(), Code::kNotFound);
    }
  }
  Doorbell().Ring();
  EXPECT_EQ(partner().Do({Op::kRung, 0, 0, 0}), 0U);
  EXPECT_EQ(QuietBystander(), 0U);
  EXPECT_EQ(TakeRung(device(), 0), 0U);
}

TEST_P(DeviceConformance, RingsFromManyThreads) {
  const Result<Doorbell> bell = device().OpenDoorbell(partner().peer_id(), 0);
  // Nothing to see where the partner polls, or a doorbell comes with each link.
  if (partner().vector_count() == 0 || !bell.ok()) return;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = bell.value()] {
      for (int ring = 0; ring < 250; ++ring) copy.Ring();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(partner().Do({Op::kRung, 1, 0, 0}), 1U);
}

TEST_P(DeviceConformance, KeepsTheRegionFromChildProcesses) {
  void* page = device().region().data();
  ASSERT_EQ(::msync(page, 4096, MS_ASYNC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // ENOMEM: nothing is mapped there.
    ::_exit(::msync(page, 4096, MS_ASYNC) != 0 && errno == ENOMEM ? 0 : 1);
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  EXPECT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

inline AttachServer::Options LendingOptions(const Device& device, uint32_t vector) {
  AttachServer::Options options;
  Result<RegionInfo> region = OpenRegion(device.region());
  if (!region.ok()) throw std::runtime_error(region.status().message());
  options.realm = std::move(region).value();
  options.first_vector = options.last_vector = vector;
  return options;
}

TEST_P(DeviceConformance, LendsItselfToAnotherProcess) {
  if (!GetParam().lends) {
    AttachMessage welcome{};
    std::vector<int> fds;
    EXPECT_EQ(device().Lend(0, &welcome, &fds).code(), Code::kFailedPrecondition);
    return;
  }
  constexpr uint64_t kBytes = 1'000;
  partner().Do({Op::kFill, 0, kBytes, 5});
  const uint32_t vector = std::max(device().vector_count(), 1U) - 1;
  TestDaemon daemon(ends_.device, LendingOptions(device(), vector));
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<Attached> attached =
        Attach(daemon.path(), std::chrono::steady_clock::now() + kPatience);
    if (!attached.ok()) ::_exit(1);
    const Device& lent = *attached.value().device;
    if (Execute(lent, {Op::kMatches, 0, kBytes, 5}) != 1) ::_exit(2);
    if (lent.peer_id() != device().peer_id()) ::_exit(3);
    Execute(lent, {Op::kFill, 0, kBytes, 6});
    ::_exit(0);
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  EXPECT_TRUE(WIFEXITED(how)) << how;
  EXPECT_EQ(WEXITSTATUS(how), 0);
  EXPECT_EQ(partner().Do({Op::kMatches, 0, kBytes, 6}), 1U);
}

TEST_P(DeviceConformance, LendsOneVectorAndItsDoorbells) {
  if (!GetParam().lends) return;  // it is lent itself
  const uint32_t vector = std::max(device().vector_count(), 1U) - 1;
  std::shared_ptr<Device> lent;
  {
    TestDaemon daemon(ends_.device, LendingOptions(device(), vector));
    Result<Attached> attached = Attach(daemon.path(), std::chrono::steady_clock::now() + kPatience);
    ASSERT_TRUE(attached.ok()) << attached.status().message();
    lent = attached.value().device;
  }
  // The daemon has gone; what it lent goes on.
  EXPECT_EQ(lent->region().size(), device().region().size());
  EXPECT_NE(lent->region().data(), device().region().data());
  partner().Do({Op::kFill, 0, 100, 7});
  EXPECT_EQ(Execute(*lent, {Op::kMatches, 0, 100, 7}), 1U);
  EXPECT_EQ(lent->vector_count() == 0, device().vector_count() == 0);
  if (device().vector_count() > 0) {
    ASSERT_TRUE(RungByPartner(vector, 1));
    EXPECT_EQ(TakeRung(*lent, uint64_t{1} << vector), uint64_t{1} << vector);
  }
  const Result<Doorbell> bell = lent->OpenDoorbell(partner().peer_id(), 0);
  if (bell.ok() && partner().vector_count() > 0) {
    bell.value().Ring();
    EXPECT_EQ(partner().Do({Op::kRung, 1, 0, 0}), 1U);
  }
}

}  // namespace ivmq::transport::conformance

#endif  // IVMQ_TESTS_TRANSPORT_DEVICE_CONFORMANCE_H_
