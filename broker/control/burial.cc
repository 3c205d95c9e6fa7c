#include "broker/control/burial.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "broker/control/describe.h"
#include "transport/log.h"

namespace ivmq::control {
namespace {

// Reboots of a peer that are remembered.
constexpr size_t kMaxBuried = 16;

}  // namespace

void Bury(RealmState* state, Peer* peer) {
  BuriedBoots buried;
  const auto note = [&](uint64_t holder) {
    const std::vector<MemoryLedger::Extent> held = state->ledger.HeldBy(holder);
    buried.memory.insert(buried.memory.end(), held.begin(), held.end());
  };
  const auto note_agent = [&](const Agent& agent) {
    note(agent.holder);
    buried.boots.push_back(agent.boot_id);
  };
  std::for_each(peer->earlier_agents.begin(), peer->earlier_agents.end(), note_agent);
  if (peer->agent) note_agent(*peer->agent);
  for (const auto& [id, node] : state->directory.nodes()) {
    if (node.peer_id == peer->id) note(id);
  }
  peer->buried.push_back(std::move(buried));
  if (peer->buried.size() > kMaxBuried) peer->buried.erase(peer->buried.begin());
}

void HeedTheBuried(RealmState* state, Peer* peer, const BootId& boot_id) {
  const auto found =
      std::find_if(peer->buried.begin(), peer->buried.end(), [&](const auto& buried) {
        return std::find(buried.boots.begin(), buried.boots.end(), boot_id) != buried.boots.end();
      });
  if (found == peer->buried.end()) return;
  LogWarning(
      "realm \"{}\": peer {}: boot {} was proven dead and speaks again; the memory that it "
      "knew is not used again, nor is a reboot of this peer believed until its VM is gone",
      state->name, peer->id, BootIdText(boot_id));
  for (const MemoryLedger::Extent& extent : found->memory) state->ledger.Quarantine(extent);
  peer->buried.erase(found);
  peer->buried_alive = true;
}

}  // namespace ivmq::control
