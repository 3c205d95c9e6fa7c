#include "transport/link_reader.h"

#include <utility>

#include "transport/link_check.h"

namespace ivmq::transport {

Result<LinkReader> LinkReader::Open(std::shared_ptr<Device> device, const LinkAddress& address,
                                    Doorbell producer_doorbell, ringbuf::ConsumerOptions options) {
  const std::span<std::byte> region = device->region();
  Result<ringbuf::RingView> view = RingInRegion(region, address.ring_offset, address.ring_capacity);
  if (!view.ok()) return view.status();
  Result<WakeTarget> producer =
      WakeTarget::Open(region, address.producer, std::move(producer_doorbell));
  if (!producer.ok()) return producer.status();
  Result<ReadyByte*> ready = ReadyByteAt(region, address.consumer.ready_offset, "ready byte");
  if (!ready.ok()) return ready.status();
  return LinkReader(std::move(device), address.link_id, view.value(), options,
                    std::move(producer).value(), address.consumer.ready_offset);
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

bool LinkReader::Arm() {
  // relaxed: the producer sets it again only after it saw the position that Arm() releases, and we
  // look at the ring once more after that.
  ready_->store(0, std::memory_order_relaxed);
  const bool empty = ring_.Arm();
  if (ring_.NeedsSpaceWake()) WakeProducer();
  return empty;
}

bool LinkReader::Peek() {
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
  counters.wakes = wakes_.value();
  counters.doorbells = doorbells_.value();
  return counters;
}

}  // namespace ivmq::transport
