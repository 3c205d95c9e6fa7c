#include <google/protobuf/stubs/logging.h>

#include <csignal>

#include "sdk/command/audit.h"
#include "sdk/command/bench.h"
#include "sdk/command/bench_serve.h"
#include "sdk/command/command_line.h"
#include "sdk/command/doctor.h"
#include "sdk/command/interrupt.h"
#include "sdk/command/lists.h"
#include "sdk/command/pub.h"
#include "sdk/command/reply.h"
#include "sdk/command/request.h"
#include "sdk/command/sub.h"
#include "sdk/command/watch.h"

namespace ivmq::command {
namespace {

// Commands that go on until they are told to end; a signal is the end of the others.
bool HasInterrupt(Subcommand subcommand) {
  return subcommand == Subcommand::kPub || subcommand == Subcommand::kSub ||
         subcommand == Subcommand::kRequest || subcommand == Subcommand::kReply ||
         subcommand == Subcommand::kWatch || subcommand == Subcommand::kBenchServe ||
         subcommand == Subcommand::kBenchThroughput || subcommand == Subcommand::kBenchLatency ||
         subcommand == Subcommand::kBenchRequest;
}

int Run(const CommandLine& line) {
  if (HasInterrupt(line.subcommand)) Interrupt::Prepare();
  switch (line.subcommand) {
    case Subcommand::kPub:
      return RunPub(line);
    case Subcommand::kSub:
      return RunSub(line);
    case Subcommand::kRequest:
      return RunRequest(line);
    case Subcommand::kReply:
      return RunReply(line);
    case Subcommand::kWatch:
      return RunWatch(line);
    case Subcommand::kEvictNode:
    case Subcommand::kEvictPeer:
      return RunEvict(line);
    case Subcommand::kBenchServe:
      return RunBenchServe(line);
    case Subcommand::kBenchThroughput:
    case Subcommand::kBenchLatency:
    case Subcommand::kBenchRequest:
      return RunBench(line);
    case Subcommand::kDoctor:
      return RunDoctor(line);
    case Subcommand::kAudit:
      return RunAudit(line);
    case Subcommand::kRealms:
    case Subcommand::kPeers:
    case Subcommand::kNodes:
    case Subcommand::kTopics:
    case Subcommand::kLinks:
      break;
  }
  return RunList(line);
}

}  // namespace
}  // namespace ivmq::command

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // What peers say of their types may be nonsense; we say so ourselves.
  google::protobuf::SetLogHandler(nullptr);
  ivmq::command::CommandLine line;
  int exit_code = 0;
  if (!ivmq::command::ParseCommandLine(argc, argv, &line, &exit_code)) return exit_code;
  return ivmq::command::Run(line);
}
