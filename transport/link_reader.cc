#include "transport/link_reader.h"

#include <utility>

#include "transport/link_check.h"

namespace ivmq::transport {

Result<LinkReader> LinkReader::Open(std::shared_ptr<Device> device, const LinkAddress& address,
                                    Doorbell producer_doorbell, ringbuf::ConsumerOptions options) {
  const std::span<std::byte> region = device->region();
  const Result<LinkMemory> memory = LinkMemoryAt(region, address);
  if (!memory.ok()) return memory.status();
  Result<WakeTarget> producer =
      WakeTarget::Open(region, address.producer, std::move(producer_doorbell));
  if (!producer.ok()) return producer.status();
  Result<ReadyByte*> ready = ReadyByteAt(region, address.consumer.ready_offset, "ready byte");
  if (!ready.ok()) return ready.status();
  LinkReader reader(std::move(device), address.link_id, memory.value().ring, options,
                    std::move(producer).value(), address.consumer.ready_offset);
  if (const auto& slots = memory.value().slots) reader.slots_ = std::make_unique<Slots>(*slots);
  return reader;
}

LinkReader::LinkReader(std::shared_ptr<Device> device, uint64_t link_id,
                       const ringbuf::RingView& view, ringbuf::ConsumerOptions options,
                       WakeTarget producer, uint64_t ready_offset)
    : ring_(view, options),
      device_(std::move(device)),
      link_id_(link_id),
      view_(view),
      producer_(std::move(producer)),
      ready_offset_(ready_offset),
      ready_(reinterpret_cast<ReadyByte*>(device_->region().data() + ready_offset)) {}

ReadResult LinkReader::ReadSlot(RecordView* record) {
  const uint64_t lost_before = slots_->consumer.lost();
  const uint64_t first = slots_->consumer.position();
  const ReadResult result = slots_->consumer.TryRead(slots_->copy.data(), &slots_->message);
  if (const uint64_t lost = slots_->consumer.lost() - lost_before; lost > 0) [[unlikely]]
    CountOverwritten(first, lost);
  if (result != ReadResult::kOk) return result;
  const ringbuf::KeptMessage& message = slots_->message;
  record->data = reinterpret_cast<const std::byte*>(slots_->copy.data());
  record->size = message.size;
  record->flags = message.flags;
  record->sequence = message.sequence;
  records_.Add(1);
  bytes_.Add(message.size);
  return ReadResult::kOk;
}

void LinkReader::CountOverwritten(uint64_t first, uint64_t count) {
  if (overwritten_.value() == 0) first_overwritten_.Add(first);
  last_overwritten_.Add(first + count - 1 - last_overwritten_.value());
  overwritten_.Add(count);
}

uint64_t LinkReader::capacity() const {
  if (slots_ == nullptr) return ring_.capacity();
  return slots_->consumer.depth() * ringbuf::SlotBytes(slots_->consumer.max_message_bytes());
}

bool LinkReader::Arm() {
  // relaxed: the producer sets it again only after it saw the position that Arm() releases, and we
  // look at the ring once more after that.
  ready_->store(0, std::memory_order_relaxed);
  if (slots_ != nullptr) return slots_->consumer.Arm();
  const bool empty = ring_.Arm();
  if (ring_.NeedsSpaceWake()) WakeProducer();
  return empty;
}

bool LinkReader::Peek() {
  if (slots_ != nullptr) return slots_->consumer.HasNext();
  if (ring_.corrupt()) return true;
  using Atomics = ringbuf::StdAtomics;
  const uint64_t position = ring_.position();
  // Pair with SpscProducer::Publish() and MirrorCounters(). Hints: TryRead() looks and checks.
  return Atomics::LoadHeader(view_.data, position & (view_.capacity - 1)) != 0 ||
         Atomics::LoadAcquire(view_.descriptor->tail) > position;
}

void LinkReader::WakeProducer() {
  wakes_.Add(1);
  if (producer_.Wake()) doorbells_.Add(1);
}

LinkCounters LinkReader::counters() const {
  LinkCounters counters;
  counters.bytes = bytes_.value();
  const uint64_t released = released_.value();  // before records_, so that it is never more
  counters.records = records_.value();
  counters.records_in_flight = counters.records - released;
  counters.overwritten = overwritten_.value();
  counters.first_overwritten = first_overwritten_.value();
  counters.last_overwritten = last_overwritten_.value();
  counters.wakes = wakes_.value();
  counters.doorbells = doorbells_.value();
  return counters;
}

}  // namespace ivmq::transport
