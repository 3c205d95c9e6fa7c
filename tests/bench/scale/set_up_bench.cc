// How long it takes until a new subscriber has its link: one after the other, and a thousand at
// once. The publishers live in another process. Needs a daemon whose node socket IVMQ_NODE_SOCKET
// names.
//
//   set_up_bench [--rounds N] [--seconds S]
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <latch>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/child.h"
#include "tests/bench/path/meetings.h"
#include "tests/bench/path/must.h"
#include "tests/bench/rounds.h"
#include "tests/bench/samples.h"

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kOneByOne = 200;
constexpr int kTogether = 1000;

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

std::string TopicOf(const std::string& name, int i) { return name + "." + std::to_string(i); }

// Publishes `topics` topics in a child; returns when all are registered.
pid_t ForkPublishers(const std::string& name, int topics) {
  int ends[2];
  Require(::pipe(ends) == 0, "pipe");
  const pid_t child = ::fork();
  Require(child >= 0, "fork");
  char byte = 0;
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const Node node = Must(Node::Open({.name = "publishers"}));
    std::vector<BytesPublisher> publishers;
    PublisherOptions options;
    options.ring_bytes = 4096;
    publishers.reserve(static_cast<size_t>(topics));
    for (int i = 0; i < topics; ++i) {
      publishers.push_back(Must(Node(node).CreatePublisher(TopicOf(name, i), options)));
    }
    Require(::write(ends[1], &byte, 1) == 1, "write");
    for (;;) ::pause();
  }
  ::close(ends[1]);
  Require(::read(ends[0], &byte, 1) == 1, "the publishers failed");
  ::close(ends[0]);
  return child;
}

void End(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

Figures OneByOne(const std::string& name) {
  const pid_t child = ForkPublishers(name, kOneByOne);
  Node node = Must(Node::Open({.name = "subscribers"}));
  std::vector<BytesSubscriber> subscribers;
  Figures times;
  for (int i = 0; i < kOneByOne; ++i) {
    const auto begin = Clock::now();
    subscribers.push_back(Must(node.CreateSubscriber(TopicOf(name, i))));
    times.push_back(MsSince(begin));
    Require(subscribers.back().publishers() == 1, "no link");
  }
  End(child);
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

Figures Together(const std::string& name) {
  const pid_t child = ForkPublishers(name, kTogether);
  Node node = Must(Node::Open({.name = "subscribers"}));
  std::latch start(kTogether + 1);
  std::vector<std::thread> threads;
  threads.reserve(kTogether);
  std::vector<std::optional<BytesSubscriber>> subscribers(kTogether);
  for (int i = 0; i < kTogether; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      subscribers[static_cast<size_t>(i)].emplace(Must(node.CreateSubscriber(TopicOf(name, i))));
    });
  }
  start.arrive_and_wait();
  const auto begin = Clock::now();
  for (std::thread& thread : threads) thread.join();
  const double took = MsSince(begin);
  for (const auto& subscriber : subscribers) Require(subscriber->publishers() == 1, "no link");
  End(child);
  return {took};
}

int Main(const Arguments& arguments) {
  Meetings meetings;
  const auto began = Clock::now();
  int taken = 0;
  while (GoesOn(arguments, taken, began)) {
    const std::string name = "bench." + meetings.Next();
    const auto one_by_one = InAChild([&] { return OneByOne(name + ".one"); });
    const auto together = InAChild([&] { return Together(name + ".all"); });
    if (!one_by_one || !together) continue;
    WriteFigure("scale", "set_up/p50_ms", (*one_by_one)[0], "ms");
    WriteFigure("scale", "set_up/p99_ms", (*one_by_one)[1], "ms");
    WriteFigure("scale", "set_up/1000_together_ms", together->front(), "ms");
    std::printf("%3d  a link: p50 %.3f ms, p99 %.3f ms; %d together: %.0f ms\n", ++taken,
                (*one_by_one)[0], (*one_by_one)[1], kTogether, together->front());
    std::fflush(stdout);
  }
  return Interrupted() ? 130 : taken > 0 ? 0 : 1;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::RunMain(argc, argv, ivmq::bench::Main); }
