// Nodes and processes that come to a real ivmqd in masses, and leave or die.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/control/admin_client.h"
#include "tests/control/test_node.h"
#include "tests/sdk/daemon.h"
#include "transport/attach_protocol.h"
#include "transport/fd_passing.h"
#include "transport/unique_fd.h"
#include "transport/unix_socket.h"

namespace ivmq::control {
namespace {

using transport::UniqueFd;
using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // keeps freed memory: sizes say nothing of ours
constexpr int kVisitors = 5'000;
#else
constexpr bool kSanitized = false;
constexpr int kVisitors = 100'000;
#endif
constexpr int kRounds = 40;
constexpr int kWarmUp = 16;  // rounds after which heaps have about their size
constexpr int kProcesses = kVisitors / 50;
// In the first round more of them end with a link than control keeps ended links of.
constexpr int kFirstProcesses = kProcesses * 6 / 10;
constexpr int kAtOnce = 4;
// A heap grows with the worst moment that there was, now and then, but what is kept of visitors
// grows in every round.
constexpr uint64_t kMostKib = 2048;          // in all rounds after those: 35 bytes a visitor
constexpr uint64_t kMostKibInAUsualOne = 8;  // in every second: 3 bytes a visitor

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

// What the process has for itself alone, in KiB.
uint64_t PrivateKib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  uint64_t kib = 0;
  while (status >> word) {
    if (word == "RssAnon:" && status >> kib) return kib;
  }
  ADD_FAILURE() << "no RssAnon of " << pid;
  return 0;
}

// What a process does that attaches, opens a node with a publisher, and leaves. Without mapping the
// region, which costs more than all the rest.
void Visit(const std::string& socket, const std::string& topic) {
  UniqueFd connection = Must(transport::ConnectUnix(socket, transport::UnixSocketType::kSeqpacket,
                                                    Clock::now() + kPatience));
  pollfd readable{connection.get(), POLLIN, 0};
  ASSERT_EQ(poll(&readable, 1, 60'000), 1);
  transport::AttachMessage welcome{};
  std::vector<UniqueFd> fds;
  const auto got =
      transport::ReceiveWithFds(connection.get(), std::as_writable_bytes(std::span(&welcome, 1)),
                                transport::kMaxAttachFds, &fds);
  ASSERT_EQ(got.bytes, static_cast<ssize_t>(sizeof welcome));
  ASSERT_EQ(welcome.kind, transport::AttachKind::kWelcome) << welcome.text;
  TestNode node(welcome.connection_id, std::move(fds.at(1)));
  ASSERT_NE(node.Hello("visitor"), 0u);
  ASSERT_TRUE(node.Publish(topic).has_publisher_registered());
  v1::NodeRequest goodbye;
  goodbye.mutable_goodbye();
  ASSERT_TRUE(node.Call(goodbye).has_done());
}

// Visits, kAtOnce of them at a time, and beside them processes that die with a link.
void HaveVisitors(const test::Daemon& daemon, int visits, int processes) {
  test::Child host(
      {"system_test_node", daemon.node_socket(), "visit", "processes", std::to_string(processes)});
  std::vector<std::thread> threads;
  threads.reserve(kAtOnce);
  for (int i = 0; i < kAtOnce; ++i) {
    threads.emplace_back([&, topic = "topic." + std::to_string(i)] {
      for (int visit = 0; visit < visits / kAtOnce; ++visit) Visit(daemon.node_socket(), topic);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(host.ReadLine(), "visited " + std::to_string(processes));
}

// How what a process has for itself grows from round to round.
class Growth {
 public:
  explicit Growth(pid_t pid) : pid_(pid) {}

  void EndOfRound() { sizes_.push_back(PrivateKib(pid_)); }
  void Check(const std::string& name) const {
    std::string text;
    std::vector<uint64_t> growth;
    for (size_t i = 1; i < sizes_.size(); ++i) {
      growth.push_back(sizes_[i] - std::min(sizes_[i], sizes_[i - 1]));
      text += " " + std::to_string(sizes_[i]);
    }
    std::printf("%s: %lu KiB, then%s\n", name.c_str(), sizes_.front(), text.c_str());
    if (kSanitized) return;
    EXPECT_LT(sizes_.back(), sizes_.front() + kMostKib) << name;
    std::sort(growth.begin(), growth.end());
    EXPECT_LT(growth[growth.size() / 2], kMostKibInAUsualOne) << name;
  }

 private:
  const pid_t pid_;
  std::vector<uint64_t> sizes_;
};

TEST(VisitorsTest, AHundredThousandNodesThatComeAndGoLeaveNothingBehind) {
  // Without a line in the log for each.
  test::Daemon daemon({"--log-level", "warning"});
  AdminClient admin(transport::ConnectUnix(daemon.admin_socket(),
                                           transport::UnixSocketType::kStream,
                                           Clock::now() + kPatience)
                        .value());
  const uint64_t used = admin.Realm().arena_used_bytes();
  const auto nothing_is_left = [&] {
    return admin.Nodes().nodes_size() == 0 && admin.Links().links_size() == 0 &&
           admin.Topics().topics_size() == 0 && admin.Realm().arena_used_bytes() == used;
  };
  const auto begin = Clock::now();
  Growth keeper(daemon.pid());
  Growth control(daemon.control_pid());
  for (int round = 0; round < kRounds; ++round) {
    const int others = (kProcesses - kFirstProcesses) / (kRounds - 1);
    HaveVisitors(daemon, kVisitors / kRounds, round == 0 ? kFirstProcesses : others);
    EXPECT_TRUE(WaitUntil(nothing_is_left));
    if (round + 1 < kWarmUp) continue;
    keeper.EndOfRound();
    control.EndOfRound();
  }
  EXPECT_EQ(admin.Realm().last_peer_id(), 0u);
  EXPECT_EQ(admin.Realm().arena_orphaned_bytes(), 0u);
  std::printf("%d visits and %d processes in %.1f s; private memory from round %d on:\n", kVisitors,
              kProcesses, std::chrono::duration<double>(Clock::now() - begin).count(), kWarmUp);
  keeper.Check("keeper");
  control.Check("control");
}

}  // namespace
}  // namespace ivmq::control
