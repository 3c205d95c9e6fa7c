// What every end that uses the SDK needs.
#ifndef IVMQ_TESTS_BENCH_PATH_MUST_H_
#define IVMQ_TESTS_BENCH_PATH_MUST_H_

#include <chrono>
#include <utility>

#include "ivmq/ivmq.h"
#include "tests/bench/path/channel.h"

namespace ivmq::bench {

constexpr auto kLong = std::chrono::seconds(10);

template <class T>
T Must(Result<T> result) {
  if (!result.ok()) Fail(result.status().ToString());
  return std::move(result).value();
}

inline void Must(const Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_PATH_MUST_H_
