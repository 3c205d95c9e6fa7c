#include "transport/wait_for_events.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace ivmq::transport {

timespec ToTimespec(std::chrono::nanoseconds duration) {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {static_cast<time_t>(whole.count()), static_cast<long>((duration - whole).count())};
}

int WaitForEvents(int epoll, std::span<epoll_event> events, std::chrono::nanoseconds timeout) {
  static std::atomic<bool> known{true};
  const timespec time = ToTimespec(timeout);
  const auto most = static_cast<int>(events.size());
  if (known.load(std::memory_order_relaxed)) {
    const int count = ::epoll_pwait2(epoll, events.data(), most, &time, nullptr);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return std::max(count, 0);
    known.store(false, std::memory_order_relaxed);
  }
  pollfd readable{epoll, POLLIN, 0};
  if (timeout.count() > 0 && ::ppoll(&readable, 1, &time, nullptr) <= 0) return 0;
  return std::max(::epoll_wait(epoll, events.data(), most, 0), 0);
}

}  // namespace ivmq::transport
