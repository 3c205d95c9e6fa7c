#ifndef IVMQ_BROKER_CONTROL_CHECK_H_
#define IVMQ_BROKER_CONTROL_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Aborts on a bug of our own. Never for anything that a peer wrote or said.
#define IVMQ_CHECK(condition)                                                                 \
  do {                                                                                        \
    if (!(condition)) [[unlikely]] {                                                          \
      std::fprintf(stderr, "%s:%d: bug: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                           \
    }                                                                                         \
  } while (false)

#endif  // IVMQ_BROKER_CONTROL_CHECK_H_
