// Runs a program on a kernel that does not know a system call, as far as that program can tell:
//
//   without_syscall epoll_pwait2|membarrier ENOSYS|EPERM PROGRAM [ARGUMENT...]
//
// By a seccomp filter, as containers have it (which say EPERM, older kernels ENOSYS). Exit status
// 2 where it cannot.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace {

const std::map<std::string, uint32_t> kCalls = {{"epoll_pwait2", SYS_epoll_pwait2},
                                                {"membarrier", SYS_membarrier}};
const std::map<std::string, uint32_t> kErrors = {{"ENOSYS", ENOSYS}, {"EPERM", EPERM}};

bool Deny(uint32_t call, uint32_t error) {
  // Fewer than 256 steps: a jump counts those that it leaves out.
  std::array<sock_filter, 4> steps{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{static_cast<unsigned short>(steps.size()), steps.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto call = kCalls.find(argc > 3 ? argv[1] : "");
  const auto error = kErrors.find(argc > 3 ? argv[2] : "");
  if (call == kCalls.end() || error == kErrors.end()) {
    std::fprintf(stderr,
                 "usage: without_syscall epoll_pwait2|membarrier ENOSYS|EPERM PROGRAM "
                 "[ARGUMENT...]\n");
    return 2;
  }
  if (!Deny(call->second, error->second)) {
    std::fprintf(stderr, "without_syscall: no filter: %s\n", std::strerror(errno));
    return 2;
  }
  ::execv(argv[3], argv + 3);
  std::fprintf(stderr, "without_syscall: %s: %s\n", argv[3], std::strerror(errno));
  return 2;
}
