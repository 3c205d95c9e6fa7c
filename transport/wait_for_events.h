#ifndef IVMQ_TRANSPORT_WAIT_FOR_EVENTS_H_
#define IVMQ_TRANSPORT_WAIT_FOR_EVENTS_H_

#include <sys/epoll.h>

#include <chrono>
#include <ctime>
#include <span>

namespace ivmq::transport {

timespec ToTimespec(std::chrono::nanoseconds duration);

// epoll_wait(2) with nanoseconds: by epoll_pwait2(2), or in two steps where the kernel (before
// Linux 5.11) or a container's filter does not know that. How many events came; 0 also where a
// signal did. REQUIRES: `timeout` is not negative; zero looks and does not wait. Any thread.
int WaitForEvents(int epoll, std::span<epoll_event> events, std::chrono::nanoseconds timeout);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_WAIT_FOR_EVENTS_H_
