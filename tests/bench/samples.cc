#include "tests/bench/samples.h"

#include <cstdio>
#include <cstdlib>

namespace ivmq::bench {
namespace {

// Null: nobody wants them.
std::FILE* File() {
  static std::FILE* const file = [] {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): no setenv
    const char* path = std::getenv("IVMQ_BENCH_SAMPLES");
    return path == nullptr ? nullptr : std::fopen(path, "a");
  }();
  return file;
}

}  // namespace

void WriteSample(const std::string& group, const std::string& name, const Sample& sample,
                 const std::string& more) {
  if (File() == nullptr) return;
  std::fprintf(File(),
               "{\"group\":\"%s\",\"name\":\"%s\",\"placement\":\"%s\",\"line_ns\":%.1f,"
               "\"shared\":%.3f,\"ns\":%.2f%s}\n",
               group.c_str(), name.c_str(), PlacementName(sample.placement), sample.line_ns,
               sample.shared, sample.ns, more.c_str());
  std::fflush(File());
}

void WriteFigure(const std::string& group, const std::string& name, double value,
                 const std::string& unit) {
  if (File() == nullptr) return;
  std::fprintf(File(), "{\"group\":\"%s\",\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n",
               group.c_str(), name.c_str(), value, unit.c_str());
  std::fflush(File());
}

}  // namespace ivmq::bench
