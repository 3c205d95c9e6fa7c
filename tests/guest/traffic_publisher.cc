// Publishes self-checking messages of all sizes.
//
//   ivmq_traffic_publisher TOPIC SENDER COUNT SUBSCRIBERS [HZ]
//
// Waits for SUBSCRIBERS, publishes COUNT messages (0: until SIGTERM, saying "at N" every 1000), at
// most HZ a second, and says at the end "published N bytes B". Says "suspect" or "alive" and the
// other node's name when a link's other side becomes that. Exit status 1 and a sentence if anything
// goes wrong.

#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "stop_signal.h"
#include "traffic.h"

namespace ivmq::test {
namespace {

constexpr uint64_t kProgressEvery = 1000;

struct Job {
  std::string topic;
  uint32_t sender = 0;
  uint64_t count = 0;  // 0: until SIGTERM
  uint32_t subscribers = 0;
  uint64_t hz = 0;  // 0: as fast as it goes
};

int Fail(const Status& status) {
  std::fprintf(stderr, "traffic_publisher: %s\n", status.ToString().c_str());
  return 1;
}

int Run(const Job& job) {
  using std::chrono_literals::operator""s;
  auto node =
      Node::Open({.name = "traffic-publisher-" + std::to_string(job.sender), .timeout = 60s});
  if (!node.ok()) return Fail(node.status());
  PublisherOptions options;
  options.reliability = Block(60s);
  options.on_event = [](const Event& event) {
    if (event.kind != Event::Kind::kSuspect && event.kind != Event::Kind::kAlive) return;
    std::printf("%s %s\n", EventName(event.kind), event.node.c_str());
    std::fflush(stdout);
  };
  auto publisher = node->CreatePublisher<Traffic>(job.topic, options);
  if (!publisher.ok()) return Fail(publisher.status());
  if (auto joined = publisher->WaitForSubscribers(job.subscribers, 120s); !joined.ok()) {
    return Fail(joined);
  }

  TrafficSource source(job.sender, publisher->max_message_bytes());
  uint64_t bytes = 0;
  uint64_t sent = 0;
  const auto start = std::chrono::steady_clock::now();
  while ((job.count == 0 || sent < job.count) && stop_requested == 0) {
    const Traffic& message = source.Next();
    bytes += message.ByteSizeLong();
    auto published = publisher->Publish(message);
    if (!published.ok()) return Fail(published.status());
    if (published->links < job.subscribers) {
      return Fail(Status(Code::kDataLoss, "message " + std::to_string(sent) + " went to " +
                                              std::to_string(published->links) + " links"));
    }
    if (++sent % kProgressEvery == 0 && job.count == 0) {
      std::printf("at %llu\n", static_cast<unsigned long long>(sent));
      std::fflush(stdout);
    }
    if (job.hz > 0) {
      std::this_thread::sleep_until(start + std::chrono::nanoseconds(1s) * sent / job.hz);
    }
  }
  publisher->Close();
  std::printf("published %llu bytes %llu\n", static_cast<unsigned long long>(sent),
              static_cast<unsigned long long>(bytes));
  return 0;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) {
  if (argc < 5 || argc > 6) {
    std::fprintf(stderr, "usage: %s TOPIC SENDER COUNT SUBSCRIBERS [HZ]\n", argv[0]);
    return 2;
  }
  ivmq::test::StopOnSigterm();
  return ivmq::test::Run({.topic = argv[1],
                          .sender = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10)),
                          .count = std::strtoull(argv[3], nullptr, 10),
                          .subscribers = static_cast<uint32_t>(std::strtoul(argv[4], nullptr, 10)),
                          .hz = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 0});
}
