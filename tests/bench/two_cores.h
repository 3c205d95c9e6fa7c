// Runs two processes on two cores at once, and tells how far apart those cores are just then.
//
// A virtual machine's cores are moved about: the same two may share a cache in one second and not
// in the next, and every figure follows. So each sample is taken between two calibrations, and
// thrown away if they differ or if a side was preempted meanwhile. What a guest cannot see at all
// is that the other hardware thread of a core works for somebody else; a loop of additions, which
// then takes up to twice as long, tells.
#ifndef IVMQ_TESTS_BENCH_TWO_CORES_H_
#define IVMQ_TESTS_BENCH_TWO_CORES_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace ivmq::bench {

// Memory that two processes share, each through a mapping of its own: on pages of 2 MiB where some
// are reserved (huge_pages.sh), as `ivmqd --huge-pages` has it.
class SharedFile {
 public:
  explicit SharedFile(size_t bytes);
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;

  // Another mapping of it, with all its pages, which stays for the life of the calling process or
  // of this object, whichever is shorter. Not at the address of any other.
  std::byte* Map();

 private:
  size_t bytes_;
  int fd_ = -1;
  std::mutex mutex_;
  std::vector<void*> mappings_;
};

enum class Placement { kSameCore, kNear, kFar };
const char* PlacementName(Placement placement);

struct Sample {
  Placement placement = Placement::kNear;
  double line_ns = 0;  // cache-line round trip around the sample
  double shared = 1;   // how many times as long as ever the slower core's additions took around it
  double ns = 0;       // what was measured
};

// One side of a measurement: prepares, and returns the work that is timed.
using Side = std::function<std::function<void()>()>;

// What the second side is beside the first.
enum class Apart { kProcesses, kThreads };

// What becomes of a measurement in which a side was preempted: that of a tail of times would lie
// without it.
enum class Preempted { kIsDropped, kCounts };

// Runs both, `second` in a child process or a thread, each pinned to a core, the work from a common
// start. Returns how long the work of `first` took in nanoseconds; nothing if one side was
// preempted for more than a hundredth of it. Ends the calling process where a second process fails.
std::optional<double> RunOnTwoCores(const Side& first, const Side& second,
                                    Apart apart = Apart::kProcesses,
                                    Preempted preempted = Preempted::kIsDropped);

// The time for a line written by one core to be seen by the other, and one back, in nanoseconds:
// the mean of many lines.
std::optional<double> CacheLineRoundTripNs();

// Pins the calling thread to that core, or ends the process.
void PinToCore(int core);

// How long a fixed run of additions takes on the slower of the two cores, in nanoseconds each.
std::optional<double> AdditionNs();

// One accepted sample of `measure`; nothing if none was in 25 attempts for each of them or in four
// seconds. Up to 85 ns a cache-line round trip the two are threads of one core, from 200 ns on they
// are far apart. Takes the first sample whose cores were shared with nobody, or else the least
// disturbed of `patience`, or of a tenth of a second.
std::optional<Sample> TakeSample(const std::function<std::optional<double>()>& measure,
                                 int patience = 40);

// Processor, kernel and the cores in use, in one line.
std::string Machine();

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_TWO_CORES_H_
