#ifndef IVMQ_SDK_EXAMPLES_PROC_READER_H_
#define IVMQ_SDK_EXAMPLES_PROC_READER_H_

#include <cstdint>
#include <string>

#include "procstat.pb.h"

namespace ivmq::examples {

// Measures this machine by reading /proc. One thread.
class ProcReader {
 public:
  // `host` names the measurements; empty: the machine's host name.
  explicit ProcReader(std::string host);

  // A new measurement. What /proc does not offer stays 0.
  ProcStat Read();

 private:
  void ReadCpu(ProcStat* stat);

  const std::string host_;
  uint64_t sequence_ = 0;
  uint64_t total_jiffies_before_ = 0;
  uint64_t idle_jiffies_before_ = 0;
};

}  // namespace ivmq::examples

#endif  // IVMQ_SDK_EXAMPLES_PROC_READER_H_
