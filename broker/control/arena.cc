#include "broker/control/arena.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "broker/control/check.h"

namespace ivmq::control {
namespace {

constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace

Arena::Arena(uint64_t offset, uint64_t bytes)
    : begin_(AlignUp(offset, kGranularity)), total_(bytes & ~(kGranularity - 1)) {
  if (total_ > 0) InsertFree(begin_, total_);
}

void Arena::InsertFree(uint64_t offset, uint64_t bytes) {
  free_.emplace(offset, bytes);
  free_by_size_.emplace(bytes, offset);
}

void Arena::EraseFree(std::map<uint64_t, uint64_t>::iterator extent) {
  free_by_size_.erase({extent->second, extent->first});
  free_.erase(extent);
}

absl::StatusOr<uint64_t> Arena::Allocate(uint64_t bytes, uint64_t alignment) {
  if (bytes == 0) return absl::InvalidArgumentError("an extent of 0 bytes was asked for");
  if (alignment < kGranularity || (alignment & (alignment - 1)) != 0) {
    return absl::InvalidArgumentError(
        fmt::format("alignment {} is not a power of two of at least {}", alignment, kGranularity));
  }
  if (!closed_.empty()) return absl::UnavailableError(closed_);
  const uint64_t rounded = AlignUp(bytes, kGranularity);
  if (rounded >= bytes && rounded <= total_) {
    // The smallest extents first. One that is large enough can still miss the alignment; one that
    // has room for the worst case cannot, so few are looked at.
    for (auto at = free_by_size_.lower_bound({rounded, 0}); at != free_by_size_.end(); ++at) {
      const auto [free_bytes, free_offset] = *at;
      const uint64_t offset = AlignUp(free_offset, alignment);
      const uint64_t gap = offset - free_offset;
      if (gap > free_bytes || free_bytes - gap < rounded) continue;
      EraseFree(free_.find(free_offset));
      if (gap > 0) InsertFree(free_offset, gap);
      if (const uint64_t rest = free_bytes - gap - rounded; rest > 0) {
        InsertFree(offset + rounded, rest);
      }
      used_extents_.emplace(offset, Extent{rounded, false});
      used_ += rounded;
      return offset;
    }
  }
  return absl::ResourceExhaustedError(fmt::format(
      "the realm's memory is full: {} bytes were asked for, {} of {} are in use ({} "
      "orphaned), the largest free piece has {}; close links, use smaller rings or a "
      "larger region",
      bytes, used_, total_, orphaned_, free_by_size_.empty() ? 0 : free_by_size_.rbegin()->first));
}

absl::Status Arena::Free(uint64_t offset) {
  const auto found = used_extents_.find(offset);
  if (found == used_extents_.end() || found->second.orphaned) {
    return absl::NotFoundError(fmt::format("no extent to free at offset {}", offset));
  }
  uint64_t begin = offset;
  uint64_t bytes = found->second.bytes;
  used_ -= bytes;
  used_extents_.erase(found);
  if (const auto next = free_.find(begin + bytes); next != free_.end()) {
    bytes += next->second;
    EraseFree(next);
  }
  if (auto previous = free_.lower_bound(begin); previous != free_.begin()) {
    --previous;
    if (previous->first + previous->second == begin) {
      begin = previous->first;
      bytes += previous->second;
      EraseFree(previous);
    }
  }
  InsertFree(begin, bytes);
  return absl::OkStatus();
}

void Arena::Orphan(uint64_t offset) {
  const auto found = used_extents_.find(offset);
  if (found == used_extents_.end() || found->second.orphaned) return;
  found->second.orphaned = true;
  orphaned_ += found->second.bytes;
}

std::vector<uint64_t> Arena::Withdraw(uint64_t offset, uint64_t bytes) {
  const uint64_t end = offset + bytes;
  std::vector<uint64_t> used;
  auto extent = used_extents_.upper_bound(offset);
  if (extent != used_extents_.begin()) --extent;
  for (; extent != used_extents_.end() && extent->first < end; ++extent) {
    if (extent->first + extent->second.bytes > offset) used.push_back(extent->first);
  }
  auto next = free_.upper_bound(offset);
  if (next != free_.begin()) --next;
  while (next != free_.end() && next->first < end) {
    const auto piece = next++;
    const auto [piece_begin, piece_bytes] = *piece;
    const uint64_t piece_end = piece_begin + piece_bytes;
    const uint64_t from = std::max(piece_begin, offset);
    const uint64_t to = std::min(piece_end, end);
    if (from >= to) continue;
    EraseFree(piece);
    if (from > piece_begin) InsertFree(piece_begin, from - piece_begin);
    if (piece_end > to) InsertFree(to, piece_end - to);
    used_extents_.emplace(from, Extent{to - from, true});
    used_ += to - from;
    orphaned_ += to - from;
  }
  return used;
}

uint64_t Arena::BytesAt(uint64_t offset) const {
  const auto found = used_extents_.find(offset);
  return found == used_extents_.end() ? 0 : found->second.bytes;
}

void Arena::Close(std::string why) {
  closed_ = std::move(why);
  for (const auto& [offset, bytes] : free_) {
    used_extents_.emplace(offset, Extent{bytes, true});
    used_ += bytes;
    orphaned_ += bytes;
  }
  free_.clear();
  free_by_size_.clear();
}

void Arena::CheckConsistency() const {
  uint64_t used = 0;
  uint64_t orphaned = 0;
  uint64_t free = 0;
  std::map<uint64_t, std::pair<uint64_t, bool>> all;  // bytes, is free
  for (const auto& [offset, extent] : used_extents_) {
    used += extent.bytes;
    if (extent.orphaned) orphaned += extent.bytes;
    IVMQ_CHECK(all.emplace(offset, std::pair(extent.bytes, false)).second);
  }
  for (const auto& [offset, bytes] : free_) {
    free += bytes;
    IVMQ_CHECK(free_by_size_.count({bytes, offset}) == 1);
    IVMQ_CHECK(all.emplace(offset, std::pair(bytes, true)).second);
  }
  IVMQ_CHECK(free_by_size_.size() == free_.size());
  IVMQ_CHECK(used == used_ && orphaned == orphaned_ && used + free == total_);
  uint64_t at = begin_;
  bool previous_free = false;
  for (const auto& [offset, extent] : all) {
    IVMQ_CHECK(offset == at && extent.first % kGranularity == 0);
    IVMQ_CHECK(!(previous_free && extent.second));  // neighbours were merged
    previous_free = extent.second;
    at += extent.first;
  }
  IVMQ_CHECK(at == begin_ + total_);
}

}  // namespace ivmq::control
