#ifndef IVMQ_SDK_PUBSUB_OUTBOUND_LINK_H_
#define IVMQ_SDK_PUBSUB_OUTBOUND_LINK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ivmq/publisher.h"
#include "ivmq/v1/control.pb.h"
#include "transport/link_counters.h"
#include "transport/link_writer.h"

namespace ivmq::internal {

// One link of a publisher: the writer, what was agreed on, and what that made of its messages.
// Whoever may touch the publisher's links; counters from any thread.
struct OutboundLink {
  OutboundLink(transport::LinkWriter opened, const v1::LinkUp& up);

  // Nothing is dropped on it: a publish waits for its room.
  bool reliable() const { return reliability == v1::Qos::RELIABLE; }

  // Writes a record to a link that is not reliable, or counts it as dropped. `scratch` is used
  // where the record has to tell of those dropped before it.
  enum class Outcome { kWritten, kDropped, kCorrupt };
  Outcome Offer(std::span<const std::byte> record, uint8_t flags, std::span<std::byte> scratch);

  v1::LinkCounters Counters() const;
  PublisherLink Losses() const;
  // By the other side's word, which cannot be more than there was.
  uint64_t overwritten() const;

  // What of `scratch` is used beyond the record, at most: a block of one entry.
  static constexpr size_t kToldBytes = 24;

  transport::LinkWriter writer;
  const v1::Qos::Reliability reliability;
  const uint32_t depth;              // with KEEP_LAST
  const uint32_t history;            // of the messages kept, this many go first
  const std::string node;            // at the other end
  const uint32_t peer;               // its
  transport::Counter full;           // publishes that found it without room
  transport::Counter dropped;        // messages
  transport::Counter dropped_bytes;  // of those
  transport::Counter first_dropped;  // sequence; with none: 0
  transport::Counter last_dropped;   // the same
  uint64_t untold = 0;               // dropped since the last record
  bool down = false;                 // guarded by the publisher's mutex: the other side is gone

 private:
  transport::WriteResult WriteTelling(std::span<const std::byte> record, uint8_t flags,
                                      std::span<std::byte> scratch);
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBSUB_OUTBOUND_LINK_H_
