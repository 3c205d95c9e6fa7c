// The ring beside boost::lockfree::spsc_queue and boost::interprocess::message_queue, in one run,
// between two processes with mappings of their own.
// At the end the medians are set against the cache-line round trip and against boost's queue of the
// same placement.
//
//   ring_bench [--benchmark_filter=...]     IVMQ_BENCH_REALTIME=1 on a machine that is not idle
//
// Both sides copy every payload, in and out.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/bench/ring_contenders.h"
#include "tests/bench/samples.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

constexpr int kTrips = 5000;
constexpr int kMessages = 100'000;
constexpr int kCompared = 192;  // before the time is taken, byte by byte
// Two directions of a channel in one file.
template <class Channel>
class Channels {
 public:
  Channels() : file_(2 * kStride), memory_(file_.Map()) {
    Channel::Initialize(memory_);
    Channel::Initialize(memory_ + kStride);
  }
  ~Channels() {
    if constexpr (requires { Channel::Destroy(memory_); }) {
      Channel::Destroy(memory_);
      Channel::Destroy(memory_ + kStride);
    }
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

// Both ends of two directions, as one process has them, and what it sends and receives: a few
// messages in turns, so that none is taken for the one before it.
template <class Channel>
class alignas(256) Ends {
 public:
  Ends(std::byte* out, std::byte* in) : sender_(out), receiver_(in) {
    std::minstd_rand random;
    for (Buffer& message : messages_) {
      for (size_t i = 0; i < Channel::kSize; ++i) message[i] = static_cast<std::byte>(random());
    }
  }

  void Send() { sender_.Send(messages_[sent_++ % kMessages]); }
  void Flush() { sender_.Flush(); }
  // Looks at the beginning and the end of what came.
  void Receive() {
    const Buffer& expected = Take();
    if (WordAt(received_, 0) != WordAt(expected, 0) ||
        WordAt(received_, Channel::kSize - kWord) != WordAt(expected, Channel::kSize - kWord)) {
      std::abort();
    }
  }
  // Looks at each byte.
  void ReceiveAndCompare() {
    if (std::memcmp(Take().data(), received_.data(), Channel::kSize) != 0) std::abort();
  }

 private:
  static constexpr size_t kWord = sizeof(uint64_t);
  static constexpr size_t kMessages = std::clamp<size_t>(16384 / Channel::kSize, 2, 64);

  const Buffer& Take() {
    receiver_.Receive(&received_);
    asm volatile("" ::"r"(received_.data()) : "memory");
    return messages_[taken_++ % kMessages];
  }
  static uint64_t WordAt(const Buffer& buffer, size_t offset) {
    uint64_t word = 0;
    std::memcpy(&word, buffer.data() + offset, kWord);
    return word;
  }

  typename Channel::Sender sender_;
  typename Channel::Receiver receiver_;
  std::vector<Buffer> messages_ = std::vector<Buffer>(kMessages);
  Buffer received_{};
  size_t sent_ = 0;
  size_t taken_ = 0;
};

template <class Channel>
constexpr Apart kApart = Apart::kProcesses;
template <class Channel>
requires(Channel::kThreads) constexpr Apart kApart<Channel> = Apart::kThreads;

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
  const auto total =
      RunOnTwoCores([&] { return side(true); }, [&] { return side(false); }, kApart<Channel>);
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
        const auto mine = ends();
        for (int i = 0; i < kCompared; ++i) mine->ReceiveAndCompare();
        return [=] {
          for (int i = 0; i < messages; ++i) mine->Receive();
        };
      },
      [&]() -> std::function<void()> {
        const auto mine = ends();
        for (int i = 0; i < kCompared; ++i) mine->Send();
        mine->Flush();
        return [=] {
          for (int i = 0; i < messages; ++i) mine->Send();
          mine->Flush();
        };
      },
      kApart<Channel>);
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
    WriteSample("ring", name, *sample);
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

// As many as are copied in some milliseconds.
template <size_t kBytes>
constexpr int kMessagesOf = static_cast<int>(std::min<size_t>(kMessages,
                                                              (size_t{128} << 20) / kBytes));

template <template <size_t> class Channel, size_t kBytes>
void RegisterMessage(const std::string& name) {
  Register("message/" + name + "/" + std::to_string(kBytes),
           [] { return MessageNs<Channel<kBytes>>(kMessagesOf<kBytes>); });
}

template <size_t kBytes>
using RingEach = Ring<kBytes, 1>;
template <size_t kBytes>
using RingBatch8 = Ring<kBytes, 8>;
template <size_t kBytes>
using RingBatch32 = Ring<kBytes, 32>;

template <size_t kBytes>
void RegisterThroughput() {
  RegisterMessage<RingEach, kBytes>("ring_each");
  RegisterMessage<RingBatch32, kBytes>("ring_batch32");
  RegisterMessage<BoostSpsc, kBytes>("boost_spsc");
#ifdef IVMQ_BENCH_MOODYCAMEL
  RegisterMessage<Moodycamel, kBytes>("moodycamel");
#endif
  RegisterMessage<CopyLimit, kBytes>("copy_limit");
}

template <size_t kBytes>
void RegisterRoundTrip() {
  const std::string size = "/" + std::to_string(kBytes);
  Register("round_trip/ring" + size, [] { return RoundTripNs<RingEach<kBytes>>(kTrips); });
  Register("round_trip/boost_spsc" + size, [] { return RoundTripNs<BoostSpsc<kBytes>>(kTrips); });
#ifdef IVMQ_BENCH_MOODYCAMEL
  Register("round_trip/moodycamel" + size, [] { return RoundTripNs<Moodycamel<kBytes>>(kTrips); });
#endif
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
  RegisterRoundTrip<64>();
  RegisterRoundTrip<1024>();
  RegisterThroughput<8>();
  RegisterThroughput<64>();
  RegisterMessage<RingBatch8, 64>("ring_batch8");
  RegisterThroughput<256>();
  RegisterThroughput<1024>();
  RegisterThroughput<4096>();
  RegisterThroughput<16384>();
  RegisterThroughput<65536>();
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
