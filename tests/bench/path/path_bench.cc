// The whole path of the SDK beside its rivals, in one run: throughput one way, round trips as fast
// as they go and at a fixed rate, and requests, for messages of several sizes, each sample between
// two processes on two cores. Needs a daemon whose node socket IVMQ_NODE_SOCKET names, and
// iox-roudi where iceoryx is measured; bench.sh starts both.
//
//   path_bench [--rounds N] [--seconds S] [--sizes BYTES,...] [--quick] [FILTER]
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/child.h"
#include "tests/bench/path/channel.h"
#include "tests/bench/path/meetings.h"
#include "tests/bench/rounds.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

enum class Kind { kMessage, kRoundTrip, kRequest, kAtRate };

constexpr size_t kRequestBytes = 64;
constexpr size_t kAtRateBytes = 64;
constexpr size_t kFanOutBytes = 64;
constexpr size_t kTypedBytes = 64;
// Round trips a second: so few that also those who sleep and are woken twice for each can keep up.
constexpr int kRate = 2000;
constexpr int kCountedForOneBefore = 4;

struct What {
  Contender contender;
  Kind kind;
  size_t bytes;
  int count;
};

// One sample: the time of a message or trip, or, at a fixed rate, of each trip.
std::optional<Figures> Measure(const What& what, const std::string& place) {
  auto times = std::make_shared<Figures>();
  const auto side = [&](End end) -> Side {
    return [&what, place, times, end]() -> std::function<void()> {
      // Ends live until their process does: some have threads that do not like to be joined.
      Channel* const channel = what.contender.open({end, place, what.bytes}).release();
      const int count = what.count;
      // Untimed, as many as make each see its memory for the first time.
      const int before = count / kCountedForOneBefore;
      if (what.kind == Kind::kMessage) {
        const auto carry = [=](int messages) {
          end == End::kFirst ? channel->ReceiveAll(messages) : channel->SendAll(messages);
        };
        carry(before);
        return [=] { carry(count); };
      }
      end == End::kFirst ? channel->ToAndFro(before) : channel->FroAndTo(before);
      if (end == End::kSecond) return [=] { channel->FroAndTo(count); };
      if (what.kind == Kind::kAtRate) {
        return [=] {
          channel->ToAndFroAtRate(count, std::chrono::nanoseconds(1'000'000'000 / kRate),
                                  times.get());
        };
      }
      return [=] { channel->ToAndFro(count); };
    };
  };
  // Libraries preempt with threads of their own.
  const auto total =
      RunOnTwoCores(side(End::kFirst), side(End::kSecond), Apart::kProcesses, Preempted::kCounts);
  if (!total) return std::nullopt;
  return what.kind == Kind::kAtRate ? *times : Figures{*total / what.count};
}

// How many of the times lie in each bucket, as JSON: a bucket is named by its lower end and is a
// 32nd as wide as its power of two.
std::string Histogram(const Figures& times) {
  std::map<uint64_t, uint64_t> buckets;
  for (const double time : times) {
    const double power = std::exp2(std::floor(std::log2(std::max(time, 32.0))));
    const double step = power / 32;
    ++buckets[static_cast<uint64_t>(std::floor(time / step) * step)];
  }
  std::string text = ",\"histogram\":{";
  for (const auto& [bucket, count] : buckets) {
    text += (text.back() == '{' ? "\"" : ",\"") + std::to_string(bucket) +
            "\":" + std::to_string(count);
  }
  const auto longest = std::max_element(times.begin(), times.end());
  return text + "},\"max_ns\":" + std::to_string(longest == times.end() ? 0 : *longest);
}

Case CaseOf(What what, Meetings* meetings) {
  static constexpr const char* kPrefixes[] = {"message/", "round_trip/", "request/", "at_rate/"};
  const std::string name = kPrefixes[static_cast<int>(what.kind)] + what.contender.name + "/" +
                           std::to_string(what.bytes);
  auto last = std::make_shared<Figures>();
  Case one{name, [=]() -> std::optional<double> {
             const std::string place = meetings->Next();
             auto figures = InAChild([&] { return Measure(what, place); });
             if (!figures || figures->empty()) return std::nullopt;
             *last = std::move(*figures);
             if (what.kind != Kind::kAtRate) return last->front();
             Figures sorted = *last;
             std::sort(sorted.begin(), sorted.end());
             return sorted[sorted.size() / 2];
           }};
  if (what.kind == Kind::kAtRate) {
    one.patience = 1;  // `last` is the one that is taken
    one.more = [last] { return ",\"rate\":" + std::to_string(kRate) + Histogram(*last); };
  }
  return one;
}

// `receivers` takes the place of the size in its name.
Case FanOutCase(const Contender& contender, int receivers, Meetings* meetings) {
  return {"fan_out/" + contender.name + "/" + std::to_string(receivers),
          [=]() -> std::optional<double> {
            const std::string place = meetings->Next();
            const auto ns = InAChild([&]() -> std::optional<Figures> {
              const auto each = FanOutNs(contender, place, kFanOutBytes, receivers);
              return each ? std::optional(Figures{*each}) : std::nullopt;
            });
            return ns ? std::optional(ns->front()) : std::nullopt;
          }};
}

int Main(const Arguments& given) {
  Arguments arguments = given;
  if (arguments.sizes.empty()) {
    arguments.sizes =
        arguments.quick ? std::vector<size_t>{64} : std::vector<size_t>{64, 1024, 16384};
  }
  const std::vector<int> receivers_of_one =
      arguments.quick ? std::vector<int>{1, 8} : std::vector<int>{1, 2, 4, 8};
  const int paced = arguments.quick ? 500 : 2000;
  Meetings meetings;
  std::vector<Case> cases;
  for (const Contender& contender : Contenders()) {
    for (const size_t bytes : arguments.sizes) {
      if (contender.messages > 0) {
        const int fewer = bytes >= 4096 ? 4 : 1;
        cases.push_back(
            CaseOf({contender, Kind::kMessage, bytes, contender.messages / fewer}, &meetings));
      }
      if (contender.trips > 0) {
        cases.push_back(CaseOf({contender, Kind::kRoundTrip, bytes, contender.trips}, &meetings));
      }
    }
    if (contender.trips > 0) {
      cases.push_back(CaseOf({contender, Kind::kAtRate, kAtRateBytes, paced}, &meetings));
    }
  }
  for (const Contender& contender : Contenders()) {
    if (contender.spins) continue;
    for (const int receivers : receivers_of_one) {
      cases.push_back(FanOutCase(contender, receivers, &meetings));
    }
  }
  for (const Contender& contender : Requesters()) {
    cases.push_back(CaseOf({contender, Kind::kRequest, kRequestBytes, contender.trips}, &meetings));
  }
  std::vector<Contender> typed;
  AddTyped(&typed);
  for (const Contender& contender : typed) {
    if (contender.messages > 0) {
      cases.push_back(
          CaseOf({contender, Kind::kMessage, kTypedBytes, contender.messages}, &meetings));
    }
    cases.push_back(CaseOf({contender, Kind::kRoundTrip, kTypedBytes, contender.trips}, &meetings));
  }
  cases.push_back({"serialise_and_parse/protobuf/" + std::to_string(kTypedBytes), [] {
                     const auto ns = InAChild([]() -> std::optional<Figures> {
                       const auto each = ProtobufAloneNs(kTypedBytes);
                       return each ? std::optional(Figures{*each}) : std::nullopt;
                     });
                     return ns ? std::optional(ns->front()) : std::nullopt;
                   }});
  return RunRounds("path", std::move(cases), arguments);
}

}  // namespace

std::vector<Contender> Contenders() {
  std::vector<Contender> all;
  AddRing(&all);
  AddIvmq(&all);
#ifdef IVMQ_BENCH_ICEORYX
  AddIceoryx(&all);
#endif
#ifdef IVMQ_BENCH_ZEROMQ
  AddZeromq(&all);
#endif
#ifdef IVMQ_BENCH_NNG
  AddNng(&all);
#endif
  AddSockets(&all);
  AddGrpc(&all);
  return all;
}

std::vector<Contender> Requesters() {
  std::vector<Contender> all;
  AddIvmqRequest(&all);
  AddGrpcUnary(&all);
  return all;
}

}  // namespace ivmq::bench

int main(int argc, char** argv) { return ivmq::bench::RunMain(argc, argv, ivmq::bench::Main); }
