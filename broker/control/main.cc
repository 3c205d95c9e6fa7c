// ivmqd-control: the child of ivmqd that knows who talks to whom. Started by ivmqd only, as
//
//   ivmqd-control LOG_LEVEL
#include <fcntl.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "broker/control/control.h"
#include "broker/keeper_protocol.h"
#include "transport/event_loop.h"
#include "transport/log.h"

int main(int argc, char** argv) {
  using ivmq::broker::kControlSocketFd;
  struct stat about {};
  if (fstat(kControlSocketFd, &about) != 0 || !S_ISSOCK(about.st_mode)) {
    std::fprintf(stderr, "ivmqd-control: is started by ivmqd only; start that instead\n");
    return 2;
  }
  fcntl(kControlSocketFd, F_SETFD, FD_CLOEXEC);
  std::signal(SIGPIPE, SIG_IGN);
  // The keeper ends us by closing our socket; a signal to the process group is meant for it alone.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);

  ivmq::SetLogName("ivmqd-control");
  ivmq::LogLevel level = ivmq::LogLevel::kInfo;
  if (argc > 1 && ivmq::ParseLogLevel(argv[1], &level)) ivmq::SetLogLevel(level);
  const auto created = ivmq::transport::EventLoop::Create();
  if (!created.ok()) {
    ivmq::LogError("{}", created.status().message());
    return 1;
  }
  ivmq::transport::EventLoop& loop = *created.value();
  ivmq::control::Control control(&loop, ivmq::transport::UniqueFd(kControlSocketFd));
  loop.Run();
  // Everything of value is the keeper's: there is nothing to put in order.
  std::_Exit(control.failure().empty() ? 0 : 1);
}
