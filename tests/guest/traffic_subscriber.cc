// Receives what ivmq_traffic_publisher sends, from any number of them, and checks every message.
//
//   ivmq_traffic_subscriber TOPIC COUNT SILENCE_SECONDS
//
// Says "subscribed" once it is, "at N" every so often, and after COUNT messages (0: at SIGTERM,
// once what is left has been taken) "received N links L largest B". Exit status 1 and a sentence on
// the first message that is wrong, or when nothing comes for SILENCE_SECONDS although COUNT is not
// reached.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "stop_signal.h"
#include "traffic.h"

namespace ivmq::test {
namespace {

int Fail(const std::string& why) {
  std::fprintf(stderr, "traffic_subscriber: %s\n", why.c_str());
  return 1;
}

int Run(const std::string& topic, uint64_t count, std::chrono::seconds silence_max) {
  using std::chrono_literals::operator""s;
  auto node = Node::Open({.name = "traffic-subscriber", .timeout = 60s});
  if (!node.ok()) return Fail(node.status().ToString());
  auto subscriber = node->CreateSubscriber<Traffic>(topic, {.join_timeout = 60s});
  if (!subscriber.ok()) return Fail(subscriber.status().ToString());
  std::puts("subscribed");

  const uint64_t progress_every = count == 0 ? 1000 : std::max<uint64_t>(count / 20, 1);
  std::map<uint64_t, TrafficCheck> links;
  size_t largest = 0;
  uint64_t received = 0;
  auto heard = std::chrono::steady_clock::now();
  while (count == 0 || received < count) {
    const auto got = subscriber->Receive(1s);
    const auto now = std::chrono::steady_clock::now();
    if (got.ok()) {
      TrafficCheck& check = links[got->info().link_id];
      if (const auto wrong = check.Take(got->value()); !wrong.empty()) return Fail(wrong);
      if (got->gap() != 0) return Fail("a reliable link lost " + std::to_string(got->gap()));
      largest = std::max(largest, check.largest());
      heard = now;
      if (++received % progress_every == 0) {
        std::printf("at %llu\n", static_cast<unsigned long long>(received));
        std::fflush(stdout);
      }
    } else if (got.status().code() != Code::kTimeout) {
      return Fail(got.status().ToString());
    } else if (stop_requested != 0) {
      break;
    } else if (count != 0 && now - heard > silence_max) {
      return Fail("silence after " + std::to_string(received) + " of " + std::to_string(count));
    }
  }
  std::printf("received %llu links %zu largest %zu\n", static_cast<unsigned long long>(received),
              links.size(), largest);
  return 0;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s TOPIC COUNT SILENCE_SECONDS\n", argv[0]);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  ivmq::test::StopOnSigterm();
  return ivmq::test::Run(argv[1], std::strtoull(argv[2], nullptr, 10),
                         std::chrono::seconds(std::strtoul(argv[3], nullptr, 10)));
}
