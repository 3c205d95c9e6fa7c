#ifndef IVMQ_BROKER_CONTROL_RING_READING_H_
#define IVMQ_BROKER_CONTROL_RING_READING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ivmq::control {

// What a ring says of itself from outside, without the help of its two ends. Counts of records.
struct RingReading {
  // Why nothing else here can be believed; empty if it can.
  std::string trouble;
  // True: neither end moved its words during the reading, so the records in the ring were counted
  // one by one. False: only the words were read, and the rest are bounds.
  bool still = false;
  uint64_t read = 0;             // by the consumer, those included that it has not released
  uint64_t published_least = 0;  // the two differ where the words of the two ends do
  uint64_t published_most = 0;
  uint64_t dropped = 0;            // as the publisher last said, before they came into the ring
  uint64_t overwritten_least = 0;  // KEEP_LAST: lost, whether the consumer has noticed or not
  uint64_t overwritten_most = 0;
  uint64_t in_ring = 0;     // if still: published and not read
  uint64_t head = 0;        // a position; all below is released
  uint64_t used_bytes = 0;  // from there on, headers and padding included

  bool sound() const { return trouble.empty(); }
  bool operator==(const RingReading&) const = default;
};

// Reads the ring at `ring_offset` as what it is, memory of others: bounded by the length of the
// ring, each word loaded once and checked, nothing written. Any thread.
RingReading ReadRing(std::span<std::byte> region, uint64_t ring_offset, uint64_t ring_bytes);

// How far a consumer has come, from a few words that the two ends bring up to date now and then.
struct ReadingProgress {
  uint64_t read = 0;    // records; 0 where there is no ring
  bool unread = false;  // more are known to be published
};
ReadingProgress ReadProgress(std::span<std::byte> region, uint64_t ring_offset,
                             uint64_t ring_bytes);

// The same for a slot ring (KEEP_LAST).
RingReading ReadKeepLast(std::span<std::byte> region, uint64_t offset, uint64_t depth,
                         uint64_t max_message_bytes);
ReadingProgress ReadKeepLastProgress(std::span<std::byte> region, uint64_t offset, uint64_t depth,
                                     uint64_t max_message_bytes);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_RING_READING_H_
