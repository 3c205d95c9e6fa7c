#include "transport/link_writer.h"

#include <algorithm>
#include <utility>

#include "transport/link_check.h"

namespace ivmq::transport {

Result<LinkWriter> LinkWriter::Open(std::shared_ptr<Device> device, const LinkAddress& address,
                                    Doorbell consumer_doorbell) {
  const std::span<std::byte> region = device->region();
  const Result<LinkMemory> memory = LinkMemoryAt(region, address);
  if (!memory.ok()) return memory.status();
  Result<WakeTarget> consumer =
      WakeTarget::Open(region, address.consumer, std::move(consumer_doorbell));
  if (!consumer.ok()) return consumer.status();
  Result<ReadyByte*> space = ReadyByteAt(region, address.producer.ready_offset, "space byte");
  if (!space.ok()) return space.status();
  LinkWriter writer(std::move(device), address.link_id, memory.value().ring,
                    std::move(consumer).value(), space.value());
  if (const auto& slots = memory.value().slots) writer.slots_ = std::make_unique<Slots>(*slots);
  return writer;
}

LinkWriter::LinkWriter(std::shared_ptr<Device> device, uint64_t link_id,
                       const ringbuf::RingView& view, WakeTarget consumer, ReadyByte* space_ready)
    : ring_(view),
      device_(std::move(device)),
      link_id_(link_id),
      descriptor_(view.descriptor),
      consumer_(std::move(consumer)),
      space_ready_(space_ready) {}

WriteResult LinkWriter::WriteSlot(std::span<const std::byte> payload, uint8_t flags) {
  const WriteResult result = slots_->producer.TryWrite(payload, flags);
  if (result == WriteResult::kOk) Count(payload.size());
  return result;
}

WriteResult LinkWriter::ClaimSlot(size_t bytes, uint8_t flags, std::byte** payload) {
  if (bytes > slots_->claim.size()) return WriteResult::kTooLarge;
  slots_->claimed_flags = flags;
  *payload = slots_->claim.data();
  return WriteResult::kOk;
}

void LinkWriter::CommitSlot() {
  // It fits: ClaimSlot() has looked.
  (void)slots_->producer.TryWrite(std::span(slots_->claim).first(claimed_bytes_),
                                  slots_->claimed_flags);
}

uint64_t LinkWriter::capacity() const {
  return slots_ == nullptr ? ring_.capacity()
                           : slots_->producer.depth() * ringbuf::SlotBytes(max_record_bytes());
}

uint64_t LinkWriter::BytesInFlight() {
  if (slots_ == nullptr) return ring_.BytesInFlight();
  // What is in flight beyond the depth has been overwritten; the consumer does not know it yet.
  return std::min(slots_->producer.InFlight(), slots_->producer.depth()) *
         ringbuf::SlotBytes(max_record_bytes());
}

uint64_t LinkWriter::UnreadAtMost() const {
  if (slots_ == nullptr) return ring_.UnreleasedAtMost();
  return std::min(slots_->producer.published(), slots_->producer.depth());
}

bool LinkWriter::ArmSpace(size_t bytes) {
  if (slots_ != nullptr) {
    Flush();
    return true;
  }
  // relaxed: the consumer sets it again only after it saw the position that ArmSpace() releases,
  // and we look at the consumer's position once more after that.
  space_ready_->store(0, std::memory_order_relaxed);
  const bool answered = ring_.ArmSpace(bytes);
  if (ring_.NeedsWake()) Wake();
  return answered;
}

bool LinkWriter::ArmDrained() {
  if (slots_ != nullptr) return true;                 // its reader reports to nobody
  space_ready_->store(0, std::memory_order_relaxed);  // as in ArmSpace()
  const bool answered = ring_.ArmDrained();
  if (ring_.NeedsWake()) Wake();
  return answered;
}

void LinkWriter::Wake() {
  wakes_.Add(1);
  if (consumer_.Wake()) doorbells_.Add(1);
}

LinkCounters LinkWriter::counters() const {
  LinkCounters counters;
  counters.records = records_.value();
  counters.bytes = bytes_.value();
  // The consumer's word, so only a figure. relaxed: nothing hangs on it.
  uint64_t done = 0;
  uint64_t read = 0;
  if (slots_ == nullptr) {
    done = descriptor_->records_released.load(std::memory_order_relaxed);
    read = descriptor_->records_read.load(std::memory_order_relaxed);
  } else {
    counters.overwritten = slots_->descriptor->lost.load(std::memory_order_relaxed);
    done = slots_->descriptor->released.load(std::memory_order_relaxed) + counters.overwritten;
    read = slots_->descriptor->read.load(std::memory_order_relaxed) + counters.overwritten;
  }
  counters.records_in_flight = done <= counters.records ? counters.records - done : 0;
  counters.records_unread = read <= counters.records ? counters.records - read : 0;
  counters.wakes = wakes_.value();
  counters.doorbells = doorbells_.value();
  return counters;
}

}  // namespace ivmq::transport
