// Control in its place: a real ivmqd, real processes, and ivshmem clients in the place of VMs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/control/admin_client.h"
#include "tests/control/fake_agent.h"
#include "tests/control/test_node.h"
#include "tests/keeper/ivshmem_client.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/process_figures.h"
#include "transport/memfd_device.h"
#include "transport/unix_socket.h"

namespace ivmq::control {
namespace {

using transport::UniqueFd;
using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // keeps freed memory: resident sizes say nothing of ours
#else
constexpr bool kSanitized = false;
#endif

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

AdminClient Operator(const test::Daemon& daemon) {
  return AdminClient(Must(transport::ConnectUnix(
      daemon.admin_socket(), transport::UnixSocketType::kStream, Clock::now() + kPatience)));
}

test::Child StartNode(const test::Daemon& daemon, const std::string& mode, const std::string& topic,
                      int count = 0) {
  return test::Child(
      {"system_test_node", daemon.node_socket(), mode, topic, std::to_string(count)});
}

// A field of /proc/PID/status or of one of its threads, in its own unit.
uint64_t StatusField(const std::string& path, const std::string& name) {
  std::ifstream status(path);
  std::string word;
  uint64_t value = 0;
  while (status >> word) {
    if (word == name + ":" && status >> value) return value;
  }
  return 0;
}

// Resident memory without the region, in KiB.
uint64_t ResidentKib(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/status";
  return StatusField(path, "RssAnon") + StatusField(path, "RssFile");
}

TEST(IvmqdSystemTest, CarriesMessagesBetweenTwoProcesses) {
  test::Daemon daemon;
  AdminClient admin = Operator(daemon);
  const uint64_t before = admin.Realm().arena_used_bytes();
  test::Child subscriber = StartNode(daemon, "sub", "numbers", 200'000);
  ASSERT_EQ(subscriber.ReadLine(), "ready");
  test::Child publisher = StartNode(daemon, "pub", "numbers", 200'000);
  // The publisher leaves as soon as all is written: what it committed is read all the same.
  EXPECT_EQ(publisher.ReadLine(), "sent 200000");
  EXPECT_EQ(publisher.Wait(), 0);
  EXPECT_EQ(subscriber.ReadLine(), "received 200000");
  EXPECT_EQ(subscriber.Wait(), 0);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().arena_used_bytes() == before; }));
}

TEST(IvmqdSystemTest, TakesTheMemoryOfAKilledProcessBack) {
  test::Daemon daemon;
  AdminClient admin = Operator(daemon);
  const uint64_t before = admin.Realm().arena_used_bytes();
  std::vector<std::unique_ptr<test::Child>> nodes;
  for (int i = 0; i < 8; ++i) {
    nodes.push_back(std::make_unique<test::Child>(
        std::vector<std::string>{"system_test_node", daemon.node_socket(), "hold", "t", "0"}));
    ASSERT_EQ(nodes.back()->ReadLine(), "ready");
  }
  EXPECT_GT(admin.Realm().arena_used_bytes(), before + 64 * 65536);  // each with each
  for (const auto& node : nodes) node->Signal(SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().arena_used_bytes() == before; }));
  EXPECT_EQ(admin.Realm().arena_orphaned_bytes(), 0u);
  EXPECT_EQ(admin.Nodes().nodes_size(), 0);
}

TEST(IvmqdSystemTest, KeepsTheMemoryOfAProcessThatEndsItsConnectionUntilItDies) {
  test::Daemon daemon;
  AdminClient admin = Operator(daemon);
  const uint64_t before = admin.Realm().arena_used_bytes();
  test::Child node = StartNode(daemon, "shut", "t");
  ASSERT_EQ(node.ReadLine(), "ready");
  EXPECT_TRUE(WaitUntil([&] {
    const v1::ListNodesResponse nodes = admin.Nodes();
    return nodes.nodes_size() == 1 && nodes.nodes(0).state() == v1::Node::DETACHED;
  }));
  EXPECT_GT(admin.Realm().arena_used_bytes(), before + 65536);
  EXPECT_EQ(admin.Realm().arena_orphaned_bytes(), 0u);
  node.Signal(SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().arena_used_bytes() == before; }));
  EXPECT_EQ(admin.Nodes().nodes_size(), 0);
}

// A VM with an agent that has nothing to do.
struct IdleGuest {
  IdleGuest(const std::string& socket, uint32_t vectors)
      : client(broker::IvshmemClient::Connect(socket, vectors)) {
    if (!WaitUntil([&] {
          client.Read();
          return client.complete() && client.vector(0, 0) >= 0;
        })) {
      throw std::runtime_error("no greeting: " + client.violation());
    }
    transport::MemfdDevice::Parts parts;
    parts.region = Copy(client.region());
    parts.peer_id = static_cast<uint32_t>(client.id());
    for (uint32_t v = 0; v < vectors; ++v) {
      parts.vectors.push_back(Copy(client.vector(parts.peer_id, v)));
    }
    const uint32_t id = parts.peer_id;
    device = Must(transport::MemfdDevice::Open(std::move(parts)));
    device->AddDoorbell(0, 0, Copy(client.vector(0, 0)));
    agent = std::make_unique<FakeAgent>(TestPeer{id, device});
    if (!agent->SayHello({})) throw std::runtime_error("hello not accepted");
    agent->Connect();
  }
  static UniqueFd Copy(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

  broker::IvshmemClient client;
  std::shared_ptr<transport::MemfdDevice> device;
  std::unique_ptr<FakeAgent> agent;
};

TEST(IvmqdSystemTest, SleepsWith64IdlePeers) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  constexpr int kPeers = 64;
  test::Daemon daemon({"--vectors", "1"});
  AdminClient admin = Operator(daemon);
  std::vector<std::unique_ptr<IdleGuest>> guests;
  for (int i = 0; i < kPeers; ++i) {
    guests.push_back(std::make_unique<IdleGuest>(daemon.vm_socket(), 1));
    for (const auto& guest : guests) guest->client.Read();
  }
  // One node in each, so that every stream has carried something.
  std::vector<std::unique_ptr<GuestNode>> nodes;
  for (const auto& guest : guests) {
    nodes.push_back(std::make_unique<GuestNode>(guest->agent.get()));
    nodes.back()->Attach(1);
    ASSERT_NE(nodes.back()->Hello("idle"), 0u);
  }
  std::atomic<bool> stop{false};
  std::thread hearts([&] {
    while (!stop) {
      for (const auto& guest : guests) guest->agent->Beat();
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  });
  ASSERT_EQ(admin.Peers().peers_size(), kPeers + 1);
  const pid_t control = daemon.control_pid();
  // gRPC's timers calm down within some seconds: look until a stretch is quiet.
  double keeper_rate = 0;
  double control_rate = 0;
  const bool calm = WaitUntil([&] {
    const uint64_t keeper_before = test::ActivityOf(daemon.pid()).sleeps;
    const uint64_t control_before = test::ActivityOf(control).sleeps;
    const auto begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::seconds(10));
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    keeper_rate =
        static_cast<double>(test::ActivityOf(daemon.pid()).sleeps - keeper_before) / seconds;
    control_rate = static_cast<double>(test::ActivityOf(control).sleeps - control_before) / seconds;
    return keeper_rate + control_rate <= 3.6;
  });
  EXPECT_TRUE(calm) << keeper_rate + control_rate << " wake-ups a second";
  const uint64_t resident_kib = ResidentKib(daemon.pid()) + ResidentKib(control);
  std::printf(
      "%d idle peers: %.1f + %.1f wake-ups a second (keeper, control), %lu KiB resident beyond the "
      "region\n",
      kPeers, keeper_rate, control_rate, resident_kib);
  if (!kSanitized) {
    EXPECT_LT(resident_kib, 100u * 1024);
  }
  const v1::ListPeersResponse peers = admin.Peers();
  for (const v1::Peer& peer : peers.peers()) {
    EXPECT_EQ(peer.state(), v1::Peer::READY) << peer.peer_id();
  }
  stop = true;
  hearts.join();
}

}  // namespace
}  // namespace ivmq::control
