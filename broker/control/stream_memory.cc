#include "broker/control/stream_memory.h"

#include <new>
#include <optional>

#include "broker/control/check.h"
#include "ringbuf/ring_layout.h"
#include "transport/region.h"
#include "transport/region_layout.h"

namespace ivmq::control {
namespace {

constexpr uint64_t kRingAlignment = alignof(ringbuf::RingDescriptor);

absl::StatusOr<uint64_t> AllocateRing(RealmState* state, uint64_t agent, uint64_t control) {
  const uint64_t bytes = ringbuf::RingBytes(kStreamRingBytes);
  const absl::StatusOr<uint64_t> ring = state->ledger.Allocate(bytes, kRingAlignment, agent);
  if (!ring.ok()) return ring;
  state->ledger.Hold(*ring, control);
  std::byte* memory =
      transport::CheckedRange(state->device->region(), *ring, bytes, kRingAlignment);
  IVMQ_CHECK(memory != nullptr);
  ringbuf::InitializeRing(memory, kStreamRingBytes);
  return ring;
}

absl::StatusOr<uint64_t> AllocateWake(RealmState* state, uint64_t agent) {
  const absl::StatusOr<uint64_t> wake =
      state->ledger.Allocate(sizeof(transport::WakeBlock), transport::kCacheLineBytes, agent);
  if (!wake.ok()) return wake;
  std::byte* memory = transport::CheckedRange(
      state->device->region(), *wake, sizeof(transport::WakeBlock), transport::kCacheLineBytes);
  IVMQ_CHECK(memory != nullptr);
  new (memory) transport::WakeBlock{};
  return wake;
}

}  // namespace

absl::StatusOr<StreamMemory> AllocateStream(RealmState* state, uint64_t agent_holder,
                                            uint64_t control_wake_offset) {
  StreamMemory memory;
  memory.control_holder = state->ids->Next();
  const uint64_t control = memory.control_holder;
  std::vector<ReadyPlace> to_control;
  std::vector<ReadyPlace> to_agent;
  const auto acquire = [&](uint64_t owner, uint64_t setter, std::vector<ReadyPlace>* places) {
    const absl::StatusOr<ReadyPlace> place = state->ready.Acquire(owner, setter);
    if (place.ok()) places->push_back(*place);
    return place.status();
  };
  const auto allocate = [&]() -> absl::Status {
    const auto in = AllocateRing(state, agent_holder, control);
    if (!in.ok()) return in.status();
    const auto out = AllocateRing(state, agent_holder, control);
    if (!out.ok()) return out.status();
    const auto wake = AllocateWake(state, agent_holder);
    if (!wake.ok()) return wake.status();
    for (int i = 0; i < 2; ++i) {
      if (absl::Status s = acquire(control, agent_holder, &to_control); !s.ok()) return s;
      if (absl::Status s = acquire(agent_holder, control, &to_agent); !s.ok()) return s;
    }
    memory.places.to_control_ring_offset = *in;
    memory.places.to_agent_ring_offset = *out;
    memory.places.agent_wake_offset = *wake;
    return absl::OkStatus();
  };
  if (absl::Status status = allocate(); !status.ok()) {
    state->ledger.ReleaseAll(agent_holder);
    state->ledger.ReleaseAll(control);
    for (const ReadyPlace& place : to_control) state->ready.Free(control, agent_holder, place);
    for (const ReadyPlace& place : to_agent) state->ready.Free(agent_holder, control, place);
    return status;
  }
  memory.to_control = {to_control[0], to_control[1]};
  memory.to_agent = {to_agent[0], to_agent[1]};
  memory.places.ring_bytes = kStreamRingBytes;
  memory.places.control_wake_offset = control_wake_offset;
  memory.places.to_control_ready_offset = to_control[0].offset;
  memory.places.to_agent_space_offset = to_control[1].offset;
  memory.places.to_agent_ready_offset = to_agent[0].offset;
  memory.places.to_control_space_offset = to_agent[1].offset;
  return memory;
}

void LetGoOfStream(RealmState* state, const StreamMemory& memory) {
  state->ledger.ReleaseAll(memory.control_holder);
}

void FreeStream(RealmState* state, uint64_t agent_holder, const StreamMemory& memory) {
  state->ledger.ReleaseAll(agent_holder);
  for (const ReadyPlace& place : memory.to_control) {
    state->ready.Free(memory.control_holder, agent_holder, place);
  }
  for (const ReadyPlace& place : memory.to_agent) {
    state->ready.Free(agent_holder, memory.control_holder, place);
  }
}

}  // namespace ivmq::control
