#ifndef IVMQ_SDK_COMMAND_BENCH_PARTNER_H_
#define IVMQ_SDK_COMMAND_BENCH_PARTNER_H_

#include <ivmq/ivmq.h>

#include <atomic>
#include <memory>
#include <string>

#include "ivmq/v1/bench.pb.h"
#include "sdk/command/bench_protocol.h"

namespace ivmq::command {

// The server's part in a run: ready for its client when constructed. One thread.
class BenchPartner {
 public:
  virtual ~BenchPartner() = default;
  // Until the client says that it was all (OK), or `stop`. Not in a handler of the node, which may
  // not wait.
  virtual Status Run(const std::atomic<bool>& stop, BenchTally* tally) = 0;
};

using BenchPartnerResult = Result<std::unique_ptr<BenchPartner>>;

// UNIMPLEMENTED: a kind of run that this version does not know.
BenchPartnerResult MakeBenchPartner(Node* node, const std::string& server, const v1::BenchRun& run);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_PARTNER_H_
