#include "sdk/command/bench_flags.h"

#include <fmt/core.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "sdk/command/bench_message.h"
#include "sdk/command/help_texts.h"
#include "sdk/command/number_check.h"
#include "sdk/services/request_wire.h"

namespace ivmq::command {
namespace {

constexpr double kRateMinHz = 0.001;
constexpr double kRateMaxHz = 1e9;
constexpr double kDurationSecondsMin = 0.1;
constexpr double kDurationSecondsMax = 1e7;
constexpr double kTimeoutSecondsMax = 1e7;
constexpr uint64_t kRingBytesMin = 4 << 10;
constexpr uint64_t kRingBytesMax = 16 << 20;
constexpr uint64_t kBatchMax = 1'000'000;

constexpr std::array<std::pair<const char*, Wait>, 3> kWaits{
    {{"adaptive", Wait::kAdaptive}, {"block", Wait::kBlock}, {"spin", Wait::kSpin}}};

std::string CheckWait(const std::string& text) {
  for (const auto& [name, wait] : kWaits) {
    if (text == name) return {};
  }
  return fmt::format("'{}' is not one of adaptive, block and spin", text);
}

// 16KiB, 16k and 16kb to 16384; what is no size is left to the check of numbers.
std::string ToBytes(std::string& text) {
  static const CLI::AsSizeValue kSize(false);
  if (text.starts_with("0x")) return {};  // its last digits may look like a unit
  std::string bytes = text;
  try {
    if (kSize(bytes).empty()) text = bytes;
  } catch (const CLI::ValidationError&) {
  }
  return {};
}

std::string CheckPowerOfTwo(const std::string& text) {
  if (std::has_single_bit(std::strtoull(text.c_str(), nullptr, 0))) return {};
  return fmt::format("'{}' is not a power of two: 65536 and 131072 are", text);
}

std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

CLI::App* AddCommand(CLI::App* bench, const char* name, const char* what, Subcommand subcommand,
                     CommandLine* line) {
  return bench->add_subcommand(name, what)->callback([line, subcommand] {
    line->subcommand = subcommand;
  });
}

void AddServe(CLI::App* bench, CommandLine* line) {
  CLI::App* serve = AddCommand(bench, "serve", "measures with clients, one at a time, until Ctrl-C",
                               Subcommand::kBenchServe, line);
  BenchOptions* const options = &line->bench;
  serve->add_option("--name", options->server,
                    "what clients call it by --server: tokens by dots (default: default)");
  serve
      ->add_option_function<uint64_t>(
          "--count", [options](const uint64_t& given) { options->count = given; },
          "ends after so many runs")
      ->check(Counted(1));
}

uint64_t SizeMax(Subcommand subcommand) {
  return subcommand == Subcommand::kBenchRequest ? kBenchBytesMax - internal::kRequestHeadBytes
                                                 : kBenchBytesMax;
}

CLI::App* AddRun(CLI::App* bench, const char* name, const char* what, Subcommand subcommand,
                 CommandLine* line) {
  CLI::App* run = AddCommand(bench, name, what, subcommand, line);
  BenchOptions* const options = &line->bench;
  run->add_option("--server", options->server, "the --name of its server (default: default)");
  run->add_option("--size", options->size_bytes,
                  "bytes of each message, or 16KiB, 1MiB (default 64)")
      ->transform(CLI::Validator(ToBytes, ""))
      ->check(Within(uint64_t{kBenchBytesMin}, SizeMax(subcommand)));
  run->add_option_function<double>(
         "--rate", [options](const double& given) { options->rate_hz = given; },
         "messages a second (default: as fast as it goes)")
      ->check(Within(kRateMinHz, kRateMaxHz));
  run->add_option_function<std::string>(
         "--wait",
         [options](const std::string& given) {
           for (const auto& [each, wait] : kWaits) {
             if (given == each) options->wait = wait;
           }
         },
         "how both sides wait: adaptive (spin a little, then sleep), block (sleep at once) or spin "
         "(never sleep, a core each) (default adaptive)")
      ->check(CLI::Validator(CheckWait, ""));
  run->add_option_function<double>(
         "--duration", [options](const double& given) { options->duration = Seconds(given); },
         "seconds (default 10)")
      ->check(Within(kDurationSecondsMin, kDurationSecondsMax));
  run->add_option_function<double>(
         "--timeout", [options](const double& given) { options->timeout = Seconds(given); },
         "seconds to wait for the server, and until it begins (default 5)")
      ->check(Within(0.0, kTimeoutSecondsMax));
  return run;
}

void AddThroughput(CLI::App* bench, CommandLine* line) {
  CLI::App* run = AddRun(bench, "throughput", "how many messages go to the server",
                         Subcommand::kBenchThroughput, line);
  run->add_option("--ring", line->bench.ring_bytes,
                  "bytes of the ring, a power of two (default 64KiB, or what the messages need)")
      ->transform(CLI::Validator(ToBytes, ""))
      ->check(Within(kRingBytesMin, kRingBytesMax))
      ->check(CLI::Validator(CheckPowerOfTwo, ""));
  run->add_option("--batch", line->bench.batch,
                  "messages a flush, which makes them visible and wakes the server: 1 for each by "
                  "itself (default: the ring's own batches)")
      ->check(Within(uint64_t{1}, kBatchMax));
}

}  // namespace

void AddBench(CLI::App* app, CommandLine* line) {
  CLI::App* bench =
      app->add_subcommand("bench", "measures messages between two nodes, as iperf does");
  bench->require_subcommand(1);
  bench->fallthrough();
  bench->footer(kBenchFooter);
  AddServe(bench, line);
  AddThroughput(bench, line);
  AddRun(bench, "latency", "how long messages take to the server and back",
         Subcommand::kBenchLatency, line);
  AddRun(bench, "request", "how long requests take until the reply is there",
         Subcommand::kBenchRequest, line);
}

}  // namespace ivmq::command
