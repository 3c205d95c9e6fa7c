#ifndef IVMQ_BROKER_KEEPER_LIMITS_H_
#define IVMQ_BROKER_KEEPER_LIMITS_H_

#include <sys/types.h>

#include <cstdint>

namespace ivmq::broker {

// Raises the soft limit of open files to the hard one and returns what is in force.
uint64_t RaiseOpenFileLimit();

// Soft RLIMIT_NOFILE of another process; 0 if it cannot be read.
uint64_t OpenFileLimitOf(pid_t pid);

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_LIMITS_H_
