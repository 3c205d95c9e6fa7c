#include "broker/keeper/realm.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "broker/keeper/limits.h"
#include "transport/log.h"

namespace ivmq::broker {
namespace {

using transport::AttachServer;
using transport::ErrnoStatus;
using transport::ListeningSocket;
using transport::MemfdDevice;
using transport::Result;
using transport::Status;
using transport::UniqueFd;

constexpr uint64_t kFirstGeneration = 1;
// Files of the keeper that belong to no VM: sockets, regions, processes on the node sockets.
constexpr uint64_t kOtherFiles = 256;

Result<UniqueFd> Duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return ErrnoStatus(errno, "cannot duplicate a file descriptor");
  return copy;
}

// RFC 9562, version 4.
template <class Uuid>
bool FillUuid(Uuid* uuid) {
  if (getrandom(uuid->data(), uuid->size(), 0) != static_cast<ssize_t>(uuid->size())) return false;
  (*uuid)[6] = static_cast<uint8_t>(((*uuid)[6] & 0x0f) | 0x40);
  (*uuid)[8] = static_cast<uint8_t>(((*uuid)[8] & 0x3f) | 0x80);
  return true;
}

}  // namespace

Realm::Realm(const Shared& shared, uint32_t index, const RealmConfig& config)
    : loop_(shared.loop), budget_(shared.budget), index_(index), config_(config) {}

Realm::~Realm() = default;

Result<std::unique_ptr<Realm>> Realm::Open(const Shared& shared, uint32_t index,
                                           const RealmConfig& config) {
  std::unique_ptr<Realm> realm(new Realm(shared, index, config));
  // The sockets first: they are refused before 256 MiB are set aside.
  if (Status status = realm->Listen(shared.access); !status.ok()) return status;
  if (Status status = realm->CreateMemory(); !status.ok()) return status;
  return realm;
}

Status Realm::Listen(const transport::SocketAccess& access) {
  transport::SocketAccess vm_access = access;
  if (config_.vm_socket_group) vm_access.group = config_.vm_socket_group;
  for (const std::string& path : config_.vm_sockets) {
    auto socket = ListeningSocket::Open(path, transport::UnixSocketType::kStream, vm_access);
    if (!socket.ok()) return socket.status();
    vm_sockets_.push_back(std::move(socket).value());
  }
  auto socket =
      ListeningSocket::Open(config_.node_socket, transport::UnixSocketType::kSeqpacket, access);
  if (!socket.ok()) return socket.status();
  node_socket_ = std::move(socket).value();
  return {};
}

Status Realm::CreateMemory() {
  const auto pages =
      config_.huge_pages ? transport::RegionPages::kHuge : transport::RegionPages::kNow;
  auto region = transport::CreateRegionMemfd("ivmq-" + config_.name, config_.region_bytes, pages);
  if (!region.ok()) return region.status();
  region_ = std::move(region).value();
  auto vectors = transport::CreateEventfds(config_.vectors);
  if (!vectors.ok()) return vectors.status();
  host_vectors_ = std::make_shared<const std::vector<UniqueFd>>(std::move(vectors).value());
  info_.region_bytes = config_.region_bytes;
  info_.generation = kFirstGeneration;
  info_.realm_name = config_.name;
  info_.vectors = config_.vectors;
  if (!FillUuid(&info_.uuid)) return ErrnoStatus(errno, "getrandom");
  IvshmemServer::Options options;
  options.vectors = config_.vectors;
  server_ = std::make_unique<IvshmemServer>(loop_, budget_, options, region_.get(), host_vectors_,
                                            static_cast<IvshmemObserver*>(this));
  return {};
}

KeeperEvent Realm::NewEvent(KeeperEventKind kind) const {
  KeeperEvent event{};
  event.kind = kind;
  event.realm = index_;
  return event;
}

void Realm::Introduce(ControlLink* control) {
  control_ = control;
  KeeperEvent event = NewEvent(KeeperEventKind::kRealm);
  std::copy(info_.uuid.begin(), info_.uuid.end(), event.uuid);
  config_.name.copy(event.name, sizeof event.name - 1);
  event.region_bytes = config_.region_bytes;
  event.vectors = config_.vectors;
  event.generation = info_.generation;
  event.flag = serving_ ? 0 : 1;
  control_->Send(event, {{region_.get()}, nullptr});
  control_->SendDoorbells(index_, kHostPeer, host_vectors_);
  for (const PeerInfo& peer : server_->peers()) AnnouncePeer(peer);
}

void Realm::LoseControl(const Status& reason) {
  control_ = nullptr;
  if (nodes_ != nullptr) nodes_->Refuse(reason);
}

Status Realm::Serve(uint32_t max_peers) {
  if (serving_) return {};
  serving_ = true;
  WarnOfOpenFileLimit(max_peers);
  server_->set_max_peers(max_peers);
  for (uint32_t i = 0; i < vm_sockets_.size(); ++i) {
    vm_listeners_.push_back(std::make_unique<Listener>(
        loop_, vm_sockets_[i].fd(),
        [this, i](UniqueFd connection) { server_->Accept(std::move(connection), i); },
        [this] { server_->Refuse(RefusalReason::kOutOfFds); }));
  }
  return ServeNodes();
}

Status Realm::ServeNodes() {
  MemfdDevice::Parts parts;
  auto region = Duplicate(region_.get());
  auto listener = Duplicate(node_socket_.fd());
  if (!region.ok()) return region.status();
  if (!listener.ok()) return listener.status();
  parts.region = std::move(region).value();
  for (const UniqueFd& vector : *host_vectors_) {
    auto copy = Duplicate(vector.get());
    if (!copy.ok()) return copy.status();
    parts.vectors.push_back(std::move(copy).value());
  }
  auto device = MemfdDevice::Open(std::move(parts));
  if (!device.ok()) return device.status();
  AttachServer::Options options;
  options.realm = info_;
  // Vector 0 is control's own; with a single vector everyone shares it.
  options.first_vector = config_.vectors > 1 ? 1 : 0;
  options.last_vector = config_.vectors - 1;
  options.first_connection_id = (uint64_t{index_} << 48) + 1;  // unique over realms
  auto server = AttachServer::Create(
      std::move(listener).value(), std::move(device).value(), options,
      {[this](AttachServer::Client node) { OnNodeAttached(std::move(node)); },
       [this](uint64_t connection, AttachServer::Gone how) { OnNodeGone(connection, how); }});
  if (!server.ok()) return server.status();
  nodes_ = std::move(server).value();
  nodes_watch_ =
      transport::FdWatch(loop_, nodes_->fd(), EPOLLIN, [this](uint32_t) { nodes_->Process(); });
  return {};
}

void Realm::StopListening() {
  vm_listeners_.clear();
  vm_sockets_.clear();
  node_socket_.Close();
  if (nodes_ != nullptr) nodes_->Refuse(Status(transport::Code::kUnavailable, "ivmqd is stopping"));
}

void Realm::WarnOfOpenFileLimit(uint32_t max_peers) const {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const uint64_t needed = uint64_t{max_peers} * (config_.vectors + 1) + kOtherFiles;
  if (needed <= limit.rlim_cur) return;
  const uint64_t enough_for =
      limit.rlim_cur > kOtherFiles ? (limit.rlim_cur - kOtherFiles) / (config_.vectors + 1) : 0;
  LogWarning(
      "realm {}: the limit of {} open files is enough for about {} VMs, and the region has room "
      "for {}; raise LimitNOFILE (ulimit -n) to {}",
      config_.name, limit.rlim_cur, enough_for, max_peers, needed);
}

void Realm::AnnouncePeer(const PeerInfo& peer) {
  if (control_ == nullptr) return;
  control_->SendDoorbells(index_, peer.id, peer.vectors);
  KeeperEvent event = NewEvent(KeeperEventKind::kPeerConnected);
  event.peer = peer.id;
  event.index = peer.socket_index;
  event.pid = peer.process.pid;
  event.uid = peer.process.uid;
  event.gid = peer.process.gid;
  event.start_time = peer.process.start_time;
  event.vectors = config_.vectors;
  // The end of a long path tells more than its beginning.
  const std::string& path = config_.vm_sockets[peer.socket_index];
  const size_t shown = std::min(path.size(), sizeof(event.name) - 1);
  std::copy_n(path.end() - static_cast<ptrdiff_t>(shown), shown, event.name);
  control_->Send(event);
}

void Realm::OnPeerConnected(const PeerInfo& peer) {
  LogInfo("realm {}: peer {} connected (pid {}, uid {}, {})", config_.name, peer.id,
          peer.process.pid, peer.process.uid, config_.vm_sockets[peer.socket_index]);
  AnnouncePeer(peer);
}

void Realm::OnPeerGone(uint32_t id, GoneProof proof) {
  LogInfo("realm {}: peer {} {}", config_.name, id,
          proof == GoneProof::kEof ? "is gone" : "was put out");
  if (control_ == nullptr) return;
  KeeperEvent event = NewEvent(KeeperEventKind::kPeerGone);
  event.peer = id;
  event.proof = proof;
  control_->SendGone(event);
}

void Realm::OnPeerRefused(RefusalReason reason, uint32_t count) {
  if (control_ == nullptr) return;
  KeeperEvent event = NewEvent(KeeperEventKind::kPeerRefused);
  event.value = static_cast<uint64_t>(reason);
  event.count = count;
  control_->SendRefused(event);
}

void Realm::OnNodeAttached(AttachServer::Client node) {
  LogDebug("realm {}: process {} attached as connection {} on vector {}", config_.name,
           node.process.pid, node.connection_id, node.vector);
  // While control is gone the server refuses newcomers by itself.
  if (control_ == nullptr) return;
  KeeperEvent event = NewEvent(KeeperEventKind::kNodeAttached);
  event.connection = node.connection_id;
  event.vector = node.vector;
  event.pid = node.process.pid;
  event.uid = node.process.uid;
  event.gid = node.process.gid;
  event.start_time = node.process.start_time;
  const auto channel = std::make_shared<const UniqueFd>(std::move(node.channel));
  control_->Send(event, {{channel->get()}, channel});
}

void Realm::OnNodeGone(uint64_t connection, AttachServer::Gone how) {
  const bool died = how == AttachServer::Gone::kDied;
  LogDebug("realm {}: connection {}: {}", config_.name, connection,
           died ? "its process has died" : "closed; its process lives");
  if (control_ == nullptr) return;
  KeeperEvent event = NewEvent(KeeperEventKind::kNodeGone);
  event.connection = connection;
  event.proof = died ? GoneProof::kExited : GoneProof::kNone;
  const bool known = control_->SendGone(event);
  if (!known && !died) nodes_->Forget(connection);
}

}  // namespace ivmq::broker
