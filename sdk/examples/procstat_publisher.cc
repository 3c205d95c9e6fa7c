// Publishes what /proc says of this machine, ten times a second, until it is stopped. Waits up to
// ten seconds for a first subscriber.
//
//   procstat_publisher [HOST]      HOST: the name to publish under, default the host name
//
// The same program runs in a guest and on the host: IVMQ_NODE_SOCKET names the daemon, and the
// usual places are tried without it.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "proc_reader.h"

int main(int argc, char** argv) {
  using std::chrono_literals::operator""ms;
  using std::chrono_literals::operator""s;

  auto node = ivmq::Node::Open({.name = "procstat-publisher"});
  if (!node.ok()) {
    std::fprintf(stderr, "procstat_publisher: %s\n", node.status().ToString().c_str());
    return 1;
  }
  auto publisher = node->CreatePublisher<ivmq::examples::ProcStat>(
      "host.procstat", {.reliability = ivmq::Block(50ms)});
  if (!publisher.ok()) {
    std::fprintf(stderr, "procstat_publisher: %s\n", publisher.status().ToString().c_str());
    return 1;
  }

  // What is published before anybody has a link to it reaches nobody. It starts without, in the
  // end.
  const auto heard = publisher->WaitForSubscribers(1, 10s);
  if (!heard.ok() && heard.code() != ivmq::Code::kDeadlineExceeded) {
    std::fprintf(stderr, "procstat_publisher: %s\n", heard.ToString().c_str());
    return 1;
  }

  ivmq::examples::ProcReader reader(argc > 1 ? argv[1] : "");
  auto next = std::chrono::steady_clock::now();
  for (;;) {
    const auto sent = publisher->Publish(reader.Read());
    if (!sent.ok()) {
      std::fprintf(stderr, "procstat_publisher: %s\n", sent.status().ToString().c_str());
      // A subscriber that does not keep up costs a measurement; everything else is final.
      if (sent.status().code() != ivmq::Code::kFull) return 1;
    }
    next += 100ms;
    std::this_thread::sleep_until(next);
  }
}
