#ifndef IVMQ_TESTS_GUEST_STOP_SIGNAL_H_
#define IVMQ_TESTS_GUEST_STOP_SIGNAL_H_

#include <csignal>

namespace ivmq::test {

inline volatile std::sig_atomic_t stop_requested = 0;

// From here on SIGTERM sets stop_requested instead of ending the process.
inline void StopOnSigterm() {
  std::signal(SIGTERM, [](int) { stop_requested = 1; });
}

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_GUEST_STOP_SIGNAL_H_
