// The ring beside boost::lockfree::spsc_queue and boost::interprocess::message_queue, in one run.
// At the end the medians are set against the cache-line round trip and against boost's queue of the
// same placement.
//
//   ring_bench [--benchmark_filter=...]     IVMQ_BENCH_REALTIME=1 on a machine that is not idle
//
// Both sides copy every payload, in and out.
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

using ringbuf::ReadResult;
using ringbuf::RecordView;
using ringbuf::SpscConsumer;
using ringbuf::SpscProducer;
using ringbuf::WriteResult;

constexpr uint64_t kCapacity = 65536;
constexpr int kTrips = 5000;
constexpr int kMessages = 200'000;
constexpr size_t kMaxBytes = 8192;

using Buffer = std::array<std::byte, kMaxBytes>;

class SharedRing {
 public:
  SharedRing() {
    memory_ = mmap(nullptr, ringbuf::RingBytes(kCapacity), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory_ == MAP_FAILED) std::abort();
    ringbuf::InitializeRing(memory_, kCapacity);
  }
  ~SharedRing() { munmap(memory_, ringbuf::RingBytes(kCapacity)); }
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;
  ringbuf::RingView view() const { return ringbuf::RingAt(memory_, kCapacity); }

 private:
  void* memory_;
};

// One direction of each contender: Send() returns once the message is on its way, Receive() once it
// has been copied out. Send() and Receive() belong to one thread each.
template <size_t kBytes, int kBatch>
class RingChannel {
 public:
  static constexpr size_t kSize = kBytes;
  void Send(const Buffer& from) {
    while (producer_.value.TryWrite({from.data(), kBytes}) != WriteResult::kOk) {
      ringbuf::StdAtomics::Pause();
    }
    if (++unpublished_.value >= kBatch) Flush();
  }
  void Flush() {
    unpublished_.value = 0;
    producer_.value.Publish();
    // A consumer that spins needs no wake-up; the look at its want is part of every real flush.
    if constexpr (kBatch > 1) benchmark::DoNotOptimize(producer_.value.NeedsWake());
  }
  void Receive(Buffer* to) {
    RecordView view;
    while (consumer_.value.TryRead(&view) != ReadResult::kOk) {
    }
    std::memcpy(to->data(), view.data, kBytes);
    consumer_.value.Release();
  }

 private:
  SharedRing ring_;
  Alone<SpscProducer<>> producer_{ring_.view()};
  Alone<int> unpublished_{0};
  Alone<SpscConsumer<>> consumer_{ring_.view()};
};

template <size_t kBytes>
class BoostSpscChannel {
 public:
  static constexpr size_t kSize = kBytes;
  void Send(const Buffer& from) {
    Message message;
    std::memcpy(message.data(), from.data(), kBytes);
    while (!queue_.push(message)) {
    }
  }
  void Flush() {}
  void Receive(Buffer* to) {
    Message message;
    while (!queue_.pop(message)) {
    }
    std::memcpy(to->data(), message.data(), kBytes);
  }

 private:
  using Message = std::array<std::byte, kBytes>;
  boost::lockfree::spsc_queue<Message, boost::lockfree::capacity<kCapacity / kBytes - 1>> queue_;
};

template <size_t kBytes>
class BoostMessageQueueChannel {
 public:
  static constexpr size_t kSize = kBytes;
  BoostMessageQueueChannel()
      : name_("ivmq-bench-" + std::to_string(getpid()) + "-" + std::to_string(++made_)),
        queue_(boost::interprocess::create_only, name_.c_str(), kCapacity / kBytes, kBytes) {}
  ~BoostMessageQueueChannel() { boost::interprocess::message_queue::remove(name_.c_str()); }
  void Send(const Buffer& from) { queue_.send(from.data(), kBytes, 0); }
  void Flush() {}
  void Receive(Buffer* to) {
    boost::interprocess::message_queue::size_type size = 0;
    unsigned priority = 0;
    queue_.receive(to->data(), to->size(), size, priority);
  }

 private:
  static inline int made_ = 0;
  std::string name_;
  boost::interprocess::message_queue queue_;
};

void Touch(Buffer& buffer) { asm volatile("" ::"r"(buffer.data()) : "memory"); }

template <class Channel>
std::optional<double> RoundTripNs(int trips) {
  auto there = std::make_unique<Channel>();
  auto back = std::make_unique<Channel>();
  static Alone<Buffer> a, b, c, d;
  const auto total = RunOnTwoCores(
      [&] {
        for (int i = 0; i < trips; ++i) {
          there->Send(a.value);
          back->Receive(&b.value);
          Touch(b.value);
        }
      },
      [&] {
        for (int i = 0; i < trips; ++i) {
          there->Receive(&c.value);
          Touch(c.value);
          back->Send(d.value);
        }
      });
  if (!total) return std::nullopt;
  return *total / trips;
}

template <class Channel>
std::optional<double> MessageNs(int messages) {
  auto channel = std::make_unique<Channel>();
  static Alone<Buffer> a, b;
  const auto total = RunOnTwoCores(
      [&] {
        for (int i = 0; i < messages; ++i) {
          channel->Receive(&b.value);
          Touch(b.value);
        }
      },
      [&] {
        for (int i = 0; i < messages; ++i) channel->Send(a.value);
        channel->Flush();
      });
  if (!total) return std::nullopt;
  return *total / messages;
}

// All samples of the run, by what was measured and by placement.
std::map<std::pair<std::string, Placement>, std::vector<Sample>>& Samples() {
  static std::map<std::pair<std::string, Placement>, std::vector<Sample>> samples;
  return samples;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

void Measure(benchmark::State& state, const std::string& name,
             const std::function<std::optional<double>()>& measure) {
  std::vector<double> ns;
  std::vector<double> line;
  int near = 0;
  for (auto _ : state) {
    const auto sample = TakeSample(measure);
    if (!sample) {
      state.SkipWithError("no undisturbed sample; try IVMQ_BENCH_REALTIME=1");
      return;
    }
    state.SetIterationTime(sample->ns * 1e-9);
    Samples()[{name, sample->placement}].push_back(*sample);
    ns.push_back(sample->ns);
    line.push_back(sample->line_ns);
    near += sample->placement == Placement::kNear;
  }
  state.counters["p50_ns"] = Median(ns);
  state.counters["line_ns"] = Median(line);
  state.SetLabel(std::to_string(near) + " near, " + std::to_string(ns.size() - near) + " far");
}

void Register(const std::string& name, std::function<std::optional<double>()> measure) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [=](benchmark::State& state) { Measure(state, name, measure); })
      ->UseManualTime()
      ->Iterations(5)
      ->Repetitions(4)
      ->ReportAggregatesOnly(true)
      ->Unit(benchmark::kNanosecond);
}

template <size_t kBytes>
void RegisterSize() {
  const std::string size = "/" + std::to_string(kBytes);
  Register("round_trip/ring" + size, [] { return RoundTripNs<RingChannel<kBytes, 1>>(kTrips); });
  Register("round_trip/boost_spsc" + size,
           [] { return RoundTripNs<BoostSpscChannel<kBytes>>(kTrips); });
  Register("message/ring_each" + size, [] { return MessageNs<RingChannel<kBytes, 1>>(kMessages); });
  Register("message/ring_batch8" + size,
           [] { return MessageNs<RingChannel<kBytes, 8>>(kMessages); });
  Register("message/ring_batch32" + size,
           [] { return MessageNs<RingChannel<kBytes, 32>>(kMessages); });
  Register("message/boost_spsc" + size,
           [] { return MessageNs<BoostSpscChannel<kBytes>>(kMessages); });
}

// Medians of each placement, and what they are measured against.
void PrintSummary() {
  std::printf("\n%-28s %-5s %8s %9s %8s %8s %12s\n", "", "cores", "samples", "p50 ns", "M/s",
              "x line", "boost/this");
  for (const auto& [key, samples] : Samples()) {
    const auto& [name, placement] = key;
    std::vector<double> ns;
    std::vector<double> ratio;
    for (const Sample& sample : samples) {
      ns.push_back(sample.ns);
      ratio.push_back(sample.ns / sample.line_ns);
    }
    const size_t slash = name.find('/');
    const std::string rival = name.substr(0, slash) + "/boost_spsc" + name.substr(name.rfind('/'));
    double times = 0;
    if (const auto found = Samples().find({rival, placement}); found != Samples().end()) {
      std::vector<double> rival_ns;
      for (const Sample& sample : found->second) rival_ns.push_back(sample.ns);
      times = Median(rival_ns) / Median(ns);
    }
    std::printf("%-28s %-5s %8zu %9.1f %8.2f %8.2f %12.2f\n", name.c_str(),
                PlacementName(placement), samples.size(), Median(ns), 1e3 / Median(ns),
                Median(ratio), times);
  }
  std::printf(
      "\nWanted at 64 bytes: round trip at most 1.3 x line, boost/this at least 2 for messages.\n");
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) {
  using namespace ivmq::bench;
  RegisterSize<8>();
  RegisterSize<64>();
  RegisterSize<256>();
  RegisterSize<1024>();
  RegisterSize<4096>();
  Register("round_trip/boost_mq/64", [] { return RoundTripNs<BoostMessageQueueChannel<64>>(100); });
  Register("message/boost_mq/64", [] { return MessageNs<BoostMessageQueueChannel<64>>(5000); });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  PrintSummary();
  return 0;
}
