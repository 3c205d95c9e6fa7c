#include <fmt/core.h>

#include <algorithm>

#include "broker/control/ring_reading.h"
#include "ringbuf/keep_last_layout.h"
#include "transport/link_check.h"

namespace ivmq::control {
namespace {

using Atomics = ringbuf::StdAtomics;

constexpr int kTries = 3;

// The words that move.
struct Words {
  uint64_t released = 0;
  uint64_t read = 0;
  uint64_t lost = 0;
  uint64_t published = 0;

  bool operator==(const Words&) const = default;
};

Words Load(const ringbuf::KeepLastDescriptor& ring) {
  Words words;
  words.released = Atomics::LoadAcquire(ring.released);
  // After what is released, so that it is never less.
  words.read = Atomics::LoadAcquire(ring.read);
  words.lost = Atomics::LoadAcquire(ring.lost);
  words.published = Atomics::LoadAcquire(ring.published);
  return words;
}

// From slot to slot.
struct Walk {
  std::string trouble;
  uint64_t published = 0;  // as the newest slot that is whole says
};

Walk WalkSlots(const ringbuf::KeepLastView& ring) {
  Walk walk;
  const uint64_t slots = ring.depth + 1;
  const uint64_t slot_bytes = ringbuf::SlotBytes(ring.max_message_bytes);
  for (uint64_t slot = 0; slot < slots; ++slot) {
    // Pairs with the releases in KeepLastProducer::TryWrite().
    const uint64_t sequence = Atomics::LoadHeader(ring.slots, slot * slot_bytes);
    if (sequence == 0) continue;
    const uint64_t message = (sequence - 1) / 2;
    if (message >= ringbuf::kMaxMessages || message % slots != slot) {
      walk.trouble = fmt::format("slot {} says that it holds message {}", slot, message);
      return walk;
    }
    const bool whole = sequence == ringbuf::WholeSequence(message);
    if (whole) walk.published = std::max(walk.published, message + 1);
  }
  return walk;
}

RingReading ReadingOf(const Words& words, const Walk& walk, const ringbuf::KeepLastView& ring) {
  RingReading reading;
  reading.still = true;
  reading.trouble = walk.trouble;
  if (!walk.trouble.empty()) return reading;
  const uint64_t published = walk.published;
  // The count comes after the slot, so a publisher may have died in between.
  if (words.published > published || published - words.published > 1) {
    reading.trouble = fmt::format("it says that {} were published, its newest slot {}",
                                  words.published, published);
  } else if (words.released > words.read || words.read > published ||
             words.lost > published - words.read) {
    reading.trouble =
        fmt::format("it says that {} were read, {} released and {} lost of {} published",
                    words.read, words.released, words.lost, published);
  }
  if (!reading.sound()) return reading;
  const uint64_t seen = words.read + words.lost;
  const uint64_t oldest = published > ring.depth ? published - ring.depth : 0;
  reading.read = words.read;
  reading.overwritten_least = words.lost + (oldest > seen ? oldest - seen : 0);
  reading.overwritten_most = reading.overwritten_least;
  reading.published_least = reading.published_most = published;
  reading.in_ring = published - reading.read - reading.overwritten_most;
  reading.used_bytes = reading.in_ring * ringbuf::SlotBytes(ring.max_message_bytes);
  return reading;
}

}  // namespace

RingReading ReadKeepLast(std::span<std::byte> region, uint64_t offset, uint64_t depth,
                         uint64_t max_message_bytes) {
  RingReading reading;
  const auto slots = transport::KeepLastInRegion(region, offset, depth, max_message_bytes);
  if (!slots.ok()) {
    reading.trouble = slots.status().message();
    reading.still = true;
    return reading;
  }
  const ringbuf::KeepLastView& ring = slots.value();
  Words words;
  for (int i = 0; i < kTries; ++i) {
    words = Load(*ring.descriptor);
    const Walk walk = WalkSlots(ring);
    if (Load(*ring.descriptor) == words) return ReadingOf(words, walk, ring);
  }
  reading.read = words.read;
  reading.published_least = std::max(words.published, words.read);
  reading.published_most = std::max(reading.published_least + 1, reading.published_least);
  reading.overwritten_least = words.lost;
  reading.overwritten_most = std::max(words.lost, reading.published_most - reading.read);
  return reading;
}

ReadingProgress ReadKeepLastProgress(std::span<std::byte> region, uint64_t offset, uint64_t depth,
                                     uint64_t max_message_bytes) {
  const auto slots = transport::KeepLastInRegion(region, offset, depth, max_message_bytes);
  if (!slots.ok()) return {};
  const uint64_t read = Atomics::LoadRelaxed(slots.value().descriptor->read);
  const uint64_t lost = Atomics::LoadRelaxed(slots.value().descriptor->lost);
  const uint64_t published = Atomics::LoadRelaxed(slots.value().descriptor->published);
  return {read, published > read + lost};
}

}  // namespace ivmq::control
