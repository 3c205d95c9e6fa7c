// The whole path of the SDK beside its rivals, in one run: throughput one way and round trips, for
// messages of several sizes, each sample between two processes on two cores. Needs a daemon whose
// node socket IVMQ_NODE_SOCKET names, and iox-roudi where iceoryx is measured; bench.sh starts
// both.
//
//   path_bench [SAMPLES [BYTES...]]     IVMQ_BENCH_SAMPLES: where each sample is written
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/path/channel.h"
#include "tests/bench/samples.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

constexpr int kPatience = 4;  // a sample connects two processes

// What two processes of their own take for it: libraries with threads do not survive a fork, so
// whoever forks has none.
std::optional<double> InAChild(const std::function<std::optional<double>()>& measure) {
  int ends[2];
  Require(::pipe(ends) == 0, "pipe");
  const pid_t child = ::fork();
  Require(child >= 0, "fork");
  if (child == 0) {
    ::close(ends[0]);
    const auto measured = measure();
    const double ns = measured.value_or(-1);
    ::_exit(::write(ends[1], &ns, sizeof ns) == sizeof ns ? 0 : 1);
  }
  ::close(ends[1]);
  double ns = -1;
  const bool told = ::read(ends[0], &ns, sizeof ns) == sizeof ns;
  ::close(ends[0]);
  int status = 0;
  Require(::waitpid(child, &status, 0) == child, "waitpid");
  Require(told && status == 0, "an end failed");
  return ns < 0 ? std::nullopt : std::optional(ns);
}

class Meetings {
 public:
  Meetings() {
    std::string pattern = (std::filesystem::temp_directory_path() / "path_bench.XXXXXX").string();
    Require(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
    folder_ = pattern;
  }
  ~Meetings() { std::filesystem::remove_all(folder_); }
  Meetings(const Meetings&) = delete;
  Meetings& operator=(const Meetings&) = delete;

  std::string Next(const std::string& contender) {
    return folder_ + "/" + contender + std::to_string(++count_);
  }

 private:
  std::string folder_;
  int count_ = 0;
};

struct Case {
  const Contender* contender;
  bool round_trip;
  size_t bytes;
};

std::optional<double> Measure(const Case& one, const std::string& place) {
  const int count = one.round_trip ? one.contender->trips : one.contender->messages;
  const auto side = [&](End end) -> Side {
    return [&one, place, count, end]() -> std::function<void()> {
      // Ends live until their process does: some have threads that do not like to be joined.
      Channel* const channel = one.contender->open({end, place, one.bytes}).release();
      return [&one, channel, count, end] {
        if (one.round_trip) {
          end == End::kFirst ? channel->ToAndFro(count) : channel->FroAndTo(count);
        } else {
          end == End::kFirst ? channel->ReceiveAll(count) : channel->SendAll(count);
        }
      };
    };
  };
  const auto total = InAChild([&] { return RunOnTwoCores(side(End::kFirst), side(End::kSecond)); });
  return total ? std::optional(*total / count) : std::nullopt;
}

int Main(int samples, const std::vector<size_t>& sizes) {
  const std::vector<Contender> contenders = Contenders();
  std::vector<Case> cases;
  for (const size_t bytes : sizes) {
    for (const Contender& contender : contenders) {
      cases.push_back({&contender, true, bytes});
      cases.push_back({&contender, false, bytes});
    }
  }
  Meetings meetings;
  for (int i = 0; i < samples; ++i) {
    for (const Case& one : cases) {
      const std::string name = std::string(one.round_trip ? "round_trip/" : "message/") +
                               one.contender->name + "/" + std::to_string(one.bytes);
      const auto sample =
          TakeSample([&] { return Measure(one, meetings.Next(one.contender->name)); }, kPatience);
      if (!sample) continue;
      WriteSample("path", name, *sample);
      std::printf("%d of %d  %-32s %-4s %12.1f ns\n", i + 1, samples, name.c_str(),
                  PlacementName(sample->placement), sample->ns);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace

std::vector<Contender> Contenders() {
  std::vector<Contender> all;
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

}  // namespace ivmq::bench

int main(int argc, char** argv) {
  std::vector<size_t> sizes;
  for (int i = 2; i < argc; ++i) sizes.push_back(std::strtoul(argv[i], nullptr, 10));
  if (sizes.empty()) sizes = {64, 1024};
  return ivmq::bench::Main(argc > 1 ? std::atoi(argv[1]) : 10, sizes);
}
