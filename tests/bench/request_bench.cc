// A request and its reply beside two plain publishes there and back, between two processes
// on two cores, in turns. Prints the medians of each placement of the cores and their ratio.
//
//   request_bench [ROUNDS]     IVMQ_BENCH_REALTIME=1 on a machine that is not idle
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/bench/two_cores.h"
#include "tests/sdk/fake_control.h"

namespace ivmq::bench {
namespace {

constexpr int kTrips = 2000;
constexpr size_t kBytes = 64;
constexpr int kPatience = 4;  // a sample sets two nodes up
constexpr auto kLong = std::chrono::seconds(10);

Node Open(const test::FakeControl& control, const char* name) {
  return Node::Open({.name = name, .socket_path = control.socket_path()}).value();
}

void Check(bool ok) {
  if (!ok) std::abort();
}

// Each sample is two processes, each with a node, on a topic and a service of its own.
class Contenders {
 public:
  std::optional<double> Publishes() {
    const std::string name = NextName();
    return PerTrip(RunOnTwoCores(
        [this, name]() -> std::function<void()> {
          const auto there = Keep(node_.CreatePublisher(name + ".there").value());
          const auto back = Keep(node_.CreateSubscriber(name + ".back").value());
          Check(there->WaitForSubscribers(1, kLong).ok());
          while (back->publishers() == 0) std::this_thread::yield();
          return [this, there, back] {
            for (int i = 0; i < kTrips; ++i) {
              Check(there->Publish(message_).ok());
              Check(back->Receive(kLong).ok());
            }
          };
        },
        [this, name]() -> std::function<void()> {
          Node node = Open(control_, "right");
          const auto back = Keep(node.CreatePublisher(name + ".back").value());
          const auto there = Keep(node.CreateSubscriber(name + ".there").value());
          Check(back->WaitForSubscribers(1, kLong).ok());
          return [there, back] {
            for (int i = 0; i < kTrips; ++i) {
              const auto got = there->Receive(kLong);
              Check(got.ok() && back->Publish(got->bytes).ok());
            }
          };
        }));
  }
  std::optional<double> Requests() {
    const std::string name = NextName();
    return PerTrip(RunOnTwoCores(
        [this, name]() -> std::function<void()> {
          const auto client = Keep(node_.CreateClient(name).value());
          Check(client->WaitForServers(1, kLong).ok());
          return [this, client] {
            const auto take = [](std::span<const std::byte> reply) {
              return reply.size() == kBytes ? Status() : Status(Code::kDataLoss, "");
            };
            const auto fill = [this](std::span<std::byte> out) {
              std::copy(message_.begin(), message_.end(), out.begin());
              return true;
            };
            for (int i = 0; i < kTrips; ++i) Check(client->Call(kBytes, fill, kLong, take).ok());
          };
        },
        [this, name]() -> std::function<void()> {
          Node node = Open(control_, "right");
          const auto server = Keep(
              node.CreateBytesServer(name, "", "",
                                     [](BytesServerCall& call) { return call.Reply(call.query()); })
                  .value());
          while (server->clients() == 0) std::this_thread::yield();
          return [server] {
            for (int i = 0; i < kTrips; ++i) Check(server->RunOnce(kLong).ok());
          };
        }));
  }

 private:
  static std::optional<double> PerTrip(std::optional<double> total) {
    return total ? std::optional<double>(*total / kTrips) : std::nullopt;
  }
  template <class T>
  static std::shared_ptr<T> Keep(T endpoint) {
    return std::make_shared<T>(std::move(endpoint));
  }
  std::string NextName() { return "sample" + std::to_string(++samples_); }

  // Never takes memory back, and a sample takes some.
  test::FakeControl control_{{.region_bytes = uint64_t{4} << 30}};
  Node node_ = Open(control_, "left");
  const Bytes message_ = Bytes(kBytes);
  int samples_ = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Main(int rounds) {
  Contenders contenders;
  std::map<Placement, std::pair<std::vector<double>, std::vector<double>>> figures;
  for (int i = 0; i < rounds; ++i) {
    const auto publishes = TakeSample([&] { return contenders.Publishes(); }, kPatience);
    const auto requests = TakeSample([&] { return contenders.Requests(); }, kPatience);
    // A pair counts if the cores were not moved in between.
    if (!publishes || !requests || publishes->placement != requests->placement) continue;
    auto& [of_publishes, of_requests] = figures[publishes->placement];
    of_publishes.push_back(publishes->ns);
    of_requests.push_back(requests->ns);
  }
  std::printf("%s\n%zu bytes, %d trips a sample\n", Machine().c_str(), kBytes, kTrips);
  for (const auto& [placement, both] : figures) {
    std::vector<double> ratios;
    for (size_t i = 0; i < both.first.size(); ++i) {
      ratios.push_back(both.second[i] / both.first[i]);
    }
    std::printf("%-4s %3zu pairs  two publishes %7.0f ns  request %7.0f ns  ratio %.2f\n",
                PlacementName(placement), ratios.size(), Median(both.first), Median(both.second),
                Median(ratios));
  }
  return figures.empty() ? 1 : 0;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::Main(argc > 1 ? std::atoi(argv[1]) : 31); }
