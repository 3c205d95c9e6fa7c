// A peer table that is full, and one that only seems to be because VMs come and go faster than
// anybody follows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/v1/admin.pb.h"
#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"
#include "transport/unix_socket.h"

namespace ivmq::command {
namespace {

using testing::HasSubstr;
using testing::Not;
using transport::UniqueFd;

constexpr int kRoom = 64;  // of the smallest region

class FullTableTest : public testing::Test {
 protected:
  Finished Run(const std::vector<std::string>& words) const {
    std::vector<std::string> all{"--admin-socket", daemon_.admin_socket()};
    all.insert(all.end(), words.begin(), words.end());
    return RunIvmq(all);
  }
  v1::Realm Realm() const { return ParseJson<v1::Realm>(Run({"realms", "--json"}).Lines().at(0)); }

  UniqueFd Connect() const {
    auto socket =
        transport::ConnectUnix(daemon_.vm_socket(), transport::UnixSocketType::kStream,
                               std::chrono::steady_clock::now() + std::chrono::seconds(60));
    if (!socket.ok()) throw std::runtime_error(socket.status().message());
    return std::move(socket).value();
  }
  // The ID in the greeting, which is two numbers at first; 0 where the VM is refused.
  static int64_t IdOf(const UniqueFd& vm) {
    int64_t greeting[2] = {};
    for (int64_t& value : greeting) {
      pollfd ready{vm.get(), POLLIN, 0};
      EXPECT_EQ(poll(&ready, 1, 60'000), 1);
      if (recv(vm.get(), &value, sizeof value, 0) != sizeof value) return 0;
    }
    return greeting[1];
  }
  // Four threads of VMs that come and go, every tenth after it was greeted. How many were refused
  // of those that looked.
  int ComeAndGo(int visits) const {
    constexpr int kThreads = 4;
    std::atomic<int> refused{0};
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int visit = 0; visit < visits / kThreads; ++visit) {
          const UniqueFd vm = Connect();
          if (visit % 10 == 0 && IdOf(vm) == 0) ++refused;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return refused;
  }

  test::Daemon daemon_{{"--size", "1MiB", "--vectors", "2", "--log-level", "warning"}};
};

TEST_F(FullTableTest, NobodyIsRefusedWhereVmsComeAndGoFasterThanTheyAreSeenToGo) {
  EXPECT_EQ(ComeAndGo(20'000), 0);
  EXPECT_TRUE(test::WaitUntil([&] { return Realm().last_peer_id() == 20'000; }));
  EXPECT_TRUE(test::WaitUntil([&] { return Realm().peers_connected() == 0; }));
  EXPECT_THAT(Run({"realms"}).out, Not(HasSubstr("refused:")));
  EXPECT_THAT(daemon_.log(), Not(HasSubstr("refused")));
}

TEST_F(FullTableTest, NorWhereControlStandsStillAndItSeesAllThatStayAfterwards) {
  ASSERT_GT(IdOf(Connect()), 0);  // from now on the keeper needs no control for that
  const pid_t control = daemon_.control_pid();
  ASSERT_EQ(kill(control, SIGSTOP), 0);
  EXPECT_EQ(ComeAndGo(20'000), 0);
  std::vector<UniqueFd> staying;
  staying.reserve(kRoom);
  for (int i = 0; i < kRoom; ++i) staying.push_back(Connect());
  for (const UniqueFd& vm : staying) EXPECT_GT(IdOf(vm), 0);
  EXPECT_THAT(daemon_.log(), Not(HasSubstr("refused")));
  EXPECT_EQ(IdOf(Connect()), 0);
  EXPECT_THAT(daemon_.log(), HasSubstr("as many VMs are connected as the peer table has room for"));
  ASSERT_EQ(kill(control, SIGCONT), 0);
  EXPECT_TRUE(test::WaitUntil([&] { return Realm().peers_connected() == kRoom; }));
  EXPECT_EQ(Realm().refused_too_many_peers(), 1u);
  EXPECT_THAT(daemon_.log(), Not(HasSubstr("no room in the peer table")));  // of control
}

TEST_F(FullTableTest, WhoeverIsRefusedIsToldWhoTakesThePlaces) {
  std::vector<UniqueFd> vms;
  for (int i = 1; i <= kRoom; ++i) {
    vms.push_back(Connect());
    ASSERT_EQ(IdOf(vms.back()), i);
  }
  EXPECT_EQ(IdOf(Connect()), 0);
  const std::string many =
      "1 VM refused: as many were connected as the peer table has room for, "
      "use a larger region\n";
  EXPECT_TRUE(test::WaitUntil([&] { return Run({"peers"}).out.ends_with(many); }));

  EXPECT_EQ(Run({"evict", "peer", "1"}).exit_code, 0);
  EXPECT_TRUE(test::WaitUntil([&] { return Realm().peers_connected() == kRoom - 1; }));
  EXPECT_EQ(IdOf(Connect()), 0);
  const std::string evicted =
      "; 1 VM refused: evicted VMs take places in the peer table, end "
      "their QEMUs (`ivmq peers` has their pids)\n";
  EXPECT_TRUE(test::WaitUntil([&] { return Run({"peers"}).out.ends_with(evicted); }));
  EXPECT_THAT(daemon_.log(), HasSubstr("end the QEMUs of the evicted"));

  vms[0].Reset();
  EXPECT_GT(IdOf(Connect()), 0);
}

}  // namespace
}  // namespace ivmq::command
