#include "transport/link_writer.h"

#include <utility>

#include "transport/link_check.h"

namespace ivmq::transport {

Result<LinkWriter> LinkWriter::Open(std::shared_ptr<Device> device, const LinkAddress& address,
                                    Doorbell consumer_doorbell) {
  const std::span<std::byte> region = device->region();
  Result<ringbuf::RingView> view = RingInRegion(region, address.ring_offset, address.ring_capacity);
  if (!view.ok()) return view.status();
  Result<WakeTarget> consumer =
      WakeTarget::Open(region, address.consumer, std::move(consumer_doorbell));
  if (!consumer.ok()) return consumer.status();
  Result<ReadyByte*> space = ReadyByteAt(region, address.producer.ready_offset, "space byte");
  if (!space.ok()) return space.status();
  return LinkWriter(std::move(device), address.link_id, view.value(), std::move(consumer).value(),
                    space.value());
}

LinkWriter::LinkWriter(std::shared_ptr<Device> device, uint64_t link_id,
                       const ringbuf::RingView& view, WakeTarget consumer, ReadyByte* space_ready)
    : ring_(view),
      device_(std::move(device)),
      link_id_(link_id),
      descriptor_(view.descriptor),
      consumer_(std::move(consumer)),
      space_ready_(space_ready) {}

bool LinkWriter::ArmSpace(size_t bytes) {
  // relaxed: the consumer sets it again only after it saw the position that ArmSpace() releases,
  // and we look at the consumer's position once more after that.
  space_ready_->store(0, std::memory_order_relaxed);
  const bool answered = ring_.ArmSpace(bytes);
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
  const uint64_t released = descriptor_->records_released.load(std::memory_order_relaxed);
  counters.records_in_flight = released <= counters.records ? counters.records - released : 0;
  counters.wakes = wakes_.value();
  counters.doorbells = doorbells_.value();
  return counters;
}

}  // namespace ivmq::transport
