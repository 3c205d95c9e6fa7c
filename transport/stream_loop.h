#ifndef IVMQ_TRANSPORT_STREAM_LOOP_H_
#define IVMQ_TRANSPORT_STREAM_LOOP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "transport/status.h"
#include "transport/stream.h"
#include "transport/unique_fd.h"
#include "transport/waiter.h"
#include "transport/wake.h"

namespace ivmq::transport {

// A thread that pumps any number of streams: one for control, one for an agent. Sleeps on the
// node's vector beside the node's other waiters. Any thread may call; owns the streams.
class StreamLoop {
 public:
  // Called once on the loop's thread when a stream has ended by itself (OK: in good order), and
  // not after Remove() returned. It may call Add() and Remove(). It runs under the loop's lock:
  // it must not wait for a thread that calls the loop.
  using OnClosed = std::function<void(const Status&)>;

  static Result<std::unique_ptr<StreamLoop>> Start(std::shared_ptr<NodeWake> node);
  // Closes all streams, without OnClosed, and joins.
  ~StreamLoop();
  StreamLoop(const StreamLoop&) = delete;
  StreamLoop& operator=(const StreamLoop&) = delete;

  // Starts to pump. Returns a handle for Remove(), never 0.
  uint64_t Add(UniqueFd socket, StreamLinks links, OnClosed on_closed);
  // Closes the socket and lets go of the links: when this returns, nothing touches their memory.
  // Harmless if the stream has ended.
  void Remove(uint64_t handle);

  size_t size() const;

 private:
  struct Stream {
    std::unique_ptr<StreamPump> pump;
    OnClosed on_closed;
  };

  StreamLoop(std::unique_ptr<Waiter> waiter, UniqueFd epoll);
  void Run();
  void RunOnce();
  void Reap();
  bool AnyWork(Look look);

  // Constant after construction.
  const std::unique_ptr<Waiter> waiter_;
  const UniqueFd epoll_;  // the waiter's fd and all sockets

  // Held by the loop while it works, not while it sleeps.
  mutable std::recursive_mutex mutex_;
  std::map<uint64_t, Stream> streams_;
  uint64_t next_handle_ = 1;

  mutable std::atomic<int> visitors_{0};  // threads that want the lock
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_STREAM_LOOP_H_
