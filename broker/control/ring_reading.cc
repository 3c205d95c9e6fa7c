#include "broker/control/ring_reading.h"

#include <fmt/core.h>

#include <algorithm>

#include "ringbuf/ring_layout.h"
#include "transport/link_check.h"

namespace ivmq::control {
namespace {

using Atomics = ringbuf::StdAtomics;
using ringbuf::kHeaderBytes;

// Publishers mirror their words at least every so many records.
constexpr uint64_t kTailLagRecords = ringbuf::kBatchRecords;
constexpr int kTries = 3;

// The words that move.
struct Words {
  uint64_t released = 0;
  uint64_t read = 0;
  uint64_t head = 0;
  uint64_t published = 0;
  uint64_t tail = 0;
  uint64_t dropped = 0;

  bool operator==(const Words&) const = default;
};

Words Load(const ringbuf::RingDescriptor& ring) {
  // Each pairs with the releases in SpscConsumer::PublishHead() and SpscProducer::MirrorCounters().
  Words words;
  words.released = Atomics::LoadAcquire(ring.records_released);
  words.head = Atomics::LoadAcquire(ring.head);
  // After what is released, so that it is never less.
  words.read = Atomics::LoadAcquire(ring.records_read);
  words.published = Atomics::LoadAcquire(ring.records_published);
  words.tail = Atomics::LoadAcquire(ring.tail);
  words.dropped = Atomics::LoadRelaxed(ring.records_dropped);
  return words;
}

// Holds however long the loads took. A count is stored before its position, so it may be one report
// ahead: a lap at most.
std::string CountTrouble(const Words& words, uint64_t capacity) {
  const uint64_t lap = capacity / kHeaderBytes;
  if (words.released > words.head / kHeaderBytes + lap) {
    return fmt::format("it says that {} records were released below position {}", words.released,
                       words.head);
  }
  if (words.published > words.tail / kHeaderBytes + lap) {
    return fmt::format("it says that {} records were published below position {}", words.published,
                       words.tail);
  }
  return "";
}

// Of words that belong together.
std::string TroubleOf(const Words& words, uint64_t capacity) {
  if (words.head % kHeaderBytes != 0) {
    return fmt::format("its head {} is no multiple of {}", words.head, kHeaderBytes);
  }
  if (words.tail % kHeaderBytes != 0) {
    return fmt::format("its tail {} is no multiple of {}", words.tail, kHeaderBytes);
  }
  // A consumer may be ahead of the lazy tail.
  const uint64_t apart =
      words.tail > words.head ? words.tail - words.head : words.head - words.tail;
  if (apart > capacity) {
    return fmt::format("its head {} and its tail {} are further apart than its {} bytes",
                       words.head, words.tail, capacity);
  }
  return CountTrouble(words, capacity);
}

// From one header to the next, from head to the first that is not published.
struct Walk {
  std::string trouble;
  uint64_t records = 0;
  uint64_t end = 0;
  bool met_tail = false;
  uint64_t records_at_tail = 0;  // if met
};

Walk WalkHeaders(const ringbuf::RingView& ring, const Words& words) {
  Walk walk;
  const uint64_t mask = ring.capacity - 1;
  uint64_t position = words.head;
  // Eight bytes stay free beyond every record, so an end comes before a lap is over.
  while (position - words.head <= ring.capacity - kHeaderBytes) {
    if (position == words.tail) {
      walk.met_tail = true;
      walk.records_at_tail = walk.records;
    }
    uint64_t offset = position & mask;
    // Pairs with the release in SpscProducer::Publish().
    uint64_t header = Atomics::LoadHeader(ring.data, offset);
    if (header == 0) {
      walk.end = position;
      return walk;
    }
    if (header == ringbuf::kPaddingHeader && offset != 0) {
      position += ring.capacity - offset;
      offset = 0;
      header = Atomics::LoadHeader(ring.data, 0);
    }
    ringbuf::ParsedHeader record;
    if (!ringbuf::ParseHeader(header, offset, ring.capacity, &record)) {
      walk.trouble = fmt::format("the header {:#x} at position {} is none", header, position);
      return walk;
    }
    position += record.end_offset - offset;
    ++walk.records;
  }
  walk.trouble = fmt::format("no end comes within a lap from its head {}", words.head);
  return walk;
}

RingReading ReadingOf(const Words& words, const Walk& walk) {
  RingReading reading;
  reading.still = true;
  reading.read = words.read;
  reading.dropped = words.dropped;
  reading.head = words.head;
  reading.used_bytes = walk.trouble.empty() ? walk.end - words.head : 0;
  reading.trouble = walk.trouble;
  // A tail behind the head is one that the consumer did not wait for.
  if (walk.trouble.empty() && !walk.met_tail && words.tail > words.head) {
    reading.trouble =
        fmt::format("no record ends at its tail {}; they end at {}", words.tail, walk.end);
  }
  const uint64_t by_head = words.released + walk.records;
  const uint64_t by_tail =
      walk.met_tail ? words.published + walk.records - walk.records_at_tail : by_head;
  reading.published_least = std::min(by_head, by_tail);
  reading.published_most = std::max(by_head, by_tail);
  if (reading.trouble.empty() && (words.read < words.released || words.read > by_head)) {
    reading.trouble =
        fmt::format("it says that {} records were read, of {} released to {} published", words.read,
                    words.released, by_head);
  }
  if (reading.trouble.empty()) reading.in_ring = by_head - words.read;
  return reading;
}

}  // namespace

RingReading ReadRing(std::span<std::byte> region, uint64_t ring_offset, uint64_t ring_bytes) {
  RingReading reading;
  const auto ring = transport::RingInRegion(region, ring_offset, ring_bytes);
  if (!ring.ok()) {
    reading.trouble = ring.status().message();
    reading.still = true;
    return reading;
  }
  const ringbuf::RingView& view = ring.value();
  Words words;
  for (int i = 0; i < kTries; ++i) {
    words = Load(*view.descriptor);
    const std::string trouble = TroubleOf(words, view.capacity);
    const Walk walk = trouble.empty() ? WalkHeaders(view, words) : Walk{.trouble = trouble};
    // Only then do the words belong together, and nothing was overwritten that the walk met.
    if (Load(*view.descriptor) == words) return ReadingOf(words, walk);
  }
  reading.trouble = CountTrouble(words, ring_bytes);
  reading.read = words.read;
  reading.dropped = words.dropped;
  reading.head = words.head;
  reading.used_bytes = words.tail > words.head ? std::min(words.tail - words.head, ring_bytes) : 0;
  reading.published_least = std::max(words.published, words.read);
  reading.published_most = std::max(reading.published_least + kTailLagRecords,
                                    reading.published_least);  // a liar's may wrap around
  return reading;
}

ReadingProgress ReadProgress(std::span<std::byte> region, uint64_t ring_offset,
                             uint64_t ring_bytes) {
  const auto ring = transport::RingInRegion(region, ring_offset, ring_bytes);
  if (!ring.ok()) return {};
  const uint64_t read = Atomics::LoadRelaxed(ring.value().descriptor->records_read);
  const uint64_t published = Atomics::LoadRelaxed(ring.value().descriptor->records_published);
  return {read, published > read};
}

}  // namespace ivmq::control
