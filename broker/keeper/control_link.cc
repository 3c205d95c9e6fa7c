#include "broker/keeper/control_link.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <span>
#include <utility>

#include "transport/fd_passing.h"
#include "transport/log.h"

namespace ivmq::broker {
namespace {

constexpr int kCommandsPerWakeup = 64;
constexpr std::chrono::milliseconds kRetry{10};
// Events in the socket, each with up to kMaxDoorbellFds in flight; the rest waits in our queue.
constexpr int kSendBufferBytes = 32 << 10;

}  // namespace

ControlLink::ControlLink(transport::EventLoop* loop, transport::UniqueFd socket,
                         OnCommand on_command, OnClosed on_closed)
    : on_command_(std::move(on_command)),
      on_closed_(std::move(on_closed)),
      socket_(std::move(socket)),
      retry_(loop),
      watch_(loop, socket_.get(), EPOLLIN, [this](uint32_t events) { OnEvents(events); }) {
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
}

void ControlLink::Send(const KeeperEvent& event, Fds fds) {
  if (closed_) return;
  queue_.push_back({event, std::move(fds)});
  Flush();
}

void ControlLink::SendDoorbells(uint32_t realm, uint32_t peer, const PeerVectors& vectors) {
  const auto count = static_cast<uint32_t>(vectors->size());
  for (uint32_t first = 0; first < count; first += kMaxDoorbellFds) {
    KeeperEvent event{};
    event.kind = KeeperEventKind::kDoorbells;
    event.realm = realm;
    event.peer = peer;
    event.value = first;
    event.count = std::min(count - first, kMaxDoorbellFds);
    Fds fds{{}, vectors};
    for (uint32_t i = 0; i < event.count; ++i) {
      fds.numbers.push_back((*vectors)[first + i].get());
    }
    Send(event, std::move(fds));
  }
}

bool ControlLink::Announces(const KeeperEvent& event, const KeeperEvent& gone) {
  if (event.realm != gone.realm) return false;
  if (gone.kind == KeeperEventKind::kNodeGone) {
    return event.kind == KeeperEventKind::kNodeAttached && event.connection == gone.connection;
  }
  return (event.kind == KeeperEventKind::kDoorbells ||
          event.kind == KeeperEventKind::kPeerConnected ||
          event.kind == KeeperEventKind::kPeerGone) &&  // put out, and alive until now
         event.peer == gone.peer;
}

bool ControlLink::StartsAnnouncement(const KeeperEvent& event) {
  return event.kind == KeeperEventKind::kNodeAttached ||
         (event.kind == KeeperEventKind::kDoorbells && event.value == 0);
}

bool ControlLink::SendGone(const KeeperEvent& gone) {
  if (gone.kind == KeeperEventKind::kPeerGone && gone.proof == GoneProof::kNone) {
    Send(gone);
    return true;
  }
  const auto announces = [&gone](const Outgoing& out) { return Announces(out.event, gone); };
  const auto first = std::find_if(queue_.begin(), queue_.end(), announces);
  if (first != queue_.end() && StartsAnnouncement(first->event)) {
    queue_.erase(std::remove_if(first, queue_.end(), announces), queue_.end());
    if (gone.kind == KeeperEventKind::kPeerGone) SendUnheard(gone);
    return false;
  }
  Send(gone);
  return true;
}

void ControlLink::SendUnheard(KeeperEvent gone) {
  gone.flag = 1;
  const auto older = std::find_if(queue_.begin(), queue_.end(), [&gone](const Outgoing& out) {
    return out.event.kind == gone.kind && out.event.realm == gone.realm && out.event.flag == 1;
  });
  if (older == queue_.end()) return Send(gone);
  older->event.peer = std::max(older->event.peer, gone.peer);
}

void ControlLink::SendRefused(const KeeperEvent& refused) {
  const auto older = std::find_if(queue_.begin(), queue_.end(), [&refused](const Outgoing& out) {
    return out.event.kind == refused.kind && out.event.realm == refused.realm &&
           out.event.value == refused.value;
  });
  if (older != queue_.end()) {
    older->event.count = refused.count;
    return;
  }
  Send(refused);
}

void ControlLink::Flush() {
  while (!queue_.empty() && !blocked_ && !retry_.is_set() && !closed_) {
    const Outgoing& out = queue_.front();
    const ssize_t sent = transport::SendWithFds(
        socket_.get(), std::as_bytes(std::span(&out.event, 1)), out.fds.numbers);
    if (sent >= 0) {
      queue_.pop_front();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      blocked_ = true;
      watch_.SetEvents(EPOLLIN | EPOLLOUT);
    } else if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) {
      retry_.Set(kRetry, [this] { Flush(); });
    } else {
      blocked_ = true;  // control is gone: its hang-up is about to be reported
    }
  }
}

void ControlLink::OnEvents(uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    blocked_ = false;
    watch_.SetEvents(EPOLLIN);
    Flush();
  }
  if ((events & EPOLLIN) != 0) ReadCommands();
  if (!closed_ && (events & (EPOLLHUP | EPOLLERR)) != 0 && (events & EPOLLIN) == 0) Close();
}

void ControlLink::ReadCommands() {
  for (int i = 0; i < kCommandsPerWakeup && !closed_; ++i) {
    KeeperCommand command{};
    const ssize_t size = recv(socket_.get(), &command, sizeof command, MSG_DONTWAIT);
    if (size == sizeof command) {
      command.text[sizeof command.text - 1] = '\0';
      on_command_(command);
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (size > 0) {
      LogError("control sent a command of {} bytes where {} were expected", size, sizeof command);
    }
    Close();
  }
}

void ControlLink::Close() {
  closed_ = true;
  queue_.clear();
  watch_.Reset();
  on_closed_();
}

}  // namespace ivmq::broker
