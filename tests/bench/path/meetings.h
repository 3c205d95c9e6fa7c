// Names for where two ends meet, each used once, in a temporary folder that goes with this.
#ifndef IVMQ_TESTS_BENCH_PATH_MEETINGS_H_
#define IVMQ_TESTS_BENCH_PATH_MEETINGS_H_

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/bench/child.h"

namespace ivmq::bench {

class Meetings {
 public:
  Meetings() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bench.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw Failed("mkdtemp " + pattern);
    folder_ = pattern;
  }
  ~Meetings() { std::filesystem::remove_all(folder_); }
  Meetings(const Meetings&) = delete;
  Meetings& operator=(const Meetings&) = delete;

  std::string Next() { return folder_ + "/" + std::to_string(++count_); }

 private:
  std::string folder_;
  int count_ = 0;
};

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_PATH_MEETINGS_H_
