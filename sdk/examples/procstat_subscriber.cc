// Prints what the publishers of host.procstat measure, one line a message.
//
//   procstat_subscriber [COUNT]    COUNT: how many messages to wait for, default no limit
//
// The same program runs in a guest and on the host; see procstat_publisher.cc.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "procstat.pb.h"

namespace {

void Print(const ivmq::examples::ProcStat& stat) {
  std::printf(
      "%s #%llu  up %.1f s  load %.2f  cpu %3.0f %%  %llu context switches  %llu MiB free\n",
      stat.host().c_str(), static_cast<unsigned long long>(stat.sequence()), stat.uptime_seconds(),
      stat.load_1min(), 100 * stat.cpu_busy(),
      static_cast<unsigned long long>(stat.context_switches()),
      static_cast<unsigned long long>(stat.memory_available_kib() / 1024));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  using std::chrono_literals::operator""s;

  const unsigned long long count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  auto node = ivmq::Node::Open({.name = "procstat-subscriber"});
  if (!node.ok()) {
    std::fprintf(stderr, "procstat_subscriber: %s\n", node.status().ToString().c_str());
    return 1;
  }
  auto subscriber = node->CreateSubscriber<ivmq::examples::ProcStat>("host.procstat");
  if (!subscriber.ok()) {
    std::fprintf(stderr, "procstat_subscriber: %s\n", subscriber.status().ToString().c_str());
    return 1;
  }

  for (unsigned long long seen = 0; count == 0 || seen < count;) {
    const auto got = subscriber->Receive(1s);
    if (got.ok()) {
      Print(got->value());
      ++seen;
    } else if (got.status().code() != ivmq::Code::kTimeout) {
      std::fprintf(stderr, "procstat_subscriber: %s\n", got.status().ToString().c_str());
      return 1;
    }
  }
  return 0;
}
