// What the kernel counts of a process.
#ifndef IVMQ_TESTS_SDK_PROCESS_FIGURES_H_
#define IVMQ_TESTS_SDK_PROCESS_FIGURES_H_

#include <sys/types.h>

#include <cstdint>

namespace ivmq::test {

// Of all its threads.
struct Activity {
  uint64_t sleeps = 0;  // how often a thread gave up a CPU to wait: each wake-up leads to one
  uint64_t cpu_ns = 0;
  int threads = 0;
};
Activity ActivityOf(pid_t pid);

// Resident bytes of everything but mapped memfds, of which the region is one.
uint64_t ResidentBytes(pid_t pid);

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_PROCESS_FIGURES_H_
