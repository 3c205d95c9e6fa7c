#ifndef IVMQ_BROKER_KEEPER_LISTENER_H_
#define IVMQ_BROKER_KEEPER_LISTENER_H_

#include <functional>

#include "transport/event_loop.h"
#include "transport/unique_fd.h"

namespace ivmq::broker {

// Accepts connections on a listening socket and hands them on. When the process is out of file
// descriptors it accepts and closes with one that it holds in reserve, so that a listener neither
// stops nor spins. One thread, the event loop's.
class Listener {
 public:
  using OnConnection = std::function<void(transport::UniqueFd)>;
  using OnLost = std::function<void()>;

  // `socket` is borrowed; connections come non-blocking and close-on-exec.
  Listener(transport::EventLoop* loop, int socket, OnConnection on_connection, OnLost on_lost);

 private:
  void Accept();
  bool ShedOne();

  transport::EventLoop* loop_;
  int socket_;
  OnConnection on_connection_;
  OnLost on_lost_;
  transport::UniqueFd reserve_;
  transport::Timer pause_;
  transport::FdWatch watch_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_LISTENER_H_
