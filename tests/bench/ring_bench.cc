// The ring beside queues of boost and moodycamel and beside the copy limit, in one run, between two
// processes with mappings of their own. Both sides copy every payload, in and out.
//
//   ring_bench [--rounds N] [FILTER]     IVMQ_BENCH_REALTIME=1 on a machine that is not idle
//   ring_bench --benchmark_repetitions=N [--benchmark_filter=REGEX ...]     the same by Google
//   Benchmark
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/google_rounds.h"
#include "tests/bench/ring_contenders.h"
#include "tests/bench/rounds.h"
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
  using Buffer = bench::Buffer<Channel::kSize>;
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

// What is measured, and what of it was asked for.
class Cases {
 public:
  void Add(const std::string& name, std::function<std::optional<double>()> measure) {
    cases_.push_back({name, std::move(measure), kPatience});
  }
  std::vector<Case> Take() { return std::move(cases_); }

 private:
  static constexpr int kPatience = 40;  // a sample takes some milliseconds
  std::vector<Case> cases_;
};

// As many as are copied in some milliseconds.
template <size_t kBytes>
constexpr int kMessagesOf = static_cast<int>(std::min<size_t>(kMessages,
                                                              (size_t{128} << 20) / kBytes));

template <template <size_t> class Channel, size_t kBytes>
void AddMessage(Cases* cases, const std::string& name) {
  cases->Add("message/" + name + "/" + std::to_string(kBytes),
             [] { return MessageNs<Channel<kBytes>>(kMessagesOf<kBytes>); });
}

template <size_t kBytes>
using RingEach = Ring<kBytes, 1>;
template <size_t kBytes>
using RingBatch8 = Ring<kBytes, 8>;
template <size_t kBytes>
using RingBatch32 = Ring<kBytes, 32>;

template <size_t kBytes>
void AddThroughput(Cases* cases) {
  AddMessage<RingEach, kBytes>(cases, "ring_each");
  AddMessage<RingBatch32, kBytes>(cases, "ring_batch32");
  AddMessage<BoostSpsc, kBytes>(cases, "boost_spsc");
  AddMessage<BoostSpscBatch32, kBytes>(cases, "boost_spsc_batch32");
#ifdef IVMQ_BENCH_MOODYCAMEL
  AddMessage<Moodycamel, kBytes>(cases, "moodycamel");
#endif
  AddMessage<CopyLimit, kBytes>(cases, "copy_limit");
}

template <size_t kBytes>
void AddRoundTrip(Cases* cases) {
  const std::string size = "/" + std::to_string(kBytes);
  cases->Add("round_trip/ring" + size, [] { return RoundTripNs<RingEach<kBytes>>(kTrips); });
  if constexpr (kBytes <= 64) {
    cases->Add("round_trip/line_limit" + size,
               [] { return RoundTripNs<LineLimit<kBytes>>(kTrips); });
  }
  cases->Add("round_trip/boost_spsc" + size, [] { return RoundTripNs<BoostSpsc<kBytes>>(kTrips); });
#ifdef IVMQ_BENCH_MOODYCAMEL
  cases->Add("round_trip/moodycamel" + size,
             [] { return RoundTripNs<Moodycamel<kBytes>>(kTrips); });
#endif
}

std::vector<Case> AllCases() {
  Cases cases;
  AddRoundTrip<64>(&cases);
  AddRoundTrip<1024>(&cases);
  AddThroughput<8>(&cases);
  AddThroughput<64>(&cases);
  AddMessage<RingBatch8, 64>(&cases, "ring_batch8");
  AddThroughput<256>(&cases);
  AddThroughput<1024>(&cases);
  AddThroughput<4096>(&cases);
  AddThroughput<16384>(&cases);
  AddThroughput<65536>(&cases);
  cases.Add("round_trip/boost_mq/64", [] { return RoundTripNs<BoostMessageQueue<64>>(100); });
  cases.Add("message/boost_mq/64", [] { return MessageNs<BoostMessageQueue<64>>(5000); });
  return cases.Take();
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) {
  using namespace ivmq::bench;
  std::vector<Case> all = AllCases();
  if (HasGoogleArguments(argc, argv)) return RunGoogleBenchmarks("ring", all, argc, argv);
  const Arguments arguments = ParseArguments(argc, argv);
  if (arguments.quick) {  // only what targets are set for
    std::erase_if(all, [](const Case& one) {
      return one.name.starts_with("round_trip/")
                 ? one.name != "round_trip/ring/64" && one.name != "round_trip/line_limit/64"
                 : one.name.find("ring_each/") != std::string::npos &&
                       one.name != "message/ring_each/64";
    });
  }
  return RunRounds("ring", std::move(all), arguments);
}
