#include "sdk/pubsub/outbound_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "transport/message_extension.h"

namespace ivmq::internal {

using transport::WriteResult;

// The largest message must still fit where the one before it was dropped.
static_assert(OutboundLink::kToldBytes <= ringbuf::kMaxInlineExtraBytes);

OutboundLink::OutboundLink(transport::LinkWriter opened, const v1::LinkUp& up)
    : writer(std::move(opened)),
      reliability(up.reliability() == v1::Qos::RELIABILITY_UNSPECIFIED ? v1::Qos::RELIABLE
                                                                       : up.reliability()),
      depth(up.depth()),
      history(up.history()),
      node(up.other_node()),
      peer(up.other_peer_id()) {}

OutboundLink::Outcome OutboundLink::Offer(std::span<const std::byte> record, uint8_t flags,
                                          std::span<std::byte> scratch) {
  WriteResult result = WriteResult::kOk;
  if (untold == 0) [[likely]] {
    result = writer.TryWrite(record, flags);
  } else {
    result = WriteTelling(record, flags, scratch);
  }
  switch (result) {
    case WriteResult::kOk:
      untold = 0;
      return Outcome::kWritten;
    case WriteResult::kCorrupt:
      return Outcome::kCorrupt;
    case WriteResult::kFull:
    case WriteResult::kTooLarge:
      break;
  }
  ++untold;
  const uint64_t sequence = writer.counters().records + dropped.value();
  if (dropped.value() == 0) first_dropped.Add(sequence);
  last_dropped.Add(sequence - last_dropped.value());
  dropped.Add(1);
  writer.MirrorDropped(dropped.value());
  dropped_bytes.Add(record.size());
  full.Add(1);
  writer.Flush();  // What it waits for may be what is staged.
  return Outcome::kDropped;
}

WriteResult OutboundLink::WriteTelling(std::span<const std::byte> record, uint8_t flags,
                                       std::span<std::byte> scratch) {
  if (!writer.HasRoom(record.size() + kToldBytes)) {
    return writer.corrupt() ? WriteResult::kCorrupt : WriteResult::kFull;
  }
  transport::AttributeArray attributes;
  transport::MessageExtension extension;
  size_t own = 0;
  if ((flags & ringbuf::kFlagExtension) != 0) {
    // We wrote it ourselves, a moment ago.
    static_cast<void>(transport::DecodeExtension(record, &attributes, &extension, &own));
  }
  extension.dropped = untold;
  const size_t bytes = transport::ExtensionBytes(extension);
  const std::span<const std::byte> message = record.subspan(own);
  if (bytes + message.size() > scratch.size()) return WriteResult::kTooLarge;
  transport::EncodeExtension(extension, scratch.first(bytes));
  if (!message.empty()) std::memcpy(scratch.data() + bytes, message.data(), message.size());
  return writer.TryWrite(scratch.first(bytes + message.size()), flags | ringbuf::kFlagExtension);
}

uint64_t OutboundLink::overwritten() const {
  const transport::LinkCounters counted = writer.counters();
  return std::min(counted.overwritten, counted.records);
}

PublisherLink OutboundLink::Losses() const {
  PublisherLink losses;
  losses.link_id = writer.link_id();
  losses.node = node;
  losses.peer_id = peer;
  losses.published = writer.counters().records + dropped.value();
  losses.dropped_full = dropped.value();
  losses.first_dropped = first_dropped.value();
  losses.last_dropped = last_dropped.value();
  losses.overwritten = overwritten();
  return losses;
}

v1::LinkCounters OutboundLink::Counters() const {
  const transport::LinkCounters counted = writer.counters();
  v1::LinkCounters counters;
  counters.set_link_id(writer.link_id());
  counters.set_published(counted.records + dropped.value());
  counters.set_published_bytes(counted.bytes + dropped_bytes.value());
  counters.set_doorbells(counted.doorbells);
  counters.set_full(full.value());
  counters.set_dropped_full(dropped.value());
  counters.set_first_dropped_full(first_dropped.value());
  counters.set_last_dropped_full(last_dropped.value());
  return counters;
}

}  // namespace ivmq::internal
