#include "tests/bench/samples.h"

#include <cstdio>
#include <cstdlib>

namespace ivmq::bench {

void WriteSample(const std::string& group, const std::string& name, const Sample& sample) {
  static std::FILE* const file = [] {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): no setenv
    const char* path = std::getenv("IVMQ_BENCH_SAMPLES");
    return path == nullptr ? nullptr : std::fopen(path, "a");
  }();
  if (file == nullptr) return;
  std::fprintf(file,
               "{\"group\":\"%s\",\"name\":\"%s\",\"placement\":\"%s\",\"line_ns\":%.1f,"
               "\"shared\":%.3f,\"ns\":%.2f}\n",
               group.c_str(), name.c_str(), PlacementName(sample.placement), sample.line_ns,
               sample.shared, sample.ns);
  std::fflush(file);
}

}  // namespace ivmq::bench
