#include "broker/control/control.h"

#include <fmt/core.h>

#include <chrono>
#include <utility>

#include "transport/log.h"

namespace ivmq::control {
namespace {

// Costs whoever came last its place, and nobody else anything.
void WarnOfFileLimit(const std::string& whom) {
  LogWarning("{} is turned away: no file descriptors left; raise LimitNOFILE (ulimit -n) of ivmqd",
             whom);
}

}  // namespace

using broker::GoneProof;
using broker::KeeperEvent;
using broker::KeeperEventKind;
using transport::UniqueFd;

Control::Control(transport::EventLoop* loop, UniqueFd keeper_socket)
    : loop_(loop),
      queries_(&realms_),
      tick_(loop),
      keeper_(
          loop, std::move(keeper_socket),
          [this](const KeeperEvent& event, Fds fds) { OnEvent(event, std::move(fds)); },
          [this](const std::string& why) {
            LogInfo("stopping: {}", why);
            loop_->Stop();
          }) {
  absl::StatusOr<std::unique_ptr<GrpcServer>> grpc = GrpcServer::Start({loop, this, &realms_});
  if (grpc.ok()) {
    grpc_ = *std::move(grpc);
  } else {
    Fail(std::string(grpc.status().message()));
  }
  Tick();
}

Control::~Control() {
  // Sessions of guests end on the loop while their realms are still there.
  grpc_.reset();
}

void Control::Fail(const std::string& why) {
  failure_ = why;
  LogError("{}", why);
  loop_->Stop();
}

void Control::Tick() {
  for (const auto& [index, watch] : watches_) watch->OnTick();
  for (const auto& [index, realm] : realms_) realm->state.NoteReads();
  tick_.Set(std::chrono::seconds(1), [this] { Tick(); });
}

void Control::OnEvent(const KeeperEvent& event, Fds fds) {
  const auto watch = watches_.find(event.realm);
  switch (event.kind) {
    case KeeperEventKind::kHello:
      return OnHello(event, std::move(fds));
    case KeeperEventKind::kRealm:
      return OnRealm(event, std::move(fds));
    case KeeperEventKind::kDoorbells:
      return OnDoorbells(event, std::move(fds));
    case KeeperEventKind::kPeerConnected:
      if (watch != watches_.end()) watch->second->OnConnected(event);
      return;
    case KeeperEventKind::kPeerGone:
      if (watch != watches_.end()) watch->second->OnGone(event.peer, event.proof);
      return;
    case KeeperEventKind::kNodeAttached:
      return OnNodeAttached(event, std::move(fds));
    case KeeperEventKind::kNodeGone:
      return OnNodeGone(event);
    case KeeperEventKind::kAdminConnected:
      return OnAdminConnected(event, std::move(fds));
    case KeeperEventKind::kPeerRefused:
      return OnRefused(event);
    case KeeperEventKind::kReady:
    case KeeperEventKind::kCommandDone:
      return;
  }
  LogWarning("the keeper told of something unknown ({})", static_cast<uint32_t>(event.kind));
}

void Control::OnHello(const KeeperEvent& event, Fds fds) {
  if (event.value != broker::kKeeperProtocolVersion) {
    return Fail(
        fmt::format("the keeper speaks version {} of its protocol, control version {}; "
                    "install both from one package",
                    event.value, broker::kKeeperProtocolVersion));
  }
  keeper_.ContinueFrom(event.number);
  if (!fds.empty()) journal_ = std::move(fds.front());
}

void Control::OnRealm(const KeeperEvent& event, Fds fds) {
  if (fds.size() != 1) return Fail("the keeper announced a realm without its region");
  opening_.emplace(event.realm, RealmOpener(event, std::move(fds.front())));
}

void Control::OnDoorbells(const KeeperEvent& event, Fds fds) {
  if (const auto opening = opening_.find(event.realm); opening != opening_.end()) {
    if (event.peer != 0) return;
    if (fds.size() != event.count) return Fail("no file descriptors left for a realm's doorbells");
    if (opening->second.AddDoorbells(std::move(fds))) OpenRealm(event.realm);
    return;
  }
  const auto watch = watches_.find(event.realm);
  if (watch == watches_.end()) return;
  if (fds.size() != event.count) {
    WarnOfFileLimit(fmt::format("peer {}", event.peer));
    return keeper_.SendEvictPeer(event.realm, event.peer);
  }
  watch->second->OnDoorbells(event.peer, std::move(fds));
}

void Control::OpenRealm(uint32_t index) {
  auto opener = opening_.extract(index);
  absl::StatusOr<std::unique_ptr<Realm>> realm = opener.mapped().Open(loop_, &ids_);
  if (!realm.ok()) return keeper_.SendRefused(index, std::string(realm.status().message()));
  PeerWatch::Hooks hooks;
  hooks.on_stream = [this](UniqueFd socket, const AgentKey& key) {
    if (grpc_ != nullptr) grpc_->AddAgent(std::move(socket), key);
  };
  hooks.on_no_slot = [this, index](uint32_t peer) { keeper_.SendEvictPeer(index, peer); };
  absl::StatusOr<std::unique_ptr<PeerWatch>> watch =
      PeerWatch::Create(loop_, realm->get(), std::move(hooks));
  if (!watch.ok()) return keeper_.SendRefused(index, std::string(watch.status().message()));
  const RealmState& state = (*realm)->state;
  LogInfo("realm \"{}\": {} bytes, {} vectors, room for {} VMs", state.name,
          state.info.region_bytes, state.info.vectors, state.info.peer_slots);
  realms_[index] = *std::move(realm);
  watches_[index] = *std::move(watch);
  watches_[index]->OnTick();
  keeper_.SendRealmReady(index, state.info.peer_slots);
}

void Control::OnNodeAttached(const KeeperEvent& event, Fds fds) {
  const auto realm = realms_.find(event.realm);
  if (realm == realms_.end()) return;
  // The keeper's channel has closed with the descriptor that was lost: the process reads its end.
  if (fds.size() != 1) return WarnOfFileLimit(fmt::format("process {}", event.pid));
  Origin origin;
  origin.pid = event.pid;
  origin.uid = event.uid;
  origin.gid = event.gid;
  origin.start_time = event.start_time;
  origin.vector = event.vector;
  origin.connection_id = event.connection;
  sessions_[{event.realm, event.connection}] =
      std::make_unique<FrameSession>(loop_, realm->second.get(), origin, std::move(fds.front()));
}

void Control::OnNodeGone(const KeeperEvent& event) {
  const auto realm = realms_.find(event.realm);
  if (realm == realms_.end()) return;
  const bool died = event.proof != GoneProof::kNone;
  bool waits = false;  // for the death of its process, with what its node knew
  if (auto session = sessions_.extract({event.realm, event.connection}); !session.empty()) {
    session.mapped()->OnGone(died ? SideEvent::kDied : SideEvent::kLost);
    const uint64_t node_id = session.mapped()->session().node_id();
    waits = realm->second->state.directory.FindNode(node_id) != nullptr;
  } else if (died) {
    Origin process;
    process.connection_id = event.connection;
    realm->second->registry.ProcessDied(process);
  }
  if (!died && !waits) keeper_.SendForgetNode(event.realm, event.connection);
}

void Control::OnAdminConnected(const KeeperEvent& event, Fds fds) {
  if (fds.size() != 1) return WarnOfFileLimit(fmt::format("an operator (process {})", event.pid));
  if (grpc_ != nullptr) grpc_->AddAdmin(std::move(fds.front()));
}

void Control::OnRefused(const KeeperEvent& event) {
  const auto found = realms_.find(event.realm);
  if (found == realms_.end()) return;
  Realm& realm = *found->second;
  switch (static_cast<broker::RefusalReason>(event.value)) {
    case broker::RefusalReason::kIdsExhausted:
      realm.refused_ids_exhausted = event.count;
      return;
    case broker::RefusalReason::kTooManyPeers:
      realm.refused_too_many_peers = event.count;
      return;
    case broker::RefusalReason::kTableOfEvicted:
      realm.refused_table_of_evicted = event.count;
      return;
    case broker::RefusalReason::kOutOfFds:
      realm.refused_out_of_fds = event.count;
      return;
  }
}

absl::Status Control::EvictNode(uint64_t node_id) {
  for (const auto& [index, realm] : realms_) {
    const Node* const node = realm->state.directory.FindNode(node_id);
    if (node != nullptr && !node->online) {
      return absl::FailedPreconditionError(fmt::format(
          "node {} was evicted or lost before; its memory stays its own until its process ends",
          node_id));
    }
    if (node != nullptr) {
      EvictNodeOf(realm.get(), node_id, "an operator removed this node");
      return absl::OkStatus();
    }
  }
  return absl::NotFoundError(fmt::format("there is no node {}; `ivmq nodes` lists them", node_id));
}

void Control::EvictNodeOf(Realm* realm, uint64_t node_id, const std::string& why) {
  EventSink* sink = realm->state.directory.FindNode(node_id)->sink;
  LogInfo("realm \"{}\": node {} is evicted", realm->state.name, node_id);
  if (sink != nullptr) {
    v1::NodeEvent event;
    event.mutable_evicted()->set_reason(why);
    sink->Send(event, {});
  }
  realm->registry.Leave(node_id, SideEvent::kEvicted);
  realm->survey.OnLeft(node_id);
  if (sink != nullptr) sink->Close();
  for (const auto& [key, session] : sessions_) {
    if (key.first == realm->state.index && session->session().node_id() == node_id) {
      keeper_.SendEvictNode(key.first, key.second);
    }
  }
}

absl::Status Control::EvictPeer(const std::string& realm_name, uint32_t peer_id) {
  const auto selected = queries_.Select(realm_name);
  if (!selected.ok()) return selected.status();
  if (peer_id == 0) {
    return absl::InvalidArgumentError("peer 0 is this host; evict its nodes instead");
  }
  if (realm_name.empty() && selected->size() > 1) {
    return absl::InvalidArgumentError("there are several realms: name the one that is meant");
  }
  for (Realm* realm : *selected) {
    if (const auto out = realm->state.put_out.find(peer_id); out != realm->state.put_out.end()) {
      return absl::FailedPreconditionError(
          fmt::format("peer {} was evicted before; it goes when its QEMU (pid {}) ends", peer_id,
                      out->second.pid));
    }
    const auto peer = realm->state.peers.find(peer_id);
    if (peer == realm->state.peers.end()) continue;
    peer->second.evicted = true;
    std::vector<uint64_t> node_ids;
    for (const auto& [id, node] : realm->state.directory.nodes()) {
      if (node.peer_id == peer_id && node.online) node_ids.push_back(id);
    }
    for (const uint64_t id : node_ids) {
      EvictNodeOf(realm, id, "an operator removed this machine");
    }
    keeper_.SendEvictPeer(realm->state.index, peer_id);
    return absl::OkStatus();
  }
  return absl::NotFoundError(fmt::format("there is no peer {}; `ivmq peers` lists them", peer_id));
}

}  // namespace ivmq::control
