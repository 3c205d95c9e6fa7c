// A measurement in a process of its own: libraries with threads do not survive a fork, so whoever
// forks has none; and an end that fails or hangs takes nothing with it.
#ifndef IVMQ_TESTS_BENCH_CHILD_H_
#define IVMQ_TESTS_BENCH_CHILD_H_

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace ivmq::bench {

// A measurement that came to no end, and why.
class Failed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Figures = std::vector<double>;

// What `measure` returns in a child process. Throws Failed where the child ends otherwise, takes
// more than half a minute (it is killed, and what it forked with it), or on an interrupt.
std::optional<Figures> InAChild(const std::function<std::optional<Figures>()>& measure);

// From now on SIGINT, SIGTERM and SIGHUP end no process but children: who measures asks
// Interrupted, cleans up and leaves.
void CatchInterrupts();
bool Interrupted();

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_CHILD_H_
