// Stock QEMU without a guest against ivmqd: what QEMU makes of everything that the keeper does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <random>

#include "tests/keeper/daemon.h"
#include "tests/keeper/ivshmem_client.h"
#include "tests/keeper/qtest.h"
#include "transport/attach_client.h"

namespace ivmq::broker {
namespace {

class QemuTest : public testing::Test {
 protected:
  void Start(const Daemon::Options& options, uint32_t vectors) {
    if (!QtestVm::Available()) GTEST_SKIP() << "there is no qemu-system-x86_64 here";
    vectors_ = vectors;
    daemon_ = std::make_unique<Daemon>(options);
    ASSERT_TRUE(daemon_->WaitUntilReady()) << daemon_->process().Stderr();
  }

  std::unique_ptr<QtestVm> StartVm(const std::string& name) {
    auto vm = std::make_unique<QtestVm>(
        daemon_->directory(), name,
        QtestVm::Options{.vm_socket = daemon_->vm_socket(), .vectors = vectors_});
    if (!vm->Answers()) {
      ADD_FAILURE() << vm->Stderr();
      return nullptr;
    }
    vm->EnableDevice();
    return vm;
  }

  // A client that has its whole greeting, while the others go on reading.
  IvshmemClient Join(std::vector<IvshmemClient>* others = nullptr) {
    auto client =
        IvshmemClient::Connect(daemon_->vm_socket(), vectors_, IvshmemClient::Keep::kOwnVectors);
    EXPECT_TRUE(WaitUntil([&] {
      client.Read();
      if (others != nullptr) {
        for (IvshmemClient& other : *others) other.Read();
      }
      return client.complete();
    }));
    return client;
  }

  // The doorbell register reaches exactly that client's vector, and that client's eventfd reaches
  // QEMU's pending bit: QEMU has counted both announcements right.
  void ExpectDoorbellsWork(QtestVm& vm, IvshmemClient& client) {
    const auto id = static_cast<uint32_t>(client.id());
    for (uint32_t vector = 0; vector < vectors_; ++vector) {
      // QEMU may not have read the announcement yet, and drops the ring in silence then.
      EXPECT_TRUE(WaitUntil([&] {
        vm.RingDoorbell(id, vector);
        return Take(client.vector(id, vector)) > 0;
      })) << "peer "
          << id << " vector " << vector;
      for (uint32_t other = 0; other < vectors_; ++other) {
        EXPECT_EQ(Take(client.vector(id, other)), 0u) << vector << " rang " << other;
      }
    }
  }

  static uint64_t Take(int eventfd) {
    uint64_t count = 0;
    return read(eventfd, &count, sizeof count) == sizeof count ? count : 0;
  }

  uint32_t vectors_ = 2;
  std::unique_ptr<Daemon> daemon_;
};

#define START_OR_SKIP(options, vectors) \
  Start(options, vectors);              \
  if (IsSkipped() || HasFatalFailure()) return

TEST_F(QemuTest, SeesBarsIvPositionAndTheRegionsMemory) {
  START_OR_SKIP((Daemon::Options{.flags = {"--size", "4MiB", "--vectors", "8"}}), 8);
  auto vm = StartVm("a");
  ASSERT_NE(vm, nullptr);
  EXPECT_EQ(vm->BarBytes(0), 256u);
  EXPECT_EQ(vm->BarBytes(1), 4096u);
  EXPECT_EQ(vm->BarBytes(2), uint64_t{4} << 20);
  EXPECT_EQ(vm->IvPosition(), 1u);
  const IvshmemClient client = Join();
  EXPECT_EQ(client.id(), 2);
  auto* const words = static_cast<volatile uint32_t*>(
      mmap(nullptr, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, client.region(), 0));
  ASSERT_NE(const_cast<uint32_t*>(words), MAP_FAILED);
  const uint32_t last = (4 << 20) / 4 - 1;
  words[last] = 0x600dcafe;
  EXPECT_EQ(vm->Read32(QtestVm::kBar2 + last * 4), 0x600dcafe);
  vm->Write32(QtestVm::kBar2 + last * 4, 0x0ddba11);
  EXPECT_EQ(words[last], 0x0ddba11u);
  munmap(const_cast<uint32_t*>(words), 4 << 20);
}

TEST_F(QemuTest, RingsHostProcessesAndIsRungByTheHost) {
  START_OR_SKIP((Daemon::Options{.flags = {"--size", "1MiB", "--vectors", "4"}}), 4);
  auto vm = StartVm("a");
  ASSERT_NE(vm, nullptr);
  auto attached =
      transport::Attach(daemon_->node_socket(), std::chrono::steady_clock::now() + kPatience);
  ASSERT_TRUE(attached.ok()) << attached.status().message();
  const uint32_t vector = attached.value().welcome.vector;
  EXPECT_GE(vector, 1u);
  vm->RingDoorbell(0, vector);  // the host is peer 0
  EXPECT_TRUE(WaitUntil([&] { return Take(attached.value().device->vector_fd(vector)) > 0; }));
  for (uint32_t rung = 0; rung < vectors_; ++rung) {
    EXPECT_FALSE(vm->Pending(rung));
    daemon_->Ask("ring 0 1 " + std::to_string(rung));
    EXPECT_TRUE(WaitUntil([&] { return vm->Pending(rung); })) << rung;
    for (uint32_t other = rung + 1; other < vectors_; ++other) EXPECT_FALSE(vm->Pending(other));
  }
}

TEST_F(QemuTest, TwoVmsRingEachOther) {
  START_OR_SKIP((Daemon::Options{.flags = {"--size", "1MiB", "--vectors", "2"}}), 2);
  auto a = StartVm("a");
  ASSERT_NE(a, nullptr);
  auto b = StartVm("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(a->IvPosition(), 1u);
  EXPECT_EQ(b->IvPosition(), 2u);
  EXPECT_TRUE(WaitUntil([&] {
    a->RingDoorbell(2, 1);
    return b->Pending(1);
  }));
  EXPECT_TRUE(WaitUntil([&] {
    b->RingDoorbell(1, 0);
    return a->Pending(0);
  }));
  EXPECT_FALSE(b->Pending(0));
  EXPECT_FALSE(a->Pending(1));
}

TEST_F(QemuTest, WorksWithOneVectorAndWith256) {
  for (const uint32_t vectors : {1u, 256u}) {
    START_OR_SKIP(
        (Daemon::Options{.flags = {"--size", "1MiB", "--vectors", std::to_string(vectors)}}),
        vectors);
    auto vm = StartVm("a");
    ASSERT_NE(vm, nullptr);
    EXPECT_EQ(vm->IvPosition(), 1u);
    daemon_->Ask("ring 0 1 " + std::to_string(vectors - 1));
    EXPECT_TRUE(WaitUntil([&] { return vm->Pending(vectors - 1); }));
    IvshmemClient client = Join();
    EXPECT_TRUE(WaitUntil([&] {
      vm->RingDoorbell(2, vectors - 1);
      return Take(client.vector(2, vectors - 1)) > 0;
    }));
    EXPECT_EQ(client.violation(), "");
  }
}

TEST_F(QemuTest, Survives300PeersThatComeAndGoInRandomOrder) {
  START_OR_SKIP(Daemon::Options(), 2);
  auto vm = StartVm("a");
  ASSERT_NE(vm, nullptr);
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<IvshmemClient> clients;
  for (int i = 0; i < 300; ++i) clients.push_back(Join(&clients));
  ExpectDoorbellsWork(*vm, clients.back());
  while (clients.size() > 1) {
    clients.erase(clients.begin() + static_cast<long>(random() % clients.size()));
    if (random() % 3 == 0) clients.push_back(Join(&clients));
  }
  EXPECT_TRUE(vm->Answers()) << vm->Stderr();
  EXPECT_EQ(vm->IvPosition(), 1u);
  ExpectDoorbellsWork(*vm, clients.front());
  EXPECT_TRUE(WaitUntil([&] {
    clients.front().Read();
    return clients.front().peers() == std::set<uint32_t>{0, 1};
  }));
  EXPECT_EQ(clients.front().violation(), "");
}

TEST_F(QemuTest, SurvivesThreeStalledClientsAtALimitOf1024OpenFiles) {
  START_OR_SKIP((Daemon::Options{.open_files = 1024, .as_nobody = true}), 2);
  auto vm = StartVm("a");
  ASSERT_NE(vm, nullptr);
  std::vector<IvshmemClient> stalled;
  for (int i = 0; i < 3; ++i) {
    stalled.push_back(
        IvshmemClient::Connect(daemon_->vm_socket(), vectors_, IvshmemClient::Keep::kOwnVectors));
  }
  for (int round = 0; round < 10; ++round) {
    std::vector<IvshmemClient> clients;
    for (int i = 0; i < 120; ++i) clients.push_back(Join(&clients));
    ExpectDoorbellsWork(*vm, clients.back());
  }
  EXPECT_TRUE(vm->Answers()) << vm->Stderr();
  auto newcomer = StartVm("b");
  ASSERT_NE(newcomer, nullptr);
  EXPECT_EQ(newcomer->IvPosition(), 1u + 3 + 1200 + 1);
  for (IvshmemClient& client : stalled) {
    EXPECT_TRUE(WaitUntil([&] {
      client.Read();
      return client.peers().size() == 1 + 1 + 2 + 1;  // host, both VMs, the other two
    }));
    EXPECT_EQ(client.violation(), "");
  }
}

TEST_F(QemuTest, CatchesUpAfterBeingStoppedWhileManyCameAndWent) {
  START_OR_SKIP(Daemon::Options(), 2);
  auto vm = StartVm("a");
  ASSERT_NE(vm, nullptr);
  std::vector<IvshmemClient> before;
  for (int i = 0; i < 10; ++i) before.push_back(Join());
  vm->process().Signal(SIGSTOP);
  std::vector<IvshmemClient> staying;
  for (int i = 0; i < 300; ++i) {
    staying.push_back(Join(&staying));
    if (i % 2 == 0) Join(&staying);
  }
  before.clear();
  staying.erase(staying.begin(), staying.begin() + 100);
  vm->process().Signal(SIGCONT);
  EXPECT_TRUE(vm->Answers()) << vm->Stderr();
  ExpectDoorbellsWork(*vm, staying.front());
  ExpectDoorbellsWork(*vm, staying.back());
  IvshmemClient newcomer = Join();
  ExpectDoorbellsWork(*vm, newcomer);
  EXPECT_EQ(newcomer.violation(), "");
}

TEST_F(QemuTest, SurvivesTheDeathOfControlAndTheEvictionOfAnotherVm) {
  START_OR_SKIP(Daemon::Options(), 2);
  auto a = StartVm("a");
  ASSERT_NE(a, nullptr);
  auto b = StartVm("b");
  ASSERT_NE(b, nullptr);
  daemon_->Ask("evict-peer 0 2");
  EXPECT_TRUE(daemon_->WaitForEvent("gone 0 2 proof=3"));
  EXPECT_TRUE(b->Answers()) << b->Stderr();
  b->process().Signal(SIGKILL);
  EXPECT_TRUE(daemon_->WaitForEvent("gone 0 2 proof=1"));
  daemon_->Ask("crash");
  IvshmemClient client = Join();
  EXPECT_EQ(client.id(), 3);
  ExpectDoorbellsWork(*a, client);
  EXPECT_TRUE(a->Answers()) << a->Stderr();
}

TEST_F(QemuTest, LivesOnWithItsDoorbellsWhenTheKeeperDies) {
  START_OR_SKIP(Daemon::Options(), 2);
  auto vm = StartVm("a");
  ASSERT_NE(vm, nullptr);
  IvshmemClient client = Join();
  ExpectDoorbellsWork(*vm, client);
  daemon_->process().Signal(SIGKILL);
  ASSERT_TRUE(daemon_->process().Wait().has_value());
  EXPECT_TRUE(vm->Answers()) << vm->Stderr();
  ExpectDoorbellsWork(*vm, client);
}

}  // namespace
}  // namespace ivmq::broker
