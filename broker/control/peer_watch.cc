#include "broker/control/peer_watch.h"

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "broker/control/burial.h"
#include "broker/control/check.h"
#include "broker/control/describe.h"
#include "broker/control/status_convert.h"
#include "broker/control/stream_memory.h"
#include "transport/log.h"
#include "transport/region.h"

namespace ivmq::control {

using broker::GoneProof;
using transport::PeerEntry;
using transport::PeerState;
using transport::UniqueFd;

namespace {

// The last whose hello was accepted; null if there was none since the peer was proven to be fresh.
const Agent* LastAgent(const Peer& peer) {
  if (peer.agent) return &*peer.agent;
  return peer.earlier_agents.empty() ? nullptr : &peer.earlier_agents.back();
}

}  // namespace

PeerWatch::PeerWatch(transport::EventLoop* loop, Realm* realm, Hooks hooks)
    : loop_(loop),
      realm_(realm),
      state_(&realm->state),
      hooks_(std::move(hooks)),
      slots_(realm->state.info.peer_slots, Slot::kFree),
      rescan_(loop) {}

PeerWatch::~PeerWatch() { *alive_ = false; }

absl::StatusOr<std::unique_ptr<PeerWatch>> PeerWatch::Create(transport::EventLoop* loop,
                                                             Realm* realm, Hooks hooks) {
  std::unique_ptr<PeerWatch> watch(new PeerWatch(loop, realm, std::move(hooks)));
  const absl::StatusOr<uint64_t> wake = realm->state.ledger.Allocate(
      sizeof(transport::WakeBlock), transport::kCacheLineBytes, realm->state.ids->Next());
  // In a region of an unknown past there is none, and no agent is accepted.
  if (wake.ok()) {
    auto node = transport::NodeWake::Open(realm->state.device, *wake, 0);
    if (!node.ok()) return ToAbsl(node.status());
    watch->control_wake_offset_ = *wake;
    watch->wake_ = std::move(node).value();
  }
  const int vector = realm->state.device->vector_fd(0);
  // Shared with the host's processes on that vector: edge-triggered, never read.
  watch->rung_ = transport::FdWatch(loop, vector, EPOLLIN | EPOLLET,
                                    [w = watch.get()](uint32_t) { w->ScanHellos(); });
  return watch;
}

PeerEntry* PeerWatch::EntryOf(const Peer& peer) const {
  if (!peer.slot) return nullptr;
  return transport::PeerEntryAt(state_->device->region(), state_->info, *peer.slot);
}

void PeerWatch::OnDoorbells(uint32_t peer, std::vector<UniqueFd> fds) {
  std::vector<UniqueFd>& known = early_doorbells_[peer];
  std::move(fds.begin(), fds.end(), std::back_inserter(known));
}

void PeerWatch::OnConnected(const broker::KeeperEvent& event) {
  Peer peer;
  peer.id = event.peer;
  peer.pid = event.pid;
  peer.uid = event.uid;
  peer.socket = event.name[0] != '\0'
                    ? std::string(event.name, strnlen(event.name, sizeof(event.name)))
                    : fmt::format("vm-socket {}", event.index);
  peer.since = Clock::now();
  if (auto doorbells = early_doorbells_.extract(event.peer); !doorbells.empty()) {
    for (UniqueFd& fd : doorbells.mapped()) {
      peer.doorbells.push_back(std::make_shared<const UniqueFd>(std::move(fd)));
    }
  }
  realm_->last_peer_id = std::max(realm_->last_peer_id, event.peer);
  const auto slot = std::find(slots_.begin(), slots_.end(), Slot::kFree);
  if (slot == slots_.end()) {
    LogWarning("realm \"{}\": no room in the peer table for peer {} (pid {}); disconnecting it",
               state_->name, event.peer, event.pid);
    hooks_.on_no_slot(event.peer);
  } else {
    *slot = Slot::kUsed;
    peer.slot = static_cast<uint32_t>(slot - slots_.begin());
    PeerEntry* entry = new (EntryOf(peer)) PeerEntry{};
    entry->peer_id.store(event.peer, std::memory_order_relaxed);
    // release: pairs with the agent's acquire when it looks for its entry.
    entry->state.store(static_cast<uint32_t>(PeerState::kConnected), std::memory_order_release);
  }
  LogInfo("realm \"{}\": peer {} connected (pid {}, uid {})", state_->name, peer.id, peer.pid,
          peer.uid);
  const auto [added, is_new] = state_->peers.insert_or_assign(event.peer, std::move(peer));
  state_->Tell(v1::DiscoveryEvent::ADDED, added->second);
}

void PeerWatch::OnGone(uint32_t peer_id, GoneProof proof) {
  early_doorbells_.erase(peer_id);
  if (peer_id == 0) return;
  realm_->last_peer_id = std::max(realm_->last_peer_id, peer_id);  // it may have come unheard
  last_words_.erase(peer_id);
  auto gone = state_->peers.extract(peer_id);
  if (!gone.empty() && proof == GoneProof::kNone) return PutOut(std::move(gone.mapped()));
  if (gone.empty()) gone = state_->put_out.extract(peer_id);
  if (gone.empty()) return;
  Free(&gone.mapped());
  state_->Tell(v1::DiscoveryEvent::REMOVED, gone.mapped());
}

void PeerWatch::PutOut(Peer peer) {
  LogInfo(
      "realm \"{}\": peer {} was put out; its memory and its place in the peer table stay in use "
      "until its "
      "QEMU (pid {}) ends",
      state_->name, peer.id, peer.pid);
  TellEvicted(peer);
  if (PeerEntry* entry = EntryOf(peer)) {
    entry->state.store(static_cast<uint32_t>(PeerState::kFree), std::memory_order_release);
    entry->peer_id.store(0, std::memory_order_release);
  }
  peer.state = v1::Peer::EVICTED;
  state_->Tell(v1::DiscoveryEvent::CHANGED, peer);
  peer.doorbells.clear();
  const uint32_t id = peer.id;
  state_->put_out.emplace(id, std::move(peer));
  auto timer = std::make_unique<transport::Timer>(loop_);
  timer->Set(kLastWords, [this, id] {
    std::optional<Agent>& agent = state_->put_out.at(id).agent;
    if (agent) StopStream(&*agent);
  });
  last_words_.emplace(id, std::move(timer));
}

// An operator's eviction has told those that were there then, and ended their sessions.
void PeerWatch::TellEvicted(const Peer& peer) {
  v1::NodeEvent event;
  event.mutable_evicted()->set_reason(
      peer.evicted ? "an operator removed this machine"
                   : "the daemon put this machine out; the log of ivmqd says why");
  std::vector<uint64_t> node_ids;
  std::vector<EventSink*> sinks;
  for (const auto& [id, node] : state_->directory.nodes()) {
    if (node.peer_id != peer.id || node.sink == nullptr) continue;
    node.sink->Send(event, {});
    node_ids.push_back(id);
    sinks.push_back(node.sink);
  }
  realm_->registry.LeaveAll(peer.id, peer.evicted ? SideEvent::kEvicted : SideEvent::kLost);
  for (const uint64_t id : node_ids) realm_->survey.OnLeft(id);
  for (EventSink* const sink : sinks) sink->Close();
}

void PeerWatch::Free(Peer* peer) {
  LogInfo("realm \"{}\": peer {} is gone", state_->name, peer->id);
  if (peer->agent) StopStream(&*peer->agent);
  realm_->registry.LeaveAll(peer->id, SideEvent::kDied);
  FreeAgents(peer);
  if (PeerEntry* entry = EntryOf(*peer)) {
    entry->state.store(static_cast<uint32_t>(PeerState::kFree), std::memory_order_release);
    entry->peer_id.store(0, std::memory_order_release);
    slots_[*peer->slot] = Slot::kFree;
  }
}

void PeerWatch::FreeAgents(Peer* peer) {
  if (peer->agent) FreeStream(state_, peer->agent->holder, peer->agent->memory);
  peer->agent.reset();
  for (const Agent& agent : peer->earlier_agents) FreeStream(state_, agent.holder, agent.memory);
  peer->earlier_agents.clear();
}

void PeerWatch::OnTick() {
  auto* header = transport::HeaderOf(state_->device->region());
  header->heartbeat.store(++heartbeat_, std::memory_order_release);
  ScanHellos();
  for (auto& [id, peer] : state_->peers) CheckHeartbeat(&peer);
}

void PeerWatch::ScanHellos() {
  if (wake_ == nullptr) return;
  for (auto& [id, peer] : state_->peers) {
    Hello hello;
    if (ReadHello(peer, &hello)) OnHello(&peer, hello);
  }
  // Nothing is granted to those, but what one of them says may still show that it lives.
  for (auto& [id, peer] : state_->put_out) {
    Hello hello;
    if (ReadHello(peer, &hello)) HeedTheBuried(state_, &peer, hello.boot_id);
  }
}

bool PeerWatch::ReadHello(const Peer& peer, Hello* hello) const {
  const PeerEntry* entry = EntryOf(peer);
  if (entry == nullptr) return false;
  // acquire: pairs with the agent's release, after it has written the fields.
  hello->number = entry->hello.load(std::memory_order_acquire);
  const uint64_t known = peer.agent ? peer.agent->hello : 0;
  if (hello->number == known || hello->number == 0) return false;
  // acquire: the number is looked at again after each of these. That they belong to the next one
  // cannot be seen as long as that is not stored: then it comes, and is read for itself.
  hello->boot_id = {entry->boot_id[0].load(std::memory_order_acquire),
                    entry->boot_id[1].load(std::memory_order_acquire)};
  hello->nonce = entry->nonce.load(std::memory_order_acquire);
  hello->echoed_nonce = entry->echoed_nonce.load(std::memory_order_acquire);
  hello->interrupts = entry->interrupts.load(std::memory_order_acquire) != 0;
  hello->layout_version = entry->layout_version.load(std::memory_order_acquire);
  return entry->hello.load(std::memory_order_relaxed) == hello->number;
}

bool PeerWatch::HasStream(const Peer& peer, const Hello& hello) {
  return peer.agent && peer.agent->stream != 0 && peer.agent->boot_id == hello.boot_id &&
         peer.agent->nonce == hello.nonce && peer.agent->echoed_nonce == hello.echoed_nonce;
}

bool PeerWatch::ProvesReboot(const Peer& peer, const Hello& hello) {
  const Agent* last = LastAgent(peer);
  return last != nullptr && last->boot_id != hello.boot_id &&
         last->session_nonce == hello.echoed_nonce && !peer.buried_alive;
}

void PeerWatch::OnHello(Peer* peer, const Hello& hello) {
  HeedTheBuried(state_, peer, hello.boot_id);
  if (!IsAcceptable(peer, hello)) return;
  if (!HasStream(*peer, hello)) {
    const bool is_new = !peer->waiting || peer->waiting->number != hello.number;
    if (!is_new && !IsWorthATry(*peer->waiting)) return;
    if (is_new) EndAgents(peer, hello);
    const absl::Status started = StartAgent(peer, hello);
    if (!started.ok()) return LetWait(peer, hello, started);
  }
  peer->waiting.reset();
  peer->agent->hello = hello.number;
  // release: pairs with the agent's acquire before it reads the places.
  EntryOf(*peer)->accepted_hello.store(hello.number, std::memory_order_release);
  RingAgent(*peer);
}

bool PeerWatch::IsWorthATry(const WaitingHello& waiting) const {
  return state_->ledger.arena().used_bytes() < waiting.used_bytes || Clock::now() >= waiting.next;
}

void PeerWatch::LetWait(Peer* peer, const Hello& hello, const absl::Status& why) {
  if (!peer->waiting || peer->waiting->number != hello.number) {
    LogWarning("realm \"{}\": peer {}: no stream for its agent: {}; tried again until there is one",
               state_->name, peer->id, why.ToString());
    peer->waiting.emplace().number = hello.number;
  }
  WaitingHello& waiting = *peer->waiting;
  waiting.used_bytes = state_->ledger.arena().used_bytes();
  waiting.pause = std::clamp(2 * waiting.pause, std::chrono::seconds(1), kMaxPause);
  waiting.next = Clock::now() + waiting.pause;
  peer->accepted_at = Clock::now();
}

bool PeerWatch::IsAcceptable(Peer* peer, const Hello& hello) {
  if (Clock::now() - peer->accepted_at < kAcceptInterval) {
    if (!rescan_.is_set()) rescan_.Set(kAcceptInterval, [this] { ScanHellos(); });
    return false;
  }
  std::string why;
  if (hello.layout_version != transport::kLayoutVersion) {
    why = fmt::format("it understands layout version {}, this daemon {}", hello.layout_version,
                      transport::kLayoutVersion);
  } else if (peer->doorbells.empty()) {
    why = "it has no vectors";
  } else if (peer->earlier_agents.size() >= kMaxEarlierAgents && !HasStream(*peer, hello) &&
             !ProvesReboot(*peer, hello)) {
    why = fmt::format("it has taken {} streams, and none is proven unused; {}",
                      peer->earlier_agents.size() + 1,
                      peer->buried_alive ? "restart its VM" : "reboot the guest");
  }
  if (why.empty()) return true;
  if (std::exchange(peer->refused_hello, hello.number) != hello.number) {
    LogWarning("realm \"{}\": peer {}: its agent is refused: {}", state_->name, peer->id, why);
  }
  return false;
}

void PeerWatch::EndAgents(Peer* peer, const Hello& hello) {
  const Agent* last = LastAgent(*peer);
  if (last == nullptr) return;
  if (peer->agent) StopStream(&*peer->agent);
  if (ProvesReboot(*peer, hello)) {
    LogInfo("realm \"{}\": peer {} has rebooted", state_->name, peer->id);
    Bury(state_, peer);
    realm_->registry.LeaveAll(peer->id, SideEvent::kDied);
    FreeAgents(peer);
    return;
  }
  if (last->boot_id != hello.boot_id) {
    LogWarning(
        "realm \"{}\": peer {} says that it has rebooted and cannot prove it; what its last "
        "boot knew stays in use until its VM is gone",
        state_->name, peer->id);
  } else {
    LogInfo("realm \"{}\": peer {}: its agent {}", state_->name, peer->id,
            last->nonce == hello.nonce ? "is back" : "was restarted");
  }
  realm_->registry.LeaveAll(peer->id, SideEvent::kLost);
  if (peer->agent) peer->earlier_agents.push_back(*std::exchange(peer->agent, std::nullopt));
}

absl::Status PeerWatch::StartAgent(Peer* peer, const Hello& hello) {
  Agent agent;
  agent.holder = state_->ids->Next();
  agent.boot_id = hello.boot_id;
  agent.nonce = hello.nonce;
  agent.echoed_nonce = hello.echoed_nonce;
  agent.interrupts = hello.interrupts;
  while (agent.session_nonce == 0) {
    IVMQ_CHECK(getrandom(&agent.session_nonce, sizeof(agent.session_nonce), 0) ==
               sizeof(agent.session_nonce));
  }
  absl::StatusOr<StreamMemory> memory = AllocateStream(state_, agent.holder, control_wake_offset_);
  if (!memory.ok()) return memory.status();
  agent.memory = *memory;
  if (absl::Status started = StartStream(peer, &agent); !started.ok()) {
    LetGoOfStream(state_, agent.memory);
    FreeStream(state_, agent.holder, agent.memory);  // nobody was told of it
    return started;
  }
  PeerEntry* entry = EntryOf(*peer);
  transport::StoreStreamPlaces(agent.memory.places, entry);
  entry->session_nonce.store(agent.session_nonce, std::memory_order_relaxed);
  entry->state.store(static_cast<uint32_t>(PeerState::kGreeted), std::memory_order_release);
  LogInfo("realm \"{}\": peer {}: agent accepted, boot {}, {}", state_->name, peer->id,
          BootIdText(agent.boot_id), agent.interrupts ? "interrupts" : "polling");
  peer->accepted_at = Clock::now();
  peer->heartbeat = entry->heartbeat.load(std::memory_order_relaxed);
  peer->heartbeat_at = Clock::now();
  peer->agent = agent;
  SetState(peer, v1::Peer::READY);
  return absl::OkStatus();
}

absl::Status PeerWatch::StartStream(Peer* peer, Agent* agent) {
  if (streams_ == nullptr) {
    auto loop = transport::StreamLoop::Start(wake_);
    if (!loop.ok()) return ToAbsl(loop.status());
    streams_ = std::move(loop).value();
  }
  transport::StreamOptions options;
  options.side = transport::StreamSide::kControl;
  options.stream_id = peer->id;
  options.other_polls = !agent->interrupts;
  auto links = transport::OpenStream(state_->device, agent->memory.places, options,
                                     transport::Doorbell::CarefulEventfd(peer->doorbells[0]));
  if (!links.ok()) return ToAbsl(links.status());
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return absl::ResourceExhaustedError(fmt::format("socketpair: {}", std::strerror(errno)));
  }
  UniqueFd near_end(ends[0]);
  // Called on the stream loop's thread.
  auto on_closed = [this, alive = alive_, id = peer->id,
                    holder = agent->holder](const transport::Status& status) {
    loop_->Post([this, alive, id, holder, status] {
      if (*alive) OnStreamClosed(id, holder, status);
    });
  };
  agent->stream = streams_->Add(UniqueFd(ends[1]), std::move(links).value(), std::move(on_closed));
  hooks_.on_stream(std::move(near_end), AgentKey{state_->index, peer->id, agent->holder});
  return absl::OkStatus();
}

void PeerWatch::StopStream(Agent* agent) {
  if (agent->stream != 0) streams_->Remove(std::exchange(agent->stream, 0));
  LetGoOfStream(state_, agent->memory);
}

void PeerWatch::OnStreamClosed(uint32_t peer_id, uint64_t holder, const transport::Status& status) {
  const auto found = state_->peers.find(peer_id);
  if (found == state_->peers.end()) return;
  Peer& peer = found->second;
  if (!peer.agent || peer.agent->holder != holder || peer.agent->stream == 0) return;
  LogWarning("realm \"{}\": peer {}: the stream of its agent ended: {}", state_->name, peer_id,
             status.ok() ? "closed" : status.message());
  StopStream(&*peer.agent);
  realm_->registry.LeaveAll(peer_id, SideEvent::kLost);
  SetState(&peer, v1::Peer::CONNECTED);
}

void PeerWatch::RingAgent(const Peer& peer) const {
  if (!peer.doorbells.empty()) transport::Doorbell::CarefulEventfd(peer.doorbells[0]).Ring();
}

void PeerWatch::CheckHeartbeat(Peer* peer) {
  const PeerEntry* entry = EntryOf(*peer);
  if (entry == nullptr || !peer->agent || peer->agent->stream == 0) return;
  const uint64_t beat = entry->heartbeat.load(std::memory_order_relaxed);
  if (beat != peer->heartbeat) {
    peer->heartbeat = beat;
    peer->heartbeat_at = Clock::now();
    return SetState(peer, v1::Peer::READY);
  }
  if (Clock::now() - peer->heartbeat_at > kSuspectAfter) SetState(peer, v1::Peer::SUSPECT);
}

void PeerWatch::SetState(Peer* peer, v1::Peer::State state) {
  const v1::Peer::State before = std::exchange(peer->state, state);
  if (before == state) return;
  state_->Tell(v1::DiscoveryEvent::CHANGED, *peer);
  const bool suspect = state == v1::Peer::SUSPECT;
  if (suspect || before == v1::Peer::SUSPECT) {
    realm_->registry.links()->OnSuspect(peer->id, suspect);
  }
}

}  // namespace ivmq::control
