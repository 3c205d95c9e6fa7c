// What processes cost that do nothing, what one more peer or node costs the broker, and how long a
// new node takes to its first message. Each sample has a broker of its own.
//
//   cost_bench [--rounds N] [--seconds S]
// The new node is cost_node.
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/bench/child.h"
#include "tests/bench/path/must.h"
#include "tests/bench/rounds.h"
#include "tests/bench/samples.h"
#include "tests/keeper/ivshmem_client.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/process_figures.h"

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPeers = 64;
constexpr int kNodes = 200;
constexpr uint32_t kVectors = 8;
constexpr auto kWatched = std::chrono::seconds(2);
constexpr auto kSettling = std::chrono::milliseconds(500);
constexpr const char* kTopic = "cost.first";

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void FirstMessage(const test::Daemon& daemon) {
  Node node = Must(Node::Open({.name = "old", .socket_path = daemon.node_socket()}));
  auto subscriber = Must(node.CreateSubscriber(kTopic));
  const auto begin = Clock::now();
  const test::Child child({"cost_node", daemon.node_socket()});
  const auto got = Must(subscriber.Receive(kLong));
  const double took = MsSince(begin);
  Require(got.bytes.size() == sizeof(uint64_t), "first message");
  const test::Child sleeper({"cost_node"});
  std::this_thread::sleep_for(kSettling);  // of measuring: it comes to rest
  const double resident = static_cast<double>(test::ResidentBytes(child.pid())) / 1e6;
  const auto before = test::ActivityOf(child.pid());
  const auto keeper_before = test::ActivityOf(daemon.pid());
  const auto control_before = test::ActivityOf(daemon.control_pid());
  const auto sleeper_before = test::ActivityOf(sleeper.pid());
  std::this_thread::sleep_for(kWatched);
  const auto a_second = [](uint64_t before, uint64_t after) {
    return static_cast<double>(after - before) / static_cast<double>(kWatched.count());
  };
  const auto after = test::ActivityOf(child.pid());
  const auto keeper = test::ActivityOf(daemon.pid());
  const auto control = test::ActivityOf(daemon.control_pid());
  const auto sleeping = test::ActivityOf(sleeper.pid());
  WriteFigure("cost", "node/first_message_ms", took, "ms");
  WriteFigure("cost", "node/resident_mb", resident, "MB");
  WriteFigure("cost", "node/threads", after.threads, "threads");
  WriteFigure("cost", "wake_ups/node", a_second(before.sleeps, after.sleeps), "a second");
  WriteFigure("cost", "wake_ups/keeper", a_second(keeper_before.sleeps, keeper.sleeps), "a second");
  WriteFigure("cost", "wake_ups/control", a_second(control_before.sleeps, control.sleeps),
              "a second");
  WriteFigure("cost", "control/idle_cpu_ms", a_second(control_before.cpu_ns, control.cpu_ns) / 1e6,
              "ms a second");
  WriteFigure("cost", "keeper/idle_cpu_ms", a_second(keeper_before.cpu_ns, keeper.cpu_ns) / 1e6,
              "ms a second");
  WriteFigure("cost", "two_wake_ups/idle_cpu_ms",
              a_second(sleeper_before.cpu_ns, sleeping.cpu_ns) / 1e6, "ms a second");
  std::printf("node: first message %.1f ms, %.1f MB, %d threads\n", took, resident, after.threads);
}

// What `more` of something make a process grow, each, in KiB.
void WriteGrowth(const char* name, uint64_t before, uint64_t after, int more) {
  const double each = (static_cast<double>(after) - static_cast<double>(before)) / 1024 / more;
  WriteFigure("cost", name, each, "KiB");
  std::printf("%s %.1f\n", name, each);
}

// The first of its kind makes a process touch code and tables that the others share: it does not
// count.
void Peers(const test::Daemon& daemon) {
  std::vector<broker::IvshmemClient> peers;
  const auto join = [&] {
    peers.push_back(broker::IvshmemClient::Connect(daemon.vm_socket(), kVectors,
                                                   broker::IvshmemClient::Keep::kOwnVectors));
    while (!peers.back().complete()) peers.back().Read();
  };
  join();
  std::this_thread::sleep_for(kSettling);
  const uint64_t keeper = test::ResidentBytes(daemon.pid());
  const uint64_t control = test::ResidentBytes(daemon.control_pid());
  for (int i = 0; i < kPeers; ++i) join();
  for (broker::IvshmemClient& peer : peers) {
    while (peer.peers().size() < kPeers + 1) peer.Read();  // the others, and the host
  }
  std::this_thread::sleep_for(kSettling);
  WriteGrowth("keeper/kib_a_peer", keeper, test::ResidentBytes(daemon.pid()), kPeers);
  WriteGrowth("control/kib_a_peer", control, test::ResidentBytes(daemon.control_pid()), kPeers);
}

void Nodes(const test::Daemon& daemon) {
  std::vector<Node> nodes;
  const auto open = [&] {
    nodes.push_back(Must(Node::Open({.name = "one", .socket_path = daemon.node_socket()})));
  };
  open();
  std::this_thread::sleep_for(kSettling);
  const uint64_t keeper = test::ResidentBytes(daemon.pid());
  const uint64_t control = test::ResidentBytes(daemon.control_pid());
  for (int i = 0; i < kNodes; ++i) open();
  std::this_thread::sleep_for(kSettling);
  WriteGrowth("keeper/kib_a_node", keeper, test::ResidentBytes(daemon.pid()), kNodes);
  WriteGrowth("control/kib_a_node", control, test::ResidentBytes(daemon.control_pid()), kNodes);
}

int Main(const Arguments& arguments) {
  const auto began = Clock::now();
  int taken = 0;
  while (GoesOn(arguments, taken, began)) {
    FirstMessage(test::Daemon());
    if (!Interrupted()) Peers(test::Daemon({"--vectors", std::to_string(kVectors)}));
    if (!Interrupted()) Nodes(test::Daemon());
    std::fflush(stdout);
    ++taken;
  }
  return Interrupted() ? 130 : taken > 0 ? 0 : 1;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) {
  using namespace ivmq::bench;
  return RunMain(argc, argv, Main);
}
