#ifndef IVMQ_SDK_COMMAND_BENCH_LOAD_H_
#define IVMQ_SDK_COMMAND_BENCH_LOAD_H_

#include <ivmq/ivmq.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ivmq/v1/bench.pb.h"
#include "sdk/command/bench_message.h"
#include "sdk/command/command_line.h"
#include "sdk/command/table.h"

namespace ivmq::command {

// What the thread that sends is told by the one that prints: nothing else goes with it.
struct BenchStop {
  std::atomic<bool> finish{false};   // sends no more, and tells the server so
  std::atomic<bool> abandon{false};  // the server is not there any more
};

// A figure for people and for programs.
struct BenchFigures {
  std::string text;
  std::string json;                         // members of an object
  std::chrono::nanoseconds measured_for{};  // what rates are a share of
};

// The client's part in a run. Made before the server hears of the run, so that what the server
// creates finds what it needs. `Send` runs on a thread of its own; the others are called on one
// thread, also meanwhile.
class BenchLoad {
 public:
  virtual ~BenchLoad() = default;

  // The server is ready. Waits so long for what it has made.
  virtual Status Join(std::chrono::nanoseconds timeout) = 0;
  // Sends until it is told to finish or to abandon.
  virtual Status Send(const BenchStop& stop) = 0;

  virtual void OnReport(const v1::BenchReport& report) = 0;
  // Of the time since the last call.
  virtual BenchFigures Interval() = 0;
  // Of the whole run, in one line; the table has the rest.
  virtual BenchFigures Total() const = 0;
  virtual Table TotalTable() const = 0;
  // Of the whole run.
  virtual BenchCounts Counts() const = 0;
};

using BenchLoadResult = Result<std::unique_ptr<BenchLoad>>;

// `options` outlive them.
BenchLoadResult MakeThroughputLoad(Node* node, const BenchOptions& options, uint64_t run);
BenchLoadResult MakeLatencyLoad(Node* node, const BenchOptions& options, uint64_t run);
BenchLoadResult MakeRequestLoad(Node* node, const BenchOptions& options, uint64_t run);

// "12.3 M", "868", with a unit "12.3 MB": a count, for people.
std::string BenchRateText(double count, const char* unit = "");

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_LOAD_H_
