// Runs two functions on two cores at once, and tells how far apart those cores are just then.
//
// A virtual machine's cores are moved about: the same two may share a cache in one second and not
// in the next, and every figure follows. So each sample is taken between two calibrations, and
// thrown away if they differ or if a thread was preempted meanwhile.
#ifndef IVMQ_TESTS_BENCH_TWO_CORES_H_
#define IVMQ_TESTS_BENCH_TWO_CORES_H_

#include <functional>
#include <optional>
#include <utility>

namespace ivmq::bench {

// A value on cache lines of its own: what one thread writes must not share any with the other.
template <class T>
struct alignas(256) Alone {
  T value;
  template <class... Args>
  explicit Alone(Args&&... args) : value(std::forward<Args>(args)...) {}
};

enum class Placement { kNear, kFar };
const char* PlacementName(Placement placement);

struct Sample {
  Placement placement = Placement::kNear;
  double line_ns = 0;  // cache-line round trip around the sample
  double ns = 0;       // what was measured
};

// Runs both, each pinned to a core, from a common start. Returns how long `first` took in
// nanoseconds; nothing if one of the two was preempted.
std::optional<double> RunOnTwoCores(const std::function<void()>& first,
                                    const std::function<void()>& second);

// The time for a line written by one core to be seen by the other, and one back, in nanoseconds.
std::optional<double> CacheLineRoundTripNs();

// One accepted sample of `measure`; nothing if none was accepted in 200 attempts. Cores count as
// far apart from 300 ns on.
std::optional<Sample> TakeSample(const std::function<std::optional<double>()>& measure);

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_TWO_CORES_H_
