#include "broker/keeper/limits.h"

#include <sys/resource.h>

namespace ivmq::broker {

uint64_t RaiseOpenFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  return limit.rlim_cur;
}

uint64_t OpenFileLimitOf(pid_t pid) {
  rlimit limit{};
  if (pid <= 0 || prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) != 0) return 0;
  return limit.rlim_cur;
}

}  // namespace ivmq::broker
