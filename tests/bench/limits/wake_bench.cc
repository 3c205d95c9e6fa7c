// What it takes to wake a process that sleeps, one way: from before the waker's call until the
// other runs, through a bare eventfd, a futex, and a link whose subscriber blocks. Needs a daemon
// whose node socket IVMQ_NODE_SOCKET names.
//
//   wake_bench [--rounds N] [--seconds S] [FILTER]
//
// A sample is the median of 200 wake-ups.
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "ivmq/ivmq.h"
#include "tests/bench/child.h"
#include "tests/bench/path/meetings.h"
#include "tests/bench/path/must.h"
#include "tests/bench/rounds.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

constexpr uint64_t kWakes = 200;
// After the other has said that it is about to sleep: it does by then.
constexpr auto kUntilAsleep = std::chrono::microseconds(150);

uint64_t NowNs() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

struct Shared {
  alignas(256) std::atomic<uint64_t> sent_ns;
  alignas(256) std::atomic<uint64_t> slept;  // how often the sleeper has begun to sleep
  alignas(256) std::atomic<uint32_t> futex;
  alignas(256) double took_ns[kWakes];
};

// A way to wake: the waker's side gives the moment and wakes, the sleeper's side sleeps and returns
// that moment.
class Way {
 public:
  virtual ~Way() = default;
  virtual void OpenWaker() {}
  virtual void OpenSleeper() {}
  virtual void Wake() = 0;
  virtual uint64_t Sleep() = 0;
};

class Eventfd : public Way {
 public:
  explicit Eventfd(Shared* shared) : shared_(shared) {}
  ~Eventfd() override { ::close(fd_); }
  void Wake() override {
    const uint64_t one = 1;
    shared_->sent_ns = NowNs();
    Require(::write(fd_, &one, sizeof one) == sizeof one, "write");
  }
  uint64_t Sleep() override {
    uint64_t count = 0;
    Require(::read(fd_, &count, sizeof count) == sizeof count, "read");
    return shared_->sent_ns;
  }

 private:
  Shared* shared_;
  int fd_ = ::eventfd(0, EFD_CLOEXEC);
};

class Futex : public Way {
 public:
  explicit Futex(Shared* shared) : shared_(shared) {}
  void Wake() override {
    shared_->sent_ns = NowNs();
    shared_->futex.fetch_add(1);
    Call(FUTEX_WAKE, 1);
  }
  uint64_t Sleep() override {
    while (shared_->futex.load() == seen_) Call(FUTEX_WAIT, seen_);
    ++seen_;
    return shared_->sent_ns;
  }

 private:
  void Call(int operation, uint32_t value) {
    ::syscall(SYS_futex, &shared_->futex, operation, value, nullptr, nullptr, 0);
  }
  Shared* shared_;
  uint32_t seen_ = 0;
};

class Link : public Way {
 public:
  explicit Link(const std::string& topic) : topic_("bench." + topic) {}
  void OpenWaker() override {
    node_.emplace(Must(Node::Open({.name = "waker"})));
    publisher_.emplace(Must(node_->CreatePublisher(topic_)));
    Must(publisher_->WaitForSubscribers(1, kLong));
  }
  void OpenSleeper() override {
    node_.emplace(Must(Node::Open({.name = "sleeper"})));
    SubscriberOptions options;
    options.wait = Wait::kBlock;
    subscriber_.emplace(Must(node_->CreateSubscriber(topic_, options)));
    while (subscriber_->publishers() == 0) ::usleep(100);
  }
  void Wake() override {
    const uint64_t now = NowNs();
    Must(publisher_->Publish(std::as_bytes(std::span(&now, 1))));
  }
  uint64_t Sleep() override {
    const auto got = subscriber_->Receive(kLong);
    Require(got.ok() && got->bytes.size() == sizeof(uint64_t), "receive");
    uint64_t sent = 0;
    std::memcpy(&sent, got->bytes.data(), sizeof sent);
    return sent;
  }

 private:
  std::string topic_;
  std::optional<Node> node_;
  std::optional<BytesPublisher> publisher_;
  std::optional<BytesSubscriber> subscriber_;
};

std::optional<Figures> Measure(Way* way, Shared* shared) {
  const Side waker = [=]() -> std::function<void()> {
    way->OpenWaker();
    return [=] {
      for (uint64_t i = 1; i <= kWakes; ++i) {
        while (shared->slept.load() < i) {
        }
        const auto asleep = std::chrono::steady_clock::now() + kUntilAsleep;
        while (std::chrono::steady_clock::now() < asleep) {
        }
        way->Wake();
      }
      while (shared->slept.load() <= kWakes) {
      }
    };
  };
  const Side sleeper = [=]() -> std::function<void()> {
    way->OpenSleeper();
    return [=] {
      for (double& took : shared->took_ns) {
        shared->slept.fetch_add(1);
        const uint64_t sent = way->Sleep();
        took = static_cast<double>(NowNs() - sent);
      }
      shared->slept.fetch_add(1);
    };
  };
  if (!RunOnTwoCores(waker, sleeper, Apart::kProcesses, Preempted::kCounts)) return std::nullopt;
  std::sort(std::begin(shared->took_ns), std::end(shared->took_ns));
  return Figures{shared->took_ns[kWakes / 2]};
}

using MakeWay = std::function<std::unique_ptr<Way>(Shared*)>;

Case CaseOf(std::string name, const MakeWay& make) {
  return {std::move(name), [make]() -> std::optional<double> {
            SharedFile file(sizeof(Shared));
            auto* const shared = new (file.Map()) Shared{};
            const auto way = make(shared);
            const auto figures = InAChild([&] { return Measure(way.get(), shared); });
            return figures ? std::optional(figures->front()) : std::nullopt;
          }};
}

int Main(const Arguments& arguments) {
  Meetings meetings;
  std::vector<Case> cases;
  cases.push_back(CaseOf("wake/eventfd/8", [](Shared* s) { return std::make_unique<Eventfd>(s); }));
  cases.push_back(CaseOf("wake/futex/8", [](Shared* s) { return std::make_unique<Futex>(s); }));
  cases.push_back(CaseOf("wake/ivmq_block/8", [&](Shared* /*shared*/) {
    return std::make_unique<Link>(meetings.Next());
  }));
  return RunRounds("limits", std::move(cases), arguments);
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::RunMain(argc, argv, ivmq::bench::Main); }
