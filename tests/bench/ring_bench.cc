// The ring beside boost::lockfree::spsc_queue and boost::interprocess::message_queue, in one run,
// between two processes with mappings of their own.
// At the end the medians are set against the cache-line round trip and against boost's queue of the
// same placement.
//
//   ring_bench [--benchmark_filter=...]     IVMQ_BENCH_REALTIME=1 on a machine that is not idle
//
// Both sides copy every payload, in and out.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <new>
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
constexpr int kMessages = 100'000;
constexpr size_t kMaxBytes = 8192;

using Buffer = std::array<std::byte, kMaxBytes>;

// Each contender lays itself out in shared memory and has two ends, each of which belongs to one
// process. Send() returns once the message is on its way, Receive() once it has been copied out.
template <size_t kBytes, int kBatch>
struct Ring {
  static constexpr size_t kSize = kBytes;
  static constexpr size_t kMemoryBytes = ringbuf::RingBytes(kCapacity);
  static void Initialize(std::byte* memory) { ringbuf::InitializeRing(memory, kCapacity); }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : producer_(ringbuf::RingAt(memory, kCapacity)) {}
    void Send(const Buffer& from) {
      while (producer_.TryWrite({from.data(), kBytes}) != WriteResult::kOk) {
        ringbuf::StdAtomics::Pause();
      }
      if (++unpublished_ >= kBatch) Flush();
    }
    // As every real flush does it, with the look at the consumer's want.
    void Flush() {
      unpublished_ = 0;
      producer_.Publish();
      if (producer_.NeedsWake()) ++wakes_;
    }

   private:
    SpscProducer<> producer_;
    int unpublished_ = 0;
    uint64_t wakes_ = 0;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : consumer_(ringbuf::RingAt(memory, kCapacity)) {}
    void Receive(Buffer* to) {
      RecordView view;
      while (consumer_.TryRead(&view) != ReadResult::kOk) {
      }
      std::memcpy(to->data(), view.data, kBytes);
      consumer_.Release();
    }

   private:
    SpscConsumer<> consumer_;
  };
};

// boost's queue with its capacity fixed when it is compiled holds no pointers.
template <size_t kBytes>
struct BoostSpsc {
  static constexpr size_t kSize = kBytes;
  using Message = std::array<std::byte, kBytes>;
  using Queue =
      boost::lockfree::spsc_queue<Message, boost::lockfree::capacity<kCapacity / kBytes - 1>>;
  static constexpr size_t kMemoryBytes = sizeof(Queue);
  static void Initialize(std::byte* memory) { new (memory) Queue; }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : queue_(reinterpret_cast<Queue*>(memory)) {}
    void Send(const Buffer& from) {
      Message message;
      std::memcpy(message.data(), from.data(), kBytes);
      while (!queue_->push(message)) {
      }
    }
    void Flush() {}

   private:
    Queue* queue_;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : queue_(reinterpret_cast<Queue*>(memory)) {}
    void Receive(Buffer* to) {
      Message message;
      while (!queue_->pop(message)) {
      }
      std::memcpy(to->data(), message.data(), kBytes);
    }

   private:
    Queue* queue_;
  };
};

// Lives in a segment of its own; the shared memory only carries its name.
template <size_t kBytes>
struct BoostMessageQueue {
  static constexpr size_t kSize = kBytes;
  using Queue = boost::interprocess::message_queue;
  static constexpr size_t kMemoryBytes = 64;
  static void Initialize(std::byte* memory) {
    static int made = 0;
    const std::string name =
        "ivmq-bench-" + std::to_string(getpid()) + "-" + std::to_string(++made);
    std::memcpy(memory, name.c_str(), name.size() + 1);
    Queue(boost::interprocess::create_only, name.c_str(), kCapacity / kBytes, kBytes);
  }

  class Sender {
   public:
    explicit Sender(std::byte* memory)
        : queue_(boost::interprocess::open_only, reinterpret_cast<const char*>(memory)) {}
    void Send(const Buffer& from) { queue_.send(from.data(), kBytes, 0); }
    void Flush() {}

   private:
    Queue queue_;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory)
        : queue_(boost::interprocess::open_only, reinterpret_cast<const char*>(memory)) {}
    void Receive(Buffer* to) {
      Queue::size_type size = 0;
      unsigned priority = 0;
      queue_.receive(to->data(), to->size(), size, priority);
    }

   private:
    Queue queue_;
  };
};

template <class Channel>
void Remove(std::byte* memory) {
  if constexpr (std::is_same_v<Channel, BoostMessageQueue<Channel::kSize>>) {
    boost::interprocess::message_queue::remove(reinterpret_cast<const char*>(memory));
  }
}

// Two directions of a channel in one file.
template <class Channel>
class Channels {
 public:
  Channels() : file_(2 * kStride), memory_(file_.Map()) {
    Channel::Initialize(memory_);
    Channel::Initialize(memory_ + kStride);
  }
  ~Channels() {
    Remove<Channel>(memory_);
    Remove<Channel>(memory_ + kStride);
  }
  Channels(const Channels&) = delete;
  Channels& operator=(const Channels&) = delete;

  // In the process of the caller: a mapping that the other does not have.
  std::byte* Map() { return file_.Map(); }
  static constexpr size_t kStride = (Channel::kMemoryBytes + 4095) / 4096 * 4096;

 private:
  SharedFile file_;
  std::byte* memory_;
};

// Both ends of two directions, as one process has them, and what it sends and receives.
template <class Channel>
struct alignas(256) Ends {
  Ends(std::byte* out, std::byte* in) : sender(out), receiver(in) {}
  typename Channel::Sender sender;
  typename Channel::Receiver receiver;
  Buffer sent{};
  Buffer received{};

  void Send() { sender.Send(sent); }
  void Receive() {
    receiver.Receive(&received);
    asm volatile("" ::"r"(received.data()) : "memory");
  }
};

template <class Channel>
std::optional<double> RoundTripNs(int trips) {
  Channels<Channel> channels;
  const auto side = [&](bool asks) -> std::function<void()> {
    std::byte* there = channels.Map();
    std::byte* back = there + Channels<Channel>::kStride;
    auto ends = std::make_shared<Ends<Channel>>(asks ? there : back, asks ? back : there);
    return [=] {
      for (int i = 0; i < trips; ++i) {
        if (asks) ends->Send();
        ends->Receive();
        if (!asks) ends->Send();
      }
    };
  };
  const auto total = RunOnTwoCores([&] { return side(true); }, [&] { return side(false); });
  if (!total) return std::nullopt;
  return *total / trips;
}

template <class Channel>
std::optional<double> MessageNs(int messages) {
  Channels<Channel> channels;
  const auto ends = [&] {
    std::byte* memory = channels.Map();
    return std::make_shared<Ends<Channel>>(memory, memory);
  };
  const auto total = RunOnTwoCores(
      [&]() -> std::function<void()> {
        return [=, mine = ends()] {
          for (int i = 0; i < messages; ++i) mine->Receive();
        };
      },
      [&]() -> std::function<void()> {
        return [=, mine = ends()] {
          for (int i = 0; i < messages; ++i) mine->Send();
          mine->sender.Flush();
        };
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
  std::map<Placement, int> placements;
  int missing = 0;
  for (auto _ : state) {
    const auto sample = TakeSample(measure);
    if (!sample) {
      // SkipWithError() makes the library crash among interleaved repetitions.
      state.SetIterationTime(0);
      ++missing;
      continue;
    }
    state.SetIterationTime(sample->ns * 1e-9);
    Samples()[{name, sample->placement}].push_back(*sample);
    ns.push_back(sample->ns);
    line.push_back(sample->line_ns);
    ++placements[sample->placement];
  }
  state.counters["p50_ns"] = Median(ns);
  state.counters["line_ns"] = Median(line);
  std::string label;
  for (const auto& [placement, count] : placements) {
    label += std::to_string(count) + ' ' + PlacementName(placement) + ' ';
  }
  if (missing > 0) label += std::to_string(missing) + " disturbed; try IVMQ_BENCH_REALTIME=1 ";
  state.SetLabel(label);
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
  Register("round_trip/ring" + size, [] { return RoundTripNs<Ring<kBytes, 1>>(kTrips); });
  Register("round_trip/boost_spsc" + size, [] { return RoundTripNs<BoostSpsc<kBytes>>(kTrips); });
  Register("message/ring_each" + size, [] { return MessageNs<Ring<kBytes, 1>>(kMessages); });
  Register("message/ring_batch8" + size, [] { return MessageNs<Ring<kBytes, 8>>(kMessages); });
  Register("message/ring_batch32" + size, [] { return MessageNs<Ring<kBytes, 32>>(kMessages); });
  Register("message/boost_spsc" + size, [] { return MessageNs<BoostSpsc<kBytes>>(kMessages); });
}

// Medians of each placement, and what they are measured against.
void PrintSummary() {
  std::printf("\n%s\n", Machine().c_str());
  std::printf(
      "Two pinned processes. Cores: threads of one core (same), sharing a cache (near), not "
      "(far).\nShared: how many times as long as ever additions took on the slower core, 1.3 and "
      "more if\nanother guest of this machine used its other thread.\n\n");
  std::printf("%-28s %-5s %8s %7s %8s %9s %8s %8s %12s\n", "", "cores", "samples", "shared",
              "line ns", "p50 ns", "M/s", "x line", "boost/this");
  for (const auto& [key, samples] : Samples()) {
    const auto& [name, placement] = key;
    std::vector<double> ns;
    std::vector<double> line;
    std::vector<double> ratio;
    std::vector<double> shared;
    for (const Sample& sample : samples) {
      shared.push_back(sample.shared);
      line.push_back(sample.line_ns);
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
    std::printf("%-28s %-5s %8zu %7.2f %8.0f %9.1f %8.2f %8.2f %12.2f\n", name.c_str(),
                PlacementName(placement), samples.size(), Median(shared), Median(line), Median(ns),
                1e3 / Median(ns), Median(ratio), times);
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
  Register("round_trip/boost_mq/64", [] { return RoundTripNs<BoostMessageQueue<64>>(100); });
  Register("message/boost_mq/64", [] { return MessageNs<BoostMessageQueue<64>>(5000); });
  // A contender's samples are spread over the run, so that all meet the same placements.
  std::string spread = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> arguments(argv, argv + argc + 1);  // with the null at its end
  arguments.insert(arguments.begin() + 1, spread.data());
  ++argc;
  argv = arguments.data();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  PrintSummary();
  return 0;
}
