#ifndef IVMQ_BROKER_CONTROL_STREAM_MEMORY_H_
#define IVMQ_BROKER_CONTROL_STREAM_MEMORY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "broker/control/peer_book.h"
#include "broker/control/realm_state.h"

// The memory of an agent's stream. One thread, the state's.

namespace ivmq::control {

inline constexpr uint64_t kStreamRingBytes = 64 << 10;

// Two fresh rings, ready bytes and the agent's WakeBlock, held by both sides; `agent_holder` is the
// agent's. RESOURCE_EXHAUSTED as Arena::Allocate(); nothing is held then.
absl::StatusOr<StreamMemory> AllocateStream(RealmState* state, uint64_t agent_holder,
                                            uint64_t control_wake_offset);
// Control touches it no more. REQUIRES: its end of the stream is closed.
void LetGoOfStream(RealmState* state, const StreamMemory& memory);
// The agent is proven dead, and control has let go: all of it is free.
void FreeStream(RealmState* state, uint64_t agent_holder, const StreamMemory& memory);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_STREAM_MEMORY_H_
