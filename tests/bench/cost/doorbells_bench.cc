// Doorbells that a publisher rings: as fast as it can, and 100,000 messages a second to a
// subscriber that blocks. Needs a daemon whose node socket IVMQ_NODE_SOCKET names.
//
//   doorbells_bench [--rounds N] [--seconds S]
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/child.h"
#include "tests/bench/path/meetings.h"
#include "tests/bench/path/must.h"
#include "tests/bench/rounds.h"
#include "tests/bench/samples.h"
#include "tests/bench/two_cores.h"

namespace {
thread_local uint64_t sleeps = 0;
}  // namespace

// In place of libc's, which a node's threads sleep in: counts. The kernel's count of switches
// leaves out the sleeps that a doorbell ended before they began.
extern "C" int epoll_pwait2(int epoll, epoll_event* events, int most, const timespec* timeout,
                            const sigset_t* mask) {
  if (timeout == nullptr || timeout->tv_sec > 0 || timeout->tv_nsec > 0) ++sleeps;
  return static_cast<int>(
      ::syscall(SYS_epoll_pwait2, epoll, events, most, timeout, mask, _NSIG / 8));
}

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Way {
  Wait wait;
  uint64_t messages;
  std::chrono::nanoseconds interval;  // zero: as fast as they go
};
constexpr Way kSaturation{Wait::kAdaptive, 1'000'000, {}};
constexpr Way kPaced{Wait::kBlock, 30'000, std::chrono::microseconds(10)};

struct Counts {
  double doorbells;
  double sleeps;  // of the subscriber's thread
};

std::function<void()> Receiver(const Way& way, const std::string& topic, Counts* counts) {
  auto node = std::make_shared<Node>(Must(Node::Open({.name = "receiver"})));
  SubscriberOptions options;
  options.wait = way.wait;
  auto subscriber = std::make_shared<BytesSubscriber>(Must(node->CreateSubscriber(topic, options)));
  while (subscriber->publishers() == 0) std::this_thread::yield();
  return [=] {
    const uint64_t before = sleeps;
    for (uint64_t i = 1; i <= way.messages; ++i) {
      const auto got = subscriber->Receive(kLong);
      Require(got.ok() && got->bytes.size() == 64, "receive");
      uint64_t number = 0;
      std::memcpy(&number, got->bytes.data(), sizeof number);
      Require(number == i, "a message is not the one that was due");
    }
    counts->sleeps = static_cast<double>(sleeps - before);
  };
}

std::function<void()> Sender(const Way& way, const std::string& topic, Counts* counts) {
  auto node = std::make_shared<Node>(Must(Node::Open({.name = "sender"})));
  auto publisher = std::make_shared<BytesPublisher>(Must(node->CreatePublisher(topic)));
  Must(publisher->WaitForSubscribers(1, kLong));
  return [=] {
    std::array<uint64_t, 8> message{};
    auto due = Clock::now();
    for (uint64_t i = 1; i <= way.messages; ++i) {
      due += way.interval;
      while (way.interval.count() > 0 && Clock::now() < due) {
      }
      message.fill(i);
      Require(publisher->Publish(std::as_bytes(std::span(message))).ok(), "publish");
    }
    counts->doorbells = static_cast<double>(publisher->counters().doorbells);
  };
}

std::optional<Figures> Measure(const Way& way, const std::string& topic) {
  SharedFile file(sizeof(Counts));
  auto* const counts = new (file.Map()) Counts{};
  const auto took = RunOnTwoCores([&] { return Receiver(way, topic, counts); },
                                  [&] { return Sender(way, topic, counts); }, Apart::kProcesses,
                                  Preempted::kCounts);
  if (!took) return std::nullopt;
  return Figures{counts->doorbells, counts->sleeps};
}

int Main(const Arguments& arguments) {
  Meetings meetings;
  const auto began = Clock::now();
  int taken = 0;
  while (GoesOn(arguments, taken, began)) {
    const std::string topic = "bench." + meetings.Next();
    const auto full = InAChild([&] { return Measure(kSaturation, topic + ".full"); });
    const auto paced = InAChild([&] { return Measure(kPaced, topic + ".paced"); });
    if (!full || !paced) continue;
    const double per_1000 = (*full)[0] / static_cast<double>(kSaturation.messages) * 1000;
    Require((*paced)[1] > 0, "who blocks never slept: its sleeps are not counted");
    const double per_sleep = (*paced)[0] / (*paced)[1];
    const double per_message = (*paced)[0] / static_cast<double>(kPaced.messages);
    WriteFigure("doorbells", "saturation/per_1000_messages", per_1000, "per 1,000 messages");
    WriteFigure("doorbells", "at_100000/per_sleep", per_sleep, "a sleep");
    WriteFigure("doorbells", "at_100000/per_message", per_message, "a message");
    std::printf("%3d  saturation: %.3f per 1,000; 100,000/s: %.3f a sleep, %.3f a message\n",
                ++taken, per_1000, per_sleep, per_message);
    std::fflush(stdout);
  }
  return Interrupted() ? 130 : taken > 0 ? 0 : 1;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::RunMain(argc, argv, ivmq::bench::Main); }
