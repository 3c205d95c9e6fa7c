#ifndef IVMQ_TRANSPORT_UNIX_SOCKET_H_
#define IVMQ_TRANSPORT_UNIX_SOCKET_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "transport/status.h"
#include "transport/unique_fd.h"

// Listening and connecting on UNIX sockets by path, and who is at the other end.
// All functions may be called from any thread.

namespace ivmq::transport {

enum class UnixSocketType { kStream, kSeqpacket };

// Binds `path` and listens; the fd is non-blocking and close-on-exec. `mode` is set before anyone
// can connect.
//
// A socket that somebody listens on is refused (ALREADY_EXISTS, naming the pid), one that nobody
// holds any more is replaced, and so is nothing else: a file that is no socket is refused. To
// look, no connection is made, so a live server of ours never notices. `path`.lock serialises
// starters and holds the pid of the last listener; without one it is removed.
Result<UniqueFd> ListenUnix(const std::string& path, UnixSocketType type, mode_t mode = 0660,
                            int backlog = 128);

// Once the listener that this process had at `path` has gone: removes its `path`.lock, unless
// another starter is at it or has listened there since.
void RemoveStartersLock(const std::string& path);

// One attempt to connect, without blocking for longer than until `deadline` (a listener whose
// backlog is full is tried again). NOT_FOUND: no such path. UNAVAILABLE: nobody listens.
// PERMISSION_DENIED. DEADLINE_EXCEEDED. The fd is non-blocking and close-on-exec.
Result<UniqueFd> ConnectUnix(const std::string& path, UnixSocketType type,
                             std::chrono::steady_clock::time_point deadline);

// A process as the kernel vouches for it. (pid, start_time) is unique until reboot.
struct PeerProcess {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t start_time = 0;  // clock ticks since boot; 0 if the process has gone already
};
// Who connected this socket (on an accepted one), or who listens (on a connected one).
Result<PeerProcess> PeerOf(int socket);
// A pidfd: readable once that very process has ended, all of its threads. NOT_FOUND if it has
// already; otherwise the kernel's reason (INVALID_ARGUMENT for a process of another PID namespace).
Result<UniqueFd> OpenProcess(const PeerProcess& process);
// Field 22 of /proc/PID/stat; 0 if there is no such process.
uint64_t ProcessStartTime(pid_t pid);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_UNIX_SOCKET_H_
