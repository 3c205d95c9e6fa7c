// How long it takes until a new peer knows all others and they know it, among so many. Each has 8
// vectors, and each count has a broker of its own. 1,000 peers only without --quick: everyone is
// told of everyone.
//
//   peers_bench [--rounds N] [--seconds S] [--quick]
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/bench/child.h"
#include "tests/bench/rounds.h"
#include "tests/bench/samples.h"
#include "tests/keeper/ivshmem_client.h"
#include "tests/sdk/daemon.h"

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;
using broker::IvshmemClient;
constexpr uint32_t kVectors = 8;
constexpr int kNewcomers = 5;
constexpr std::chrono::seconds kPatience{30};

// Until all know all: version, ID and region, then the vectors of each peer and the host.
void ReadAll(std::vector<IvshmemClient>* peers) {
  const size_t messages = 3 + kVectors * (peers->size() + 1);
  const auto deadline = Clock::now() + kPatience;
  for (IvshmemClient& peer : *peers) {
    while (peer.log().size() < messages && !peer.at_eof()) {
      if (peer.Read() == 0 && Clock::now() > deadline) throw Failed("a peer is not told of all");
    }
    if (!peer.violation().empty()) throw Failed(peer.violation());
    if (peer.at_eof())
      throw Failed("peer " + std::to_string(peer.id()) + " of " + std::to_string(peers->size()) +
                   " was put out");
  }
}

void Join(std::vector<IvshmemClient>* peers, const std::string& socket) {
  peers->push_back(IvshmemClient::Connect(socket, kVectors, IvshmemClient::Keep::kOwnVectors));
  ReadAll(peers);  // also what fills the queues of the others
}

void Measure(int count) {
  const test::Daemon daemon({"--vectors", std::to_string(kVectors),
                             // Room in the peer table for all.
                             "--size", "1GiB"});
  std::vector<IvshmemClient> peers;
  while (static_cast<int>(peers.size()) < count - kNewcomers) {
    if (Interrupted()) return;
    Join(&peers, daemon.vm_socket());
  }
  for (int i = 0; i < kNewcomers; ++i) {
    const auto begin = Clock::now();
    Join(&peers, daemon.vm_socket());
    const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
    WriteFigure("scale", "join_ms/" + std::to_string(count), took.count(), "ms");
    std::printf("among %4d peers: %.2f ms\n", count, took.count());
    std::fflush(stdout);
  }
}

int Main(const Arguments& arguments) {
  for (const int count : {10, 100, 1000}) {
    if (count > 100 && arguments.quick) break;
    Measure(count);
  }
  return Interrupted() ? 130 : 0;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::RunMain(argc, argv, ivmq::bench::Main); }
