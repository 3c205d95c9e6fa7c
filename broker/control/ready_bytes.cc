#include "broker/control/ready_bytes.h"

#include <algorithm>
#include <bit>
#include <new>

#include "broker/control/check.h"
#include "transport/region.h"
#include "transport/region_layout.h"

namespace ivmq::control {

using transport::kCacheLineBytes;
using transport::ReadyByte;

absl::StatusOr<ReadyPlace> ReadyBytes::Acquire(MemoryLedger::Holder owner,
                                               MemoryLedger::Holder setter) {
  std::vector<Line>& lines = lines_[{owner, setter}];
  auto line = std::find_if(lines.begin(), lines.end(),
                           [](const Line& candidate) { return ~candidate.used != 0; });
  if (line == lines.end()) {
    const absl::StatusOr<uint64_t> offset =
        ledger_->Allocate(kCacheLineBytes, kCacheLineBytes, kSelf);
    if (!offset.ok()) {
      if (lines.empty()) lines_.erase({owner, setter});
      return offset.status();
    }
    line = lines.insert(lines.end(), Line{*offset, 0});
  }
  const int index = std::countr_one(line->used);
  line->used |= uint64_t{1} << index;
  ledger_->Hold(line->offset, owner);
  ledger_->Hold(line->offset, setter);
  const uint64_t offset = line->offset + static_cast<uint64_t>(index);
  auto* byte = transport::CheckedObject<ReadyByte>(region_, offset);
  IVMQ_CHECK(byte != nullptr);
  byte->store(0, std::memory_order_relaxed);  // nobody has been told of it yet
  return ReadyPlace{line->offset, offset};
}

void ReadyBytes::Free(MemoryLedger::Holder owner, MemoryLedger::Holder setter,
                      const ReadyPlace& place) {
  const auto lines = lines_.find({owner, setter});
  IVMQ_CHECK(lines != lines_.end());
  const auto line =
      std::find_if(lines->second.begin(), lines->second.end(),
                   [&](const Line& candidate) { return candidate.offset == place.line; });
  IVMQ_CHECK(line != lines->second.end());
  line->used &= ~(uint64_t{1} << (place.offset - place.line));
  if (line->used != 0) return;
  ledger_->Release(line->offset, kSelf);
  lines->second.erase(line);
  if (lines->second.empty()) lines_.erase(lines);
}

size_t ReadyBytes::lines() const {
  size_t count = 0;
  for (const auto& [pair, lines] : lines_) count += lines.size();
  return count;
}

}  // namespace ivmq::control
