#ifndef IVMQ_BROKER_CONTROL_PEER_WATCH_H_
#define IVMQ_BROKER_CONTROL_PEER_WATCH_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/control/agent_streams.h"
#include "broker/control/realm.h"
#include "broker/keeper_protocol.h"
#include "transport/event_loop.h"
#include "transport/stream_loop.h"
#include "transport/unique_fd.h"
#include "transport/wake.h"

namespace ivmq::control {

// Watches the machines of a realm: gives each its entry in the peer table, finds the hello of its
// agent there, sets up the agent's stream, and sees whether the agent's heart beats. Everything in
// the entries is hostile: each word is loaded once and checked.
// One thread, the loop's; one StreamLoop thread beside it once there is an agent.
class PeerWatch {
 public:
  static constexpr std::chrono::seconds kSuspectAfter{3};
  // Between two accepted hellos of a peer, so that a mad agent cannot keep control busy.
  static constexpr std::chrono::milliseconds kAcceptInterval{100};
  // Between two tries to find room for an agent's stream, at most.
  static constexpr std::chrono::seconds kMaxPause{10};
  // Agents of a peer that were never proven dead, and streams of one agent that broke; each holds
  // its stream's memory.
  static constexpr size_t kMaxEarlierAgents = 64;
  // The stream of an agent whose VM was put out, for the last that its processes are told.
  static constexpr std::chrono::milliseconds kLastWords{500};

  struct Hooks {
    // A new stream: the near end of its socket, and whose it is.
    std::function<void(transport::UniqueFd, const AgentKey&)> on_stream;
    // No room in the peer table for this one: disconnect it.
    std::function<void(uint32_t peer)> on_no_slot;
  };
  // Without room for control's own WakeBlock it accepts no agents.
  static absl::StatusOr<std::unique_ptr<PeerWatch>> Create(transport::EventLoop* loop, Realm* realm,
                                                           Hooks hooks);
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  // From the keeper. Doorbells come first and in order.
  void OnDoorbells(uint32_t peer, std::vector<transport::UniqueFd> fds);
  void OnConnected(const broker::KeeperEvent& event);
  // kNone: it was put out and may go on writing, so all that it knew stays in use until its end,
  // which the keeper tells of then.
  void OnGone(uint32_t peer, broker::GoneProof proof);

  // Once a second: control's own heartbeat, everyone else's, and hellos whose doorbell was lost.
  void OnTick();
  // Looks for new hellos.
  void ScanHellos();

 private:
  struct Hello {
    uint64_t number = 0;
    BootId boot_id{};
    uint64_t nonce = 0;
    uint64_t echoed_nonce = 0;
    bool interrupts = false;
    uint32_t layout_version = 0;
  };

  PeerWatch(transport::EventLoop* loop, Realm* realm, Hooks hooks);
  transport::PeerEntry* EntryOf(const Peer& peer) const;
  // False if there is no new hello, or it is being written right now.
  bool ReadHello(const Peer& peer, Hello* hello) const;
  // Whether this is the hello that got the stream, which works. An agent that greets anew echoes
  // the nonce that came with it: it may have used the stream, and needs a fresh one.
  static bool HasStream(const Peer& peer, const Hello& hello);
  // Whether it proves that every earlier boot of the peer is dead.
  static bool ProvesReboot(const Peer& peer, const Hello& hello);
  void OnHello(Peer* peer, const Hello& hello);
  bool IsAcceptable(Peer* peer, const Hello& hello);
  // A hello that got no stream.
  bool IsWorthATry(const WaitingHello& waiting) const;
  void LetWait(Peer* peer, const Hello& hello, const absl::Status& why);
  // What the peer's agents before this hello leave behind.
  void EndAgents(Peer* peer, const Hello& hello);
  absl::Status StartAgent(Peer* peer, const Hello& hello);
  absl::Status StartStream(Peer* peer, Agent* agent);
  void StopStream(Agent* agent);
  void OnStreamClosed(uint32_t peer, uint64_t holder, const transport::Status& status);
  void PutOut(Peer peer);
  // Its nodes are told, and leave.
  void TellEvicted(const Peer& peer);
  // All of it is proven dead.
  void Free(Peer* peer);
  void FreeAgents(Peer* peer);
  void RingAgent(const Peer& peer) const;
  void CheckHeartbeat(Peer* peer);
  void SetState(Peer* peer, v1::Peer::State state);

  transport::EventLoop* const loop_;
  Realm* const realm_;
  RealmState* const state_;
  const Hooks hooks_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what is still posted

  uint64_t control_wake_offset_ = 0;
  std::shared_ptr<transport::NodeWake> wake_;
  uint64_t heartbeat_ = 0;
  enum class Slot : uint8_t { kFree, kUsed };  // used also where its VM was put out and may write
  std::vector<Slot> slots_;
  std::map<uint32_t, std::vector<transport::UniqueFd>> early_doorbells_;
  std::map<uint32_t, std::unique_ptr<transport::Timer>> last_words_;  // of those put out
  std::unique_ptr<transport::StreamLoop> streams_;
  transport::Timer rescan_;
  transport::FdWatch rung_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_PEER_WATCH_H_
