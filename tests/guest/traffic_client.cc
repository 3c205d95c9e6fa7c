// Asks servers that are ivmq_traffic_server, several requests at a time, and checks every reply.
//
//   ivmq_traffic_client SERVICE COUNT THREADS SERVERS
//
// Waits for SERVERS, then asks until COUNT were answered, without a deadline that would matter. A
// request that is aborted is counted and asked again. Says "answered N aborted M" at the end. Exit
// status 1 and a sentence on any other failure.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "traffic.h"

namespace ivmq::test {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;

constexpr size_t kMaxBytes = 4096;

struct Job {
  std::string service;
  uint64_t count = 0;
  uint32_t threads = 0;
  uint32_t servers = 0;
};

int Fail(const Status& status) {
  std::fprintf(stderr, "traffic_client: %s\n", status.ToString().c_str());
  return 1;
}

struct Tally {
  std::atomic<uint64_t> asked{0};
  std::atomic<uint64_t> answered{0};
  std::atomic<uint64_t> aborted{0};
  std::atomic<bool> failed{false};
};

void Ask(Client<Traffic, Traffic> client, uint32_t sender, uint64_t count, Tally* tally) {
  TrafficSource source(sender, kMaxBytes);
  TrafficCheck check;
  while (!tally->failed && tally->asked.fetch_add(1) < count) {
    const Traffic& query = source.Next();
    auto reply = client.Call(query, 24h);
    while (!tally->failed && reply.status().code() == Code::kAborted) {
      ++tally->aborted;
      reply = client.Call(query, 24h);
    }
    const std::string wrong = reply.ok() ? check.Take(*reply) : reply.status().ToString();
    if (!wrong.empty()) {
      std::fprintf(stderr, "traffic_client: %s\n", wrong.c_str());
      tally->failed = true;
    }
    ++tally->answered;
  }
}

int Run(const Job& job) {
  auto node = Node::Open({.name = "traffic-client", .timeout = 60s});
  if (!node.ok()) return Fail(node.status());
  auto client = node->CreateClient<Traffic, Traffic>(job.service);
  if (!client.ok()) return Fail(client.status());
  if (Status status = client->WaitForServers(job.servers, 120s); !status.ok()) return Fail(status);
  Tally tally;
  std::vector<std::thread> threads;
  for (uint32_t sender = 1; sender <= job.threads; ++sender) {
    threads.emplace_back(Ask, *client, sender, job.count, &tally);
  }
  for (std::thread& thread : threads) thread.join();
  if (tally.failed) return 1;
  std::printf("answered %llu aborted %llu\n",
              static_cast<unsigned long long>(tally.answered.load()),
              static_cast<unsigned long long>(tally.aborted.load()));
  return 0;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s SERVICE COUNT THREADS SERVERS\n", argv[0]);
    return 2;
  }
  return ivmq::test::Run({.service = argv[1],
                          .count = std::strtoull(argv[2], nullptr, 10),
                          .threads = static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10)),
                          .servers = static_cast<uint32_t>(std::strtoul(argv[4], nullptr, 10))});
}
