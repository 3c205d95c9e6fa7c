#ifndef IVMQ_BROKER_CONTROL_PEER_BOOK_H_
#define IVMQ_BROKER_CONTROL_PEER_BOOK_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/control/memory_ledger.h"
#include "broker/control/ready_bytes.h"
#include "ivmq/v1/discovery.pb.h"
#include "transport/stream.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

using BootId = std::array<uint64_t, 2>;

// The memory of one agent's stream (transport/stream.h).
struct StreamMemory {
  uint64_t control_holder = 0;  // holds it as long as control's end is open
  transport::StreamPlaces places;
  std::array<ReadyPlace, 2> to_control;  // control looks, the agent sets: ready, space
  std::array<ReadyPlace, 2> to_agent;    // the agent looks, control sets: ready, space
};

// What control knows of the agent in a guest, once its hello was accepted.
struct Agent {
  uint64_t holder = 0;  // of the memory that it was told of; one for each accepted agent
  StreamMemory memory;
  uint64_t hello = 0;
  BootId boot_id{};
  uint64_t nonce = 0;
  uint64_t echoed_nonce = 0;  // in the hello that was accepted
  bool interrupts = false;
  uint64_t session_nonce = 0;
  uint64_t stream = 0;  // handle; 0: it broke
};

// Boots of a guest that were proven dead in guest memory, where a proof can be forged, and the
// memory that they knew: should one of them speak again, none of it is handed out any more.
struct BuriedBoots {
  std::vector<BootId> boots;
  std::vector<MemoryLedger::Extent> memory;
};

// A hello that was good and got no stream, as there was no room or no descriptor: said once, and
// tried again when memory was freed, or ever later.
struct WaitingHello {
  uint64_t number = 0;
  uint64_t used_bytes = 0;  // of the arena, at the last try
  std::chrono::seconds pause{0};
  std::chrono::steady_clock::time_point next;
};

// One machine of a realm.
struct Peer {
  uint32_t id = 0;
  std::optional<uint32_t> slot;  // in the peer table; the host has none
  int32_t pid = 0;
  uint32_t uid = 0;
  std::string socket;
  std::chrono::steady_clock::time_point since;
  std::vector<std::shared_ptr<const transport::UniqueFd>> doorbells;  // the host's: in the device
  std::optional<Agent> agent;
  std::vector<Agent> earlier_agents;  // not proven dead
  std::vector<BuriedBoots> buried;    // oldest first
  bool buried_alive = false;  // one of them spoke: what is said here proves nothing any more
  std::chrono::steady_clock::time_point accepted_at;
  uint64_t refused_hello = 0;  // the last that was refused: said once
  std::optional<WaitingHello> waiting;
  uint64_t heartbeat = 0;
  std::chrono::steady_clock::time_point heartbeat_at;
  v1::Peer::State state = v1::Peer::CONNECTED;
  bool evicted = false;
};

// By ID; the host is 0. One thread.
using PeerBook = std::map<uint32_t, Peer>;

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_PEER_BOOK_H_
