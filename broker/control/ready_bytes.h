#ifndef IVMQ_BROKER_CONTROL_READY_BYTES_H_
#define IVMQ_BROKER_CONTROL_READY_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/control/memory_ledger.h"

namespace ivmq::control {

// One ready byte in the region: `line` is the extent that holders hold, `offset` the byte.
struct ReadyPlace {
  uint64_t line = 0;
  uint64_t offset = 0;
};

// Hands out ready bytes so that a cache line of them has one node that sets (region_layout.h):
// bytes of one (owner, setter) pair share a line, others do not.
// One thread. Ledger and region must outlive it.
class ReadyBytes {
 public:
  // Holds the lines while bytes of them are out; no node or agent has this ID.
  static constexpr MemoryLedger::Holder kSelf = 0;

  ReadyBytes(MemoryLedger* ledger, std::span<std::byte> region)
      : ledger_(ledger), region_(region) {}

  // A byte, cleared, that `setter` sets and `owner` looks at. Both hold the line once for it.
  // RESOURCE_EXHAUSTED as Arena::Allocate().
  absl::StatusOr<ReadyPlace> Acquire(MemoryLedger::Holder owner, MemoryLedger::Holder setter);
  // The byte may be handed out again to the same pair.
  // REQUIRES: both have let go of it, with MemoryLedger::Release() or ReleaseAll().
  void Free(MemoryLedger::Holder owner, MemoryLedger::Holder setter, const ReadyPlace& place);

  size_t lines() const;

 private:
  struct Line {
    uint64_t offset = 0;
    uint64_t used = 0;  // bit i: byte i is out
  };

  MemoryLedger* ledger_;
  std::span<std::byte> region_;
  std::map<std::pair<MemoryLedger::Holder, MemoryLedger::Holder>, std::vector<Line>> lines_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_READY_BYTES_H_
