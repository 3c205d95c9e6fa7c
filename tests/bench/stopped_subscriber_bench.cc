// One publisher to eight KeepLast subscribers, each a process of its own, with all of them running
// and with one stopped (SIGSTOP), in turns. Prints the medians and their ratio.
//
//   stopped_subscriber_bench [ROUNDS]
//
// The publisher has core 0, the subscribers share core 1.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/bench/two_cores.h"
#include "tests/sdk/daemon.h"

namespace ivmq::bench {
namespace {

constexpr int kSubscribers = 8;
constexpr int kMessages = 50'000;
constexpr size_t kBytes = 64;
constexpr auto kLong = std::chrono::seconds(10);
using Clock = std::chrono::steady_clock;

void Check(bool ok) {
  if (!ok) std::abort();
}

[[noreturn]] void Subscribe(const std::string& socket) {
  PinToCore(1);
  Node node = Node::Open({.name = "subscriber", .socket_path = socket}).value();
  auto subscriber = node.CreateSubscriber("t", {.reliability = KeepLast(16)}).value();
  for (;;) {
    if (subscriber.Receive(kLong).status().code() == Code::kClosed) _exit(0);
  }
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class FanOut {
 public:
  FanOut() {
    for (int i = 0; i < kSubscribers; ++i) {
      const pid_t child = fork();
      Check(child >= 0);
      if (child == 0) Subscribe(daemon_.node_socket());
      children_.push_back(child);
    }
    PinToCore(0);
    node_.emplace(Node::Open({.name = "publisher", .socket_path = daemon_.node_socket()}).value());
    publisher_.emplace(node_->CreatePublisher("t").value());
    Check(publisher_->WaitForSubscribers(kSubscribers, kLong).ok());
  }
  ~FanOut() {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
  FanOut(const FanOut&) = delete;
  FanOut& operator=(const FanOut&) = delete;

  // Nanoseconds a message.
  double Measure() {
    const auto start = Clock::now();
    for (int i = 0; i < kMessages; ++i) Check(publisher_->Publish(message_).ok());
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / kMessages;
  }
  double MeasureWithOneStopped() {
    Signal(SIGSTOP, WUNTRACED);
    const double ns = Measure();
    Signal(SIGCONT, WCONTINUED);
    return ns;
  }

 private:
  void Signal(int signal, int until) {
    kill(children_.back(), signal);
    int status = 0;
    Check(waitpid(children_.back(), &status, until) == children_.back());
  }

  test::Daemon daemon_;
  std::vector<pid_t> children_;
  std::optional<Node> node_;
  std::optional<BytesPublisher> publisher_;
  const std::vector<std::byte> message_ = std::vector<std::byte>(kBytes);
};

int Main(int rounds) {
  FanOut fan_out;
  std::vector<double> all;
  std::vector<double> stopped;
  std::vector<double> ratios;
  for (int i = 0; i < rounds; ++i) {
    all.push_back(fan_out.Measure());
    stopped.push_back(fan_out.MeasureWithOneStopped());
    ratios.push_back(all.back() / stopped.back());
  }
  std::printf("%s\n%zu bytes to %d KeepLast(16) subscribers\n", Machine().c_str(), kBytes,
              kSubscribers);
  std::printf("%d pairs  all running %7.0f ns a message  one stopped %7.0f ns  speed %.2f x\n",
              rounds, Median(all), Median(stopped), Median(ratios));
  return 0;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 31;
  if (argc > 2 || count < 1) {
    std::fprintf(stderr, "usage: %s [ROUNDS]\n", argv[0]);
    return 2;
  }
  return ivmq::bench::Main(count);
}
