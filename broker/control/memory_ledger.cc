#include "broker/control/memory_ledger.h"

#include "broker/control/check.h"

namespace ivmq::control {

absl::StatusOr<uint64_t> MemoryLedger::Allocate(uint64_t bytes, uint64_t alignment, Holder holder) {
  absl::StatusOr<uint64_t> offset = arena_.Allocate(bytes, alignment);
  if (!offset.ok()) return offset;
  extents_[*offset][holder] = 1;
  holdings_[holder][*offset] = 1;
  return offset;
}

void MemoryLedger::Hold(uint64_t offset, Holder holder) {
  const auto found = extents_.find(offset);
  IVMQ_CHECK(found != extents_.end());
  ++found->second[holder];
  ++holdings_[holder][offset];
}

void MemoryLedger::Release(uint64_t offset, Holder holder) {
  const auto found = extents_.find(offset);
  if (found == extents_.end()) return;
  const auto count = found->second.find(holder);
  if (count == found->second.end()) return;
  const auto held = holdings_.find(holder);
  IVMQ_CHECK(held != holdings_.end());
  if (--held->second[offset] == 0) held->second.erase(offset);
  if (held->second.empty()) holdings_.erase(held);
  if (--count->second == 0) Drop(offset, &found->second, holder);
}

void MemoryLedger::Drop(uint64_t offset, Counts* counts, Holder holder) {
  counts->erase(holder);
  if (!counts->empty()) return;
  extents_.erase(offset);
  IVMQ_CHECK(arena_.Free(offset).ok());
}

void MemoryLedger::ReleaseAll(Holder holder) {
  const auto held = holdings_.find(holder);
  if (held == holdings_.end()) return;
  const std::map<uint64_t, uint32_t> offsets = std::move(held->second);
  holdings_.erase(held);
  for (const auto& [offset, count] : offsets) Drop(offset, &extents_.at(offset), holder);
}

void MemoryLedger::Quarantine(const Extent& memory) {
  for (const uint64_t offset : arena_.Withdraw(memory.offset, memory.bytes)) {
    // What was free when it was quarantined has no holder.
    if (extents_.count(offset) == 0 || Holds(offset, kQuarantine)) continue;
    Hold(offset, kQuarantine);
    arena_.Orphan(offset);
  }
}

std::vector<MemoryLedger::Extent> MemoryLedger::HeldBy(Holder holder) const {
  std::vector<Extent> extents;
  const auto held = holdings_.find(holder);
  if (held == holdings_.end()) return extents;
  for (const auto& [offset, count] : held->second) {
    extents.push_back({offset, arena_.BytesAt(offset)});
  }
  return extents;
}

bool MemoryLedger::Holds(uint64_t offset, Holder holder) const {
  const auto found = extents_.find(offset);
  return found != extents_.end() && found->second.count(holder) != 0;
}

}  // namespace ivmq::control
