#include "tests/bench/two_cores.h"

#include <linux/memfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

namespace ivmq::bench {
namespace {

using Clock = std::chrono::steady_clock;

void PinTo(int core) {
  PinToCore(core);
  // With IVMQ_BENCH_REALTIME set, other work on the machine cannot preempt a sample.
  if (std::getenv("IVMQ_BENCH_REALTIME") != nullptr) {  // NOLINT(concurrency-mt-unsafe): no setenv
    sched_param parameters{};
    parameters.sched_priority = 10;
    (void)sched_setscheduler(0, SCHED_FIFO, &parameters);
  }
}

void Unpin() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  for (int core = 0; core < 2; ++core) CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) std::abort();
  sched_param parameters{};
  (void)sched_setscheduler(0, SCHED_OTHER, &parameters);
}

// How long this thread was ready and had no core, in nanoseconds, as the kernel counts it.
double WaitedNs() {
  double ran = 0;
  double waited = 0;
  std::ifstream("/proc/thread-self/schedstat") >> ran >> waited;
  return waited;
}

// Runs the work; the time it took, and whether others had the core for no more than a hundredth of
// it: threads of the kernel take microseconds now and then, also on a machine that is idle
// otherwise.
struct Ran {
  double took_ns;
  bool through;
};
Ran Run(const std::function<void()>& work, const std::function<void()>& start) {
  const double waited_before = WaitedNs();
  start();
  const auto begin = Clock::now();
  work();
  const double took = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
  return {took, WaitedNs() - waited_before <= took / 100};
}

// A line for each direction of the calibration.
struct PingPong {
  alignas(256) std::atomic<uint64_t> there;
  alignas(256) std::atomic<uint64_t> back;
};

// Where the two sides meet. Many lines for the calibration: how long one takes depends, on some
// processors, on where between the cores its address happens to be looked after, twice as long or
// half.
struct Meeting {
  alignas(256) std::atomic<uint64_t> ready;
  std::array<PingPong, 64> lines;
  alignas(256) std::atomic<double> addition_ns;  // of the second side
  std::atomic<bool> first_ended;

  void Start() {
    ready.fetch_add(1);
    while (ready.load() < 2) {
    }
  }
};

Meeting* TheMeeting() {
  static SharedFile file(sizeof(Meeting));
  static auto* meeting = new (file.Map()) Meeting{};
  return meeting;
}

double AdditionNsHere() {
  constexpr int kRounds = 20'000;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
  uint64_t d = 0;
  const auto start = Clock::now();
  for (int i = 0; i < kRounds; ++i) {
    // More at once than two threads of one core can do.
    asm volatile(
        "add $1, %0\n add $1, %1\n add $1, %2\n add $1, %3\n"
        "add $1, %0\n add $1, %1\n add $1, %2\n add $1, %3\n"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / (8 * kRounds);
}

constexpr size_t kHugePageBytes = size_t{2} << 20;

constexpr int kHugePagesNeeded = 32;  // more files than a run has at a time

// Asked once: a run does not mix pages.
bool HugePagesReserved() {
  static const bool reserved = [] {
    int pages = 0;
    std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") >> pages;
    return pages >= kHugePagesNeeded;
  }();
  return reserved;
}

// The first look of a process at each page of a mapping costs ten microseconds or more where the
// hypervisor keeps page tables of its own; that the kernel has populated it does not help. Changes
// nothing, also while the other side writes.
void TouchPages(std::byte* memory, size_t bytes) {
  constexpr size_t kPageBytes = 4096;
  for (size_t at = 0; at < bytes; at += kPageBytes) {
    std::atomic_ref(*reinterpret_cast<uint64_t*>(memory + at)).fetch_add(0);
  }
}

std::atomic<pid_t> running_second = 0;  // the child of the measurement under way

// A side that waits for a message of a process that failed would wait for ever.
void EndIfSecondFailed(int /*signal*/) {
  const int saved = errno;
  const pid_t second = running_second.load();
  siginfo_t ended{};
  if (second > 0 &&
      waitid(P_PID, static_cast<id_t>(second), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
      ended.si_pid == second && (ended.si_code != CLD_EXITED || ended.si_status > 1)) {
    constexpr char kText[] = "the second side of a measurement failed\n";
    (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
    _exit(3);
  }
  errno = saved;
}

// Forks; parent and child do not outlive each other.
pid_t ForkSecond() {
  static const bool watches = [] {
    struct sigaction action {};
    action.sa_handler = EndIfSecondFailed;
    action.sa_flags = SA_RESTART;
    return sigaction(SIGCHLD, &action, nullptr) == 0;
  }();
  if (!watches) std::abort();
  sigset_t ends;
  sigset_t before;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &ends, &before);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) std::abort();
  running_second = child;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
  }
  return child;
}

// The child's part: true if it was not preempted.
bool RunSecond(const Side& second) {
  const std::function<void()> work = second();
  PinTo(1);
  const bool ran_through = Run(work, [] { TheMeeting()->Start(); }).through;
  // What a library has only begun to send goes if its process stays.
  while (!TheMeeting()->first_ended.load()) usleep(10);
  return ran_through;
}

// The caller's part: how long its work took, if it was not preempted.
std::optional<double> RunFirst(const Side& first, Preempted preempted) {
  Meeting* const meeting = TheMeeting();
  const std::function<void()> work = first();
  PinTo(0);
  while (meeting->ready.load() < 1) usleep(10);  // the other prepares; it may need this core
  const Ran ran = Run(work, [=] { meeting->Start(); });
  meeting->first_ended.store(true);
  Unpin();
  if (!ran.through && preempted == Preempted::kIsDropped) return std::nullopt;
  return ran.took_ns;
}

}  // namespace

void PinToCore(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) std::abort();
}

SharedFile::SharedFile(size_t bytes) : bytes_(bytes) {
  if (HugePagesReserved()) {
    bytes_ = (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    fd_ = memfd_create("bench", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
  } else {
    fd_ = memfd_create("bench", MFD_CLOEXEC);
  }
  if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) std::abort();
}

SharedFile::~SharedFile() {
  for (void* mapping : mappings_) munmap(mapping, bytes_);
  close(fd_);
}

std::byte* SharedFile::Map() {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, 0);
  if (memory == MAP_FAILED) std::abort();
  TouchPages(static_cast<std::byte*>(memory), bytes_);
  const std::lock_guard lock(mutex_);
  mappings_.push_back(memory);
  return static_cast<std::byte*>(memory);
}

const char* PlacementName(Placement placement) {
  switch (placement) {
    case Placement::kSameCore:
      return "same";
    case Placement::kNear:
      return "near";
    case Placement::kFar:
      break;
  }
  return "far";
}

std::optional<double> RunOnTwoCores(const Side& first, const Side& second, Apart apart,
                                    Preempted preempted) {
  TheMeeting()->ready.store(0);
  TheMeeting()->first_ended.store(false);
  if (apart == Apart::kThreads) {
    bool second_ran_through = false;
    std::thread thread([&] { second_ran_through = RunSecond(second); });
    const auto took = RunFirst(first, preempted);
    thread.join();
    return second_ran_through || preempted == Preempted::kCounts ? took : std::nullopt;
  }
  const pid_t child = ForkSecond();
  if (child == 0) _exit(RunSecond(second) ? 0 : 1);
  const auto took = RunFirst(first, preempted);
  int status = 0;
  while (waitpid(child, &status, 0) != child) {
    if (errno != EINTR) std::abort();
  }
  running_second = 0;
  if (WIFSIGNALED(status)) std::abort();
  return WEXITSTATUS(status) == 0 || preempted == Preempted::kCounts ? took : std::nullopt;
}

std::optional<double> CacheLineRoundTripNs() {
  constexpr uint64_t kTrips = 5000;
  Meeting* meeting = TheMeeting();
  for (PingPong& lines : meeting->lines) {
    lines.there.store(0);
    lines.back.store(0);
  }
  const auto ping = [=] {
    for (uint64_t i = 1; i <= kTrips; ++i) {
      PingPong& lines = meeting->lines[i % meeting->lines.size()];
      lines.there.store(i, std::memory_order_release);
      while (lines.back.load(std::memory_order_acquire) != i) {
      }
    }
  };
  const auto pong = [=] {
    for (uint64_t i = 1; i <= kTrips; ++i) {
      PingPong& lines = meeting->lines[i % meeting->lines.size()];
      while (lines.there.load(std::memory_order_acquire) != i) {
      }
      lines.back.store(i, std::memory_order_release);
    }
  };
  const auto total = RunOnTwoCores([&] { return ping; }, [&] { return pong; });
  if (!total) return std::nullopt;
  return *total / kTrips;
}

std::optional<double> AdditionNs() {
  Meeting* meeting = TheMeeting();
  auto here = std::make_shared<double>(0);
  const auto ran = RunOnTwoCores([=] { return [=] { *here = AdditionNsHere(); }; },
                                 [=] { return [=] { meeting->addition_ns = AdditionNsHere(); }; });
  if (!ran) return std::nullopt;
  return std::max(*here, meeting->addition_ns.load());
}

namespace {

// Of what a preemption spoils and a second try does not.
std::optional<double> Calibrate(std::optional<double> (*measure)()) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (const auto measured = measure()) return measured;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Sample> TakeSample(const std::function<std::optional<double>()>& measure,
                                 int patience) {
  constexpr double kNearNs = 85;
  constexpr double kFarNs = 200;
  constexpr double kUnshared = 1.15;
  constexpr auto kLonger =
      std::chrono::milliseconds(100);  // for a less disturbed one than there is
  constexpr auto kLongest = std::chrono::seconds(4);
  const auto begin = Clock::now();
  static double quickest = 1e9;
  std::optional<Sample> best;
  int accepted = 0;
  for (int attempt = 0; attempt < 25 * patience && accepted < patience; ++attempt) {
    if (Clock::now() - begin > (best ? kLonger : kLongest)) break;
    const auto addition_before = Calibrate(AdditionNs);
    const auto before = Calibrate(CacheLineRoundTripNs);
    if (!addition_before || !before) continue;
    const auto measured = measure();
    if (!measured) continue;
    const auto after = Calibrate(CacheLineRoundTripNs);
    const auto addition_after = Calibrate(AdditionNs);
    if (!after || !addition_after) continue;
    if (*before > 1.25 * *after || *after > 1.25 * *before) continue;
    ++accepted;
    const double line = (*before + *after) / 2;
    const Placement placement = line < kNearNs  ? Placement::kSameCore
                                : line < kFarNs ? Placement::kNear
                                                : Placement::kFar;
    quickest = std::min({quickest, *addition_before, *addition_after});
    const double shared = std::max(*addition_before, *addition_after) / quickest;
    if (!best || shared < best->shared) best = Sample{placement, line, shared, *measured};
    // Two threads of one core share it with each other.
    if (shared <= kUnshared || placement == Placement::kSameCore) break;
  }
  return best;
}

std::string Machine() {
  const char* pages = HugePagesReserved() ? "2 MiB" : "4 KiB";
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string model = "unknown processor";
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  }
  utsname name{};
  uname(&name);
  return model + ", Linux " + name.release + ", cores 0 and 1 of " +
         std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + ", pages of " + pages;
}

}  // namespace ivmq::bench
