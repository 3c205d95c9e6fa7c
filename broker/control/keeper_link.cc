#include "broker/control/keeper_link.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>

#include "transport/fd_passing.h"

namespace ivmq::control {

using broker::KeeperCommand;
using broker::KeeperCommandKind;
using broker::KeeperEvent;
using transport::UniqueFd;

namespace {

// How long after the kernel had no memory for a command it is sent again.
constexpr std::chrono::milliseconds kRetry{10};

}  // namespace

KeeperLink::KeeperLink(transport::EventLoop* loop, UniqueFd socket, OnEvent on_event,
                       OnClosed on_closed)
    : on_event_(std::move(on_event)),
      on_closed_(std::move(on_closed)),
      socket_(std::move(socket)),
      watch_(loop, socket_.get(), EPOLLIN, [this](uint32_t events) { OnReady(events); }),
      retry_(loop) {}

void KeeperLink::OnReady(uint32_t events) {
  if ((events & EPOLLOUT) != 0) Flush();
  if (!closed_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) ReadEvents();
}

void KeeperLink::ReadEvents() {
  for (int i = 0; i < kEventsPerTurn && !closed_; ++i) {
    KeeperEvent event{};
    std::vector<UniqueFd> fds;
    const transport::ReceivedWithFds got = transport::ReceiveWithFds(
        socket_.get(), std::as_writable_bytes(std::span(&event, 1)), broker::kMaxDoorbellFds, &fds);
    if (got.bytes < 0) {
      if (got.error == EAGAIN || got.error == EWOULDBLOCK || got.error == EINTR) return;
      return Close(std::strerror(got.error));
    }
    if (got.bytes == 0) return Close("the keeper has closed its end");
    if (got.fds_lost) fds.clear();  // some are of no use without the others
    if (got.truncated || got.bytes != sizeof(event)) return Close("an event of the wrong size");
    on_event_(event, std::move(fds));
  }
}

void KeeperLink::SendRealmReady(uint32_t realm, uint32_t most_vms) {
  KeeperCommand command{};
  command.kind = KeeperCommandKind::kRealmReady;
  command.realm = realm;
  command.peer = most_vms;
  Send(command);
}

void KeeperLink::SendEvictPeer(uint32_t realm, uint32_t peer) {
  KeeperCommand command{};
  command.kind = KeeperCommandKind::kEvictPeer;
  command.realm = realm;
  command.peer = peer;
  Send(command);
}

void KeeperLink::SendEvictNode(uint32_t realm, uint64_t connection) {
  KeeperCommand command{};
  command.kind = KeeperCommandKind::kEvictNode;
  command.realm = realm;
  command.connection = connection;
  Send(command);
}

void KeeperLink::SendForgetNode(uint32_t realm, uint64_t connection) {
  KeeperCommand command{};
  command.kind = KeeperCommandKind::kForgetNode;
  command.realm = realm;
  command.connection = connection;
  Send(command);
}

void KeeperLink::SendRefused(uint32_t realm, const std::string& text) {
  KeeperCommand command{};
  command.kind = KeeperCommandKind::kRefused;
  command.realm = realm;
  std::memcpy(command.text, text.data(), std::min(text.size(), sizeof(command.text) - 1));
  Send(command);
}

void KeeperLink::Send(KeeperCommand command) {
  command.number = next_number_++;
  queue_.push_back(command);
  Flush();
}

void KeeperLink::Flush() {
  while (!queue_.empty() && !closed_ && !retry_.is_set()) {
    const ssize_t sent =
        transport::SendWithFds(socket_.get(), std::as_bytes(std::span(&queue_.front(), 1)), {});
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) watch_.SetEvents(EPOLLIN | EPOLLOUT);
      if (errno == ENOBUFS || errno == ENOMEM) retry_.Set(kRetry, [this] { Flush(); });
      return;  // anything else shows when the socket is read
    }
    queue_.pop_front();
  }
  watch_.SetEvents(EPOLLIN);
}

void KeeperLink::Close(const std::string& why) {
  closed_ = true;
  watch_.Reset();
  retry_.Reset();
  on_closed_(why);
}

}  // namespace ivmq::control
