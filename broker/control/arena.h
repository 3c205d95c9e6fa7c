#ifndef IVMQ_BROKER_CONTROL_ARENA_H_
#define IVMQ_BROKER_CONTROL_ARENA_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ivmq::control {

// Hands out extents of a realm's arena. The map of what is free and what is used is private
// memory, so nothing that a peer writes can mislead it; the arena itself is never touched.
//
// Granularity 64 bytes: no two extents share a cache line. Best fit, neighbours merge when they
// are freed; the cost of a call grows with the logarithm of the number of extents.
// One thread. Offsets are from the region's first byte, as everywhere.
class Arena {
 public:
  static constexpr uint64_t kGranularity = 64;

  // REQUIRES: `offset` and `bytes` are multiples of kGranularity (what is beyond is cut off).
  Arena(uint64_t offset, uint64_t bytes);

  // INVALID_ARGUMENT for 0 bytes or an alignment that is no power of two of at least 64;
  // RESOURCE_EXHAUSTED, saying how much was asked, is used and is there at all.
  absl::StatusOr<uint64_t> Allocate(uint64_t bytes, uint64_t alignment = kGranularity);
  // NOT_FOUND if no extent starts there, or it is orphaned.
  absl::Status Free(uint64_t offset);
  // The extent is never handed out again, nor can it be freed. Harmless if it is already orphaned
  // or not there.
  void Orphan(uint64_t offset);
  // Whatever of this range is free is never handed out. Returns where the extents begin that lie in
  // it and are used.
  std::vector<uint64_t> Withdraw(uint64_t offset, uint64_t bytes);
  // All that is free now is never handed out: for a region whose past nobody knows. From now on
  // every Allocate() fails with UNAVAILABLE and this sentence.
  void Close(std::string why);

  // Of the used extent that starts there; 0 if there is none.
  uint64_t BytesAt(uint64_t offset) const;

  uint64_t total_bytes() const { return total_; }
  // Orphaned ones included.
  uint64_t used_bytes() const { return used_; }
  uint64_t orphaned_bytes() const { return orphaned_; }
  // Aborts if the private map contradicts itself: for tests.
  void CheckConsistency() const;

 private:
  struct Extent {
    uint64_t bytes = 0;
    bool orphaned = false;
  };
  using BySize = std::set<std::pair<uint64_t, uint64_t>>;  // bytes, offset

  void InsertFree(uint64_t offset, uint64_t bytes);
  void EraseFree(std::map<uint64_t, uint64_t>::iterator extent);

  std::string closed_;  // why nothing is handed out; empty: it is
  uint64_t begin_;
  uint64_t total_;
  uint64_t used_ = 0;
  uint64_t orphaned_ = 0;
  std::map<uint64_t, Extent> used_extents_;  // by offset
  std::map<uint64_t, uint64_t> free_;        // offset, bytes
  BySize free_by_size_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ARENA_H_
