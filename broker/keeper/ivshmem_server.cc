#include "broker/keeper/ivshmem_server.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "broker/keeper/limits.h"
#include "transport/log.h"
#include "transport/memfd_device.h"

namespace ivmq::broker {
namespace {

using transport::UniqueFd;

constexpr int64_t kProtocolVersion = 0;
constexpr std::chrono::milliseconds kFirstRetry{10};
constexpr std::chrono::milliseconds kLongestRetry{500};
// Files that a QEMU has open beside its doorbells.
constexpr uint64_t kOtherFilesOfClient = 64;
constexpr uint32_t kFirstIdWarningPercent = 75;
constexpr uint32_t kIdWarningStepPercent = 5;

const char* Describe(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kIdsExhausted:
      return "all IDs up to 65535 were used; restart ivmqd and the VMs to start over";
    case RefusalReason::kTooManyPeers:
      return "as many VMs are connected as the peer table has room for; a larger region has more";
    case RefusalReason::kTableOfEvicted:
      return "evicted VMs that live on take places in the peer table, and the rest are connected; "
             "end the QEMUs of the evicted (`ivmq peers` has their pids)";
    case RefusalReason::kOutOfFds:
      break;
  }
  return "no file descriptors left; raise LimitNOFILE (ulimit -n)";
}

}  // namespace

struct IvshmemServer::Client {
  explicit Client(transport::EventLoop* loop) : retry(loop) {}

  PeerInfo info;
  UniqueFd socket;
  ClientQueue queue;
  bool blocked = false;  // waits for the socket to become writable
  std::chrono::milliseconds retry_delay = kFirstRetry;
  uint64_t file_limit = 0;  // RLIMIT_NOFILE of the client process; 0 unknown
  bool warned_of_limit = false;
  FdBudget::Account account;
  transport::Timer retry;
  transport::FdWatch watch;
};

IvshmemServer::IvshmemServer(transport::EventLoop* loop, FdBudget* budget, const Options& options,
                             int region_fd, PeerVectors host_vectors, IvshmemObserver* observer)
    : loop_(loop),
      budget_(budget),
      options_(options),
      region_fd_(region_fd),
      host_vectors_(std::move(host_vectors)),
      observer_(observer),
      next_id_(options.first_id) {}

IvshmemServer::~IvshmemServer() = default;

void IvshmemServer::Refuse(RefusalReason reason) {
  const uint32_t count = ++refused_[static_cast<size_t>(reason)];
  // A client that tries again and again must not fill the log.
  if (std::has_single_bit(count)) {
    LogWarning("VM connection refused ({} so far): {}", count, Describe(reason));
  }
  observer_->OnPeerRefused(reason, count);
}

void IvshmemServer::Accept(UniqueFd socket, uint32_t socket_index) {
  if (IsFull()) {
    // Many hang-ups may be known to the kernel and have their turn behind this newcomer.
    RemoveHungUp();
    if (IsFull()) {
      return Refuse(put_out_.empty() ? RefusalReason::kTooManyPeers
                                     : RefusalReason::kTableOfEvicted);
    }
  }
  if (next_id_ > transport::kMaxPeerId) return Refuse(RefusalReason::kIdsExhausted);
  auto vectors = transport::CreateEventfds(options_.vectors);
  if (!vectors.ok()) return Refuse(RefusalReason::kOutOfFds);

  const uint32_t id = next_id_;
  auto client = std::make_unique<Client>(loop_);
  client->watch = transport::FdWatch(loop_, socket.get(), EPOLLIN | EPOLLRDHUP,
                                     [this, id](uint32_t events) { OnEvents(id, events); });
  if (!client->watch) return Refuse(RefusalReason::kOutOfFds);
  ++next_id_;
  transport::PeerProcess process;
  if (auto peer = transport::PeerOf(socket.get()); peer.ok()) process = peer.value();
  client->info = {id, socket_index, process,
                  std::make_shared<std::vector<UniqueFd>>(std::move(vectors).value())};
  client->file_limit = OpenFileLimitOf(process.pid);
  client->account.Open(budget_, socket.get());
  client->socket = std::move(socket);

  // The greeting stands in full before its first byte goes out: QEMU waits in realize, monitor
  // included, until it has the region.
  ClientQueue& greeting = client->queue;
  greeting.PushValue(kProtocolVersion);
  greeting.PushValue(id);
  greeting.PushRegion(region_fd_);
  greeting.PushPeer(kHostPeer, host_vectors_);
  for (const auto& [other, existing] : clients_) {
    greeting.PushPeer(other, existing->info.vectors);
  }
  greeting.PushPeer(id, client->info.vectors);

  observer_->OnPeerConnected(client->info);
  for (const auto& [other, existing] : clients_) {
    existing->queue.PushPeer(id, client->info.vectors);
    Flush(existing.get());
  }
  Client* const newcomer = client.get();
  clients_.emplace(id, std::move(client));
  Flush(newcomer);
  WarnOfFileLimits();
  WarnOfIds();
}

bool IvshmemServer::IsFull() const {
  return clients_.size() + put_out_.size() >= options_.max_peers;
}

void IvshmemServer::RemoveHungUp() {
  std::vector<pollfd> sockets;
  std::vector<uint32_t> ids;
  for (const auto* book : {&clients_, &put_out_}) {
    for (const auto& [id, client] : *book) {
      sockets.push_back({client->socket.get(), 0, 0});  // a hang-up comes unasked
      ids.push_back(id);
    }
  }
  if (poll(sockets.data(), sockets.size(), 0) <= 0) return;
  for (size_t i = 0; i < sockets.size(); ++i) {
    if ((sockets[i].revents & (POLLHUP | POLLERR)) != 0) OnEvents(ids[i], EPOLLHUP);
  }
}

void IvshmemServer::Flush(Client* client) {
  if (client->blocked || client->retry.is_set()) return;
  while (!client->queue.empty()) {
    if (client->queue.NextIsVector() && !client->account.MaySend()) return FlushLater(client);
    switch (client->queue.SendOne(client->socket.get())) {
      case ClientQueue::Step::kSent:
        client->account.Sent();
        client->retry_delay = kFirstRetry;
        break;
      case ClientQueue::Step::kFull:
        client->blocked = true;
        client->watch.SetEvents(EPOLLIN | EPOLLRDHUP | EPOLLOUT);
        return;
      case ClientQueue::Step::kLater:
        return FlushLater(client);
      case ClientQueue::Step::kBroken:
        // Its hang-up is about to be reported, or has been; nothing more can be sent until then.
        client->blocked = true;
        return;
    }
  }
}

void IvshmemServer::FlushLater(Client* client) {
  const auto delay = client->retry_delay;
  client->retry_delay = std::min(delay * 2, kLongestRetry);
  client->retry.Set(delay, [this, client] { Flush(client); });
}

void IvshmemServer::OnEvents(uint32_t id, uint32_t events) {
  const bool hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if (const auto outcast = put_out_.find(id); outcast != put_out_.end()) {
    // What else was reported before it was put out, and comes only now, proves nothing.
    if (!hung_up) return;
    put_out_.erase(outcast);
    return observer_->OnPeerGone(id, GoneProof::kEof);
  }
  Client& client = *clients_.at(id);
  if (hung_up) {
    Remove(id, GoneProof::kEof);
    return;
  }
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) {
    // It wrote, or shut down its sending half only. Neither is an ivshmem client; both may live.
    LogWarning("peer {} (pid {}) broke the ivshmem protocol: a client never writes", id,
               client.info.process.pid);
    return PutOut(id);
  }
  if ((events & EPOLLOUT) != 0) {
    client.blocked = false;
    client.watch.SetEvents(EPOLLIN | EPOLLRDHUP);
    Flush(&client);
  }
}

std::unique_ptr<IvshmemServer::Client> IvshmemServer::Remove(uint32_t id, GoneProof proof) {
  std::unique_ptr<Client> gone = std::move(clients_.extract(id).mapped());
  for (const auto& [other, client] : clients_) {
    client->queue.PushGone(id);
    Flush(client.get());
  }
  observer_->OnPeerGone(id, proof);
  return gone;
}

void IvshmemServer::PutOut(uint32_t id) {
  if (!clients_.at(id)->queue.RegionIsOut()) {
    // It maps nothing that it could write to, and QEMU would wait for the region for ever.
    Remove(id, GoneProof::kEof);
    return;
  }
  std::unique_ptr<Client> client = Remove(id, GoneProof::kNone);
  client->queue = ClientQueue();
  client->retry.Reset();
  client->info.vectors.reset();
  client->watch.SetEvents(0);  // a hang-up comes unasked
  put_out_.emplace(id, std::move(client));
}

bool IvshmemServer::Evict(uint32_t id) {
  if (!clients_.contains(id)) return false;
  PutOut(id);
  return true;
}

void IvshmemServer::WarnOfFileLimits() {
  const uint64_t needed = (clients_.size() + 1) * options_.vectors + kOtherFilesOfClient;
  for (const auto& [id, client] : clients_) {
    if (client->warned_of_limit || client->file_limit == 0 || needed <= client->file_limit) {
      continue;
    }
    client->warned_of_limit = true;
    LogWarning(
        "peer {} (pid {}) may open {} files but needs about {} for the doorbells of {} peers: it "
        "cannot ring those beyond; raise its RLIMIT_NOFILE (libvirt: max_files in qemu.conf)",
        id, client->info.process.pid, client->file_limit, needed, clients_.size() + 1);
  }
}

void IvshmemServer::WarnOfIds() {
  const uint32_t last = next_id_ - 1;
  const uint32_t percent = last * 100 / transport::kMaxPeerId;
  const uint32_t step = percent - percent % kIdWarningStepPercent;
  if (step < kFirstIdWarningPercent || step <= warned_percent_) return;
  warned_percent_ = step;
  LogWarning(
      "{} of {} IDs were given out, one for each connection of a VM: is one restarting all the "
      "time? After the last, VMs are refused until ivmqd and the VMs were restarted",
      last, transport::kMaxPeerId);
}

uint32_t IvshmemServer::refused(RefusalReason reason) const {
  return refused_[static_cast<size_t>(reason)];
}

std::vector<PeerInfo> IvshmemServer::peers() const {
  std::vector<PeerInfo> all;
  all.reserve(clients_.size());
  for (const auto& [id, client] : clients_) all.push_back(client->info);
  return all;
}

}  // namespace ivmq::broker
