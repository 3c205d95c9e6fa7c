#include "broker/keeper/listener.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "transport/log.h"

namespace ivmq::broker {
namespace {

using transport::UniqueFd;

constexpr int kAcceptsPerWakeup = 64;
constexpr std::chrono::milliseconds kPause{100};

UniqueFd OpenReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Listener::Listener(transport::EventLoop* loop, int socket, OnConnection on_connection,
                   OnLost on_lost)
    : loop_(loop),
      socket_(socket),
      on_connection_(std::move(on_connection)),
      on_lost_(std::move(on_lost)),
      reserve_(OpenReserve()),
      pause_(loop),
      watch_(loop_, socket_, EPOLLIN, [this](uint32_t) { Accept(); }) {}

void Listener::Accept() {
  for (int i = 0; i < kAcceptsPerWakeup; ++i) {
    UniqueFd connection(accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection) {
      on_connection_(std::move(connection));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if ((errno == EMFILE || errno == ENFILE) && ShedOne()) continue;
    // ENOMEM, ENOBUFS, or nothing to shed with: the connection waits in the backlog.
    watch_.SetEvents(0);
    pause_.Set(kPause, [this] { watch_.SetEvents(EPOLLIN); });
    return;
  }
}

bool Listener::ShedOne() {
  if (!reserve_) reserve_ = OpenReserve();
  if (!reserve_) return false;
  reserve_.Reset();
  bool shed;
  {
    const UniqueFd connection(accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC));
    shed = static_cast<bool>(connection);
  }
  reserve_ = OpenReserve();
  if (shed) on_lost_();
  return shed;
}

}  // namespace ivmq::broker
