// Publishers and subscribers between two processes on two cores: one reliable link of 64 KiB.
// Prints each sample, then the medians of each placement of the cores.
//
//   link_bench [SAMPLES]     IVMQ_BENCH_REALTIME=1 on a machine that is not idle
//
// Uses only what the SDK has had from its first day, so that compare.sh can build it against older
// revisions.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/bench/two_cores.h"
#include "tests/sdk/fake_control.h"

namespace ivmq::bench {
namespace {

constexpr int kTrips = 5000;
constexpr int kMessages = 100'000;
constexpr size_t kBytes = 64;
constexpr int kPatience = 4;  // a sample sets two nodes up
constexpr auto kLong = std::chrono::seconds(10);

void Check(bool ok) {
  if (!ok) std::abort();
}

std::optional<double> Each(std::optional<double> total, int count) {
  return total ? std::optional<double>(*total / count) : std::nullopt;
}

template <class T>
std::shared_ptr<T> Keep(T endpoint) {
  return std::make_shared<T>(std::move(endpoint));
}

// Each sample is two processes, each with a node, on topics of its own.
class Links {
 public:
  // One message there and one back.
  std::optional<double> RoundTrip() {
    const std::string topic = NextTopic();
    const Side first = [this, topic]() -> std::function<void()> {
      const auto there = Keep(node_.CreatePublisher(topic + ".there").value());
      const auto back = Keep(node_.CreateSubscriber(topic + ".back").value());
      Check(there->WaitForSubscribers(1, kLong).ok());
      while (back->publishers() == 0) std::this_thread::yield();
      return [this, there, back] {
        for (int i = 0; i < kTrips; ++i) {
          Check(there->Publish(message_).ok());
          Check(back->Receive(kLong).ok());
        }
      };
    };
    const Side second = [this, topic]() -> std::function<void()> {
      const auto node = std::make_shared<Node>(Open("right"));
      const auto back = Keep(node->CreatePublisher(topic + ".back").value());
      const auto there = Keep(node->CreateSubscriber(topic + ".there").value());
      Check(back->WaitForSubscribers(1, kLong).ok());
      return [node, there, back] {
        for (int i = 0; i < kTrips; ++i) {
          const auto got = there->Receive(kLong);
          Check(got.ok() && back->Publish(got->bytes).ok());
        }
      };
    };
    return Each(RunOnTwoCores(first, second), kTrips);
  }

  // Messages one way, made visible `batch` at a time, taken by Poll.
  std::optional<double> Stream(int batch) {
    const std::string topic = NextTopic();
    const Side first = [this, topic]() -> std::function<void()> {
      const auto subscriber = Keep(node_.CreateSubscriber(topic).value());
      while (subscriber->publishers() == 0) std::this_thread::yield();
      return [subscriber] {
        size_t sum = 0;
        const auto take = [&sum](const BytesMessage& message) { sum += message.bytes.size(); };
        for (size_t got = 0; got < kMessages;) {
          const auto some = subscriber->Poll(256, take);
          Check(some.ok());
          got += *some;
        }
        Check(sum == kMessages * kBytes);
      };
    };
    const Side second = [this, topic, batch]() -> std::function<void()> {
      const auto node = std::make_shared<Node>(Open("right"));
      const auto publisher = Keep(node->CreatePublisher(topic).value());
      Check(publisher->WaitForSubscribers(1, kLong).ok());
      return [this, node, publisher, batch] {
        for (int i = 1; i <= kMessages; ++i) {
          const bool flush = i % batch == 0 || i == kMessages;
          Check((flush ? publisher->Publish(message_) : publisher->Write(message_)).ok());
        }
      };
    };
    return Each(RunOnTwoCores(first, second), kMessages);
  }

 private:
  Node Open(const char* name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  std::string NextTopic() { return "sample" + std::to_string(++samples_); }

  // Never takes memory back, and a sample takes some.
  test::FakeControl control_{{.region_bytes = uint64_t{4} << 30}};
  Node node_ = Open("left");
  const std::vector<std::byte> message_ = std::vector<std::byte>(kBytes);
  int samples_ = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Main(int samples) {
  Links links;
  const std::vector<std::pair<std::string, std::function<std::optional<double>()>>> cases = {
      {"round_trip", [&] { return links.RoundTrip(); }},
      {"message_each", [&] { return links.Stream(1); }},
      {"message_batch32", [&] { return links.Stream(32); }},
  };
  std::map<std::pair<std::string, Placement>, std::vector<double>> figures;
  for (int i = 0; i < samples; ++i) {
    for (const auto& [name, measure] : cases) {
      const auto sample = TakeSample(measure, kPatience);
      if (!sample) continue;
      figures[{name, sample->placement}].push_back(sample->ns);
      std::printf("sample %s %s %.1f\n", name.c_str(), PlacementName(sample->placement),
                  sample->ns);
    }
  }
  std::printf("%s\n%zu bytes, a reliable link of 64 KiB\n", Machine().c_str(), kBytes);
  for (const auto& [key, ns] : figures) {
    std::printf("%-16s %-4s %3zu samples  p50 %7.1f ns\n", key.first.c_str(),
                PlacementName(key.second), ns.size(), Median(ns));
  }
  return figures.empty() ? 1 : 0;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 15;
  if (argc > 2 || count < 1) {
    std::fprintf(stderr, "usage: %s [SAMPLES]\n", argv[0]);
    return 2;
  }
  return ivmq::bench::Main(count);
}
