#include "tests/bench/rounds.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>

#include "tests/bench/child.h"
#include "tests/bench/samples.h"

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Usage(const char* program) {
  std::fprintf(stderr,
               "usage: %s [--rounds N] [--seconds S] [--sizes BYTES,...] [--quick] [FILTER]\n",
               program);
  std::exit(2);
}

template <class T>
bool Parse(std::string_view text, T* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size() && *number > 0;
}

bool ParseSizes(std::string_view text, std::vector<size_t>* sizes) {
  while (!text.empty()) {
    const std::string_view first = text.substr(0, text.find(','));
    if (!Parse(first, &sizes->emplace_back())) return false;
    text.remove_prefix(std::min(text.size(), first.size() + 1));
  }
  return !sizes->empty();
}

// The value below which `share` of them lie.
template <class Member>
double Quantile(const std::vector<Sample>& samples, Member member, double share) {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const Sample& sample : samples) values.push_back(sample.*member);
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
}

}  // namespace

void PrintMedians(const Taken& taken) {
  std::printf("\n%s\n", Machine().c_str());
  std::printf(
      "Cores: threads of one core (same), sharing a cache (near), not (far). Shared: how many "
      "times "
      "as\nlong as ever additions took, 1.3 and more if another guest of this machine used the "
      "core.\n\n");
  std::printf("%-32s %-5s %7s %6s %8s %11s %11s %11s\n", "", "cores", "samples", "shared",
              "line ns", "p25 ns", "p50 ns", "p75 ns");
  for (const auto& [key, samples] : taken) {
    std::printf("%-32s %-5s %7zu %6.2f %8.0f %11.1f %11.1f %11.1f\n", key.first.c_str(),
                PlacementName(key.second), samples.size(), Quantile(samples, &Sample::shared, 0.5),
                Quantile(samples, &Sample::line_ns, 0.5), Quantile(samples, &Sample::ns, 0.25),
                Quantile(samples, &Sample::ns, 0.5), Quantile(samples, &Sample::ns, 0.75));
  }
}

Arguments ParseArguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--quick") {
      arguments.quick = true;
      continue;
    }
    if (!name.starts_with("--")) {
      arguments.filter = name;
      continue;
    }
    const std::string_view value = i + 1 < argc ? argv[++i] : "";
    const bool ok = name == "--rounds"    ? Parse(value, &arguments.rounds)
                    : name == "--seconds" ? Parse(value, &arguments.seconds)
                    : name == "--sizes"   ? ParseSizes(value, &arguments.sizes)
                                          : false;
    if (!ok) Usage(argv[0]);
  }
  return arguments;
}

int RunMain(int argc, char** argv, int (*run)(const Arguments&)) {
  CatchInterrupts();
  const Arguments arguments = ParseArguments(argc, argv);
  try {
    return run(arguments);
  } catch (const Failed& failure) {
    std::fprintf(stderr, "%s: %s\n", argv[0], failure.what());
    return Interrupted() ? 130 : 1;
  }
}

bool GoesOn(const Arguments& arguments, int rounds_done, Clock::time_point began) {
  constexpr int kSamplesWorthOfAFigure = 5;
  if (Interrupted() || rounds_done >= arguments.rounds) return false;
  return arguments.seconds <= 0 || rounds_done < kSamplesWorthOfAFigure ||
         Clock::now() - began < std::chrono::duration<double>(arguments.seconds);
}

int RunRounds(const std::string& group, std::vector<Case> cases, const Arguments& arguments) {
  std::erase_if(
      cases, [&](const Case& one) { return one.name.find(arguments.filter) == std::string::npos; });
  const auto end = Clock::now() + std::chrono::duration<double>(arguments.seconds);
  std::minstd_rand random(std::random_device{}());
  Taken taken;
  bool failed = false;
  for (int round = 1; round <= arguments.rounds && !Interrupted(); ++round) {
    std::shuffle(cases.begin(), cases.end(), random);
    for (auto one = cases.begin(); one != cases.end() && !Interrupted();) {
      if (arguments.seconds > 0 && Clock::now() > end) {
        round = arguments.rounds;
        break;
      }
      try {
        if (const auto sample = TakeSample(one->measure, one->patience)) {
          WriteSample(group, one->name, *sample, one->more ? one->more() : "");
          taken[{one->name, sample->placement}].push_back(*sample);
          std::printf("%3d  %-32s %-4s %12.1f ns\n", round, one->name.c_str(),
                      PlacementName(sample->placement), sample->ns);
          std::fflush(stdout);
        }
        ++one;
      } catch (const Failed& failure) {
        if (Interrupted()) break;
        failed = true;
        std::fprintf(stderr, "%s is left out: %s\n", one->name.c_str(), failure.what());
        one = cases.erase(one);
      }
    }
  }
  PrintMedians(taken);
  if (Interrupted()) return 130;
  return failed || taken.empty() ? 1 : 0;
}

}  // namespace ivmq::bench
