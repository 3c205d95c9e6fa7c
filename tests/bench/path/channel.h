// What every contender of path_bench does: two ends, each in a process of its own, that send
// messages one way or to and fro.
#ifndef IVMQ_TESTS_BENCH_PATH_CHANNEL_H_
#define IVMQ_TESTS_BENCH_PATH_CHANNEL_H_

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ivmq::bench {

enum class End { kFirst, kSecond };

// Which end this is, and a name for where the two meet, used by no others: a path of a socket that
// is not there yet, or part of a name.
struct Meet {
  End end = End::kFirst;
  std::string name;
  size_t bytes = 0;    // of each message
  int first_ends = 1;  // that meet one second end; if more than one, they share a core
};

[[noreturn]] inline void Fail(const std::string& what) {
  std::fprintf(stderr, "path_bench: %s\n", what.c_str());
  std::abort();
}
inline void Require(bool ok, const char* what) {
  if (!ok) [[unlikely]]
    Fail(what);
}

// One end. The second sends, the first receives and answers the last one; to and fro, the first
// begins.
class Channel {
 public:
  virtual ~Channel() = default;
  // All aborts where a message is not the one that was due.
  virtual void SendAll(int messages) = 0;
  virtual void ReceiveAll(int messages) = 0;
  virtual void ToAndFro(int trips) = 0;
  virtual void FroAndTo(int trips) = 0;
  // The parts of SendAll: one message, with more to come or not; the first answer of each that
  // received all.
  virtual void SendOne(bool more) = 0;
  virtual void AwaitAnswers(int answers) = 0;
  // To and fro, each trip begun when it is due, `interval` after the one before it; or, behind
  // time, at once. Appends how long after it was due each ended, in nanoseconds: what a pause
  // delays counts as delayed. The other end is in FroAndTo.
  void ToAndFroAtRate(int trips, std::chrono::nanoseconds interval, std::vector<double>* times) {
    using Clock = std::chrono::steady_clock;
    auto due = Clock::now();
    for (int i = 0; i < trips; ++i) {
      due += interval;
      while (Clock::now() < due) {
      }
      ToAndFro(1);
      times->push_back(std::chrono::duration<double, std::nano>(Clock::now() - due).count());
    }
  }
};

// One end of requests.
class Requester : public Channel {
 public:
  void SendAll(int /*messages*/) final { Fail("requests only"); }
  void ReceiveAll(int /*messages*/) final { Fail("requests only"); }
  void SendOne(bool /*more*/) final { Fail("requests only"); }
  void AwaitAnswers(int /*answers*/) final { Fail("requests only"); }
};

struct Contender {
  std::string name;
  int messages = 0;  // of a sample of throughput: some ten milliseconds; 0: not measured
  int trips = 0;     // of a sample of round trips, or of requests
  // Returns when both ends are there. What it returns lives until the process ends.
  std::function<std::unique_ptr<Channel>(const Meet&)> open;
  bool one_to_many = false;  // a second end reaches several first ends by itself
  bool spins = false;        // never sleeps: not for several on one core
};

// In the order in which they are reported; those whose libraries were there when this was built.
std::vector<Contender> Contenders();

// The messages that an end sends and expects: a few in turns, so that none passes for the one
// before it. Both ends have the same.
class Messages {
 public:
  // `received`: how many of them the end has had already.
  explicit Messages(size_t bytes, size_t received = 0)
      : bytes_(bytes), all_(kCount * bytes), received_(received) {
    std::minstd_rand random;
    for (std::byte& byte : all_) byte = static_cast<std::byte>(random());
    for (size_t i = 0; i < kCount; ++i) sums_[i] = SumOf(At(i).data(), bytes_);
  }
  std::span<const std::byte> NextToSend() { return At(sent_++); }
  // Reads every byte of what came, and compares them one by one in the first that come.
  void Expect(const void* data, size_t size) {
    const size_t number = received_++;
    if (size != bytes_ || SumOf(data, size) != sums_[number % kCount] ||
        (number < kCompared && std::memcmp(data, At(number).data(), size) != 0)) [[unlikely]] {
      Fail("a message is not the one that was due");
    }
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kCount = 16;
  static constexpr size_t kCompared = 2 * kCount;

  std::span<const std::byte> At(size_t number) const {
    return std::span(all_).subspan(number % kCount * bytes_, bytes_);
  }
  // In registers by vectors, so that to add up takes no longer than it takes the bytes to come.
  static uint64_t SumOf(const void* data, size_t size) {
    struct [[gnu::may_alias, gnu::packed]] Words {
      uint64_t of __attribute__((vector_size(16)));
    };
    const auto* words = static_cast<const Words*>(data);
    auto even = Words{}.of;
    auto odd = even;
    for (; size >= 2 * sizeof *words; size -= 2 * sizeof *words, words += 2) {
      even += words[0].of;
      odd += words[1].of;
    }
    even += odd;
    uint64_t rest = 0;
    for (const auto* at = reinterpret_cast<const std::byte*>(words); size > 0;) {
      const size_t some = std::min(size, sizeof rest);
      uint64_t word = 0;
      std::memcpy(&word, at, some);
      rest += word;
      at += some;
      size -= some;
    }
    return even[0] + even[1] + rest;
  }

  size_t bytes_;
  std::vector<std::byte> all_;
  std::array<uint64_t, kCount> sums_{};
  size_t sent_ = 0;
  size_t received_;
};

// A channel of what has Send(span, bool more), which may keep a message back if more come at once,
// and Receive(Messages*, int limit), which waits and takes at least one message, at most `limit`,
// and says how many.
template <class T>
class ChannelOf : public Channel {
 public:
  explicit ChannelOf(const Meet& meet) : end_(meet), messages_(meet.bytes) {}

  void SendOne(bool more) override { end_.Send(messages_.NextToSend(), more); }
  void AwaitAnswers(int answers) override {
    for (int i = 0; i < answers; ++i) {
      Messages from_its_first(messages_.bytes(), answered_);
      end_.Receive(&from_its_first, 1);
    }
    ++answered_;
  }

  void SendAll(int messages) override {
    for (int i = 1; i <= messages; ++i) SendOne(i < messages);
    AwaitAnswers(1);
  }
  void ReceiveAll(int messages) override {
    while (messages > 0) messages -= end_.Receive(&messages_, messages);
    end_.Send(messages_.NextToSend(), false);
  }
  void ToAndFro(int trips) override {
    for (int i = 0; i < trips; ++i) {
      end_.Send(messages_.NextToSend(), false);
      end_.Receive(&messages_, 1);
    }
  }
  void FroAndTo(int trips) override {
    for (int i = 0; i < trips; ++i) {
      end_.Receive(&messages_, 1);
      end_.Send(messages_.NextToSend(), false);
    }
  }

 private:
  T end_;
  Messages messages_;
  size_t answered_ = 0;  // times
};

template <class T>
Contender ContenderOf(std::string name, int messages, int trips) {
  return {std::move(name), messages, trips,
          [](const Meet& meet) { return std::make_unique<ChannelOf<T>>(meet); }};
}

// Time a message from one end on the first core until all of `receivers` processes on the second
// have it. The caller has no threads.
std::optional<double> FanOutNs(const Contender& contender, const std::string& place, size_t bytes,
                               int receivers);

// Requests: ToAndFro asks, FroAndTo answers.
std::vector<Contender> Requesters();

// Each in a file of its own, and nothing where its library was not there.
void AddRing(std::vector<Contender>* to);  // no rival: what the path is measured by
void AddIvmq(std::vector<Contender>* to);
void AddSockets(std::vector<Contender>* to);
void AddZeromq(std::vector<Contender>* to);
void AddNng(std::vector<Contender>* to);
void AddIceoryx(std::vector<Contender>* to);
void AddGrpc(std::vector<Contender>* to);
void AddTyped(std::vector<Contender>* to);
// One message serialised and parsed on each of the two cores, without any transport.
std::optional<double> ProtobufAloneNs(size_t bytes);
void AddIvmqRequest(std::vector<Contender>* to);
void AddGrpcUnary(std::vector<Contender>* to);

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_PATH_CHANNEL_H_
