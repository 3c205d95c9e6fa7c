// Answers each query, a self-checking message, with the same message.
//
//   ivmq_traffic_server SERVICE [ANSWERS]
//
// Says "serving" once it does, and at SIGTERM "served N". After so many ANSWERS it says "holding"
// and never answers again: whoever asks waits until this process is killed.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "stop_signal.h"
#include "traffic.pb.h"

namespace ivmq::test {
namespace {

int Fail(const Status& status) {
  std::fprintf(stderr, "traffic_server: %s\n", status.ToString().c_str());
  return 1;
}

int Run(const std::string& service, uint64_t answers) {
  using std::chrono_literals::operator""s;
  uint64_t served = 0;
  auto node = Node::Open({.name = "traffic-server", .timeout = 60s});
  if (!node.ok()) return Fail(node.status());
  auto server = node->CreateServer<Traffic, Traffic>(service, [&](const Traffic& query) {
    if (served == answers) {
      std::puts("holding");
      for (;;) ::pause();
    }
    ++served;
    return query;
  });
  if (!server.ok()) return Fail(server.status());
  std::puts("serving");
  while (stop_requested == 0) {
    const Status status = server->RunOnce(1s);
    if (!status.ok() && status.code() != Code::kTimeout) return Fail(status);
  }
  std::printf("served %llu\n", static_cast<unsigned long long>(served));
  return 0;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s SERVICE [ANSWERS]\n", argv[0]);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ivmq::test::StopOnSigterm();
  return ivmq::test::Run(argv[1], argc > 2 ? std::strtoull(argv[2], nullptr, 10)
                                           : std::numeric_limits<uint64_t>::max());
}
