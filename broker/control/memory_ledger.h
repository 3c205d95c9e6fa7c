#ifndef IVMQ_BROKER_CONTROL_MEMORY_LEDGER_H_
#define IVMQ_BROKER_CONTROL_MEMORY_LEDGER_H_

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/control/arena.h"

namespace ivmq::control {

// Who was told of which extent, and so when memory may be used again: only once everyone who knew
// its offset has let go of it or is proven dead. A holder is a node or an agent, named by an ID
// that is never reused; it holds an extent as often as it was told of it for another purpose.
// One thread. Owns the arena.
class MemoryLedger {
 public:
  using Holder = uint64_t;

  struct Extent {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  explicit MemoryLedger(Arena arena) : arena_(std::move(arena)) {}

  // A new extent, held once by `holder`. Errors as Arena::Allocate().
  absl::StatusOr<uint64_t> Allocate(uint64_t bytes, uint64_t alignment, Holder holder);
  // `holder` is about to be told. REQUIRES: the extent exists.
  void Hold(uint64_t offset, Holder holder);
  // `holder` lets go once; the last one frees the extent. Harmless if it does not hold it.
  void Release(uint64_t offset, Holder holder);
  // Proven dead: it lets go of everything.
  void ReleaseAll(Holder holder);

  // Someone who let go of this memory, being proven dead, is alive after all: whatever of it is
  // free now or will be is orphaned.
  void Quarantine(const Extent& memory);

  // What that holder was told of and has not let go of.
  std::vector<Extent> HeldBy(Holder holder) const;
  bool Holds(uint64_t offset, Holder holder) const;
  const Arena& arena() const { return arena_; }
  Arena* mutable_arena() { return &arena_; }

 private:
  // Holds for good what is quarantined; no node or agent has this ID.
  static constexpr Holder kQuarantine = UINT64_MAX;

  using Counts = std::map<Holder, uint32_t>;

  void Drop(uint64_t offset, Counts* counts, Holder holder);

  Arena arena_;
  std::unordered_map<uint64_t, Counts> extents_;                       // by offset
  std::unordered_map<Holder, std::map<uint64_t, uint32_t>> holdings_;  // the same by holder
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_MEMORY_LEDGER_H_
