#ifndef IVMQ_SDK_AGENT_GREETER_H_
#define IVMQ_SDK_AGENT_GREETER_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "transport/device.h"
#include "transport/event_loop.h"
#include "transport/region.h"
#include "transport/stream.h"

namespace ivmq::agent {

// Finds this machine's entry in the peer table and agrees with control on a stream (steps 2 and 3
// of PeerEntry in transport/region_layout.h). Also shows, once a second, that the agent lives.
//
// The entry may not be there yet, control may be busy or gone, and a doorbell may be lost: all of
// it is tried again with a back-off, from 5 ms up to a second, for as long as it takes.
//
// Threads: the loop's. Keeps the device alive; the loop must outlive it.
class Greeter {
 public:
  struct Identity {
    std::array<uint64_t, 2> boot_id{};  // of this kernel
    uint64_t nonce = 0;                 // random, of this process
    static transport::Result<Identity> OfThisProcess();
  };
  struct Session {
    transport::StreamPlaces places;  // as hostile as the region they came from
    uint64_t nonce = 0;              // session_nonce
  };
  using OnAccepted = std::function<void(const Session&)>;

  Greeter(transport::EventLoop* loop, std::shared_ptr<transport::Device> device,
          const transport::RegionInfo& region, const Identity& identity);
  Greeter(const Greeter&) = delete;
  Greeter& operator=(const Greeter&) = delete;

  // Says a new hello; `on_accepted` is called once, from the loop, when control has accepted it.
  void Start(OnAccepted on_accepted);
  // Control has a new session with someone else in our place, or took our entry away.
  bool Superseded() const;
  // Writes the heartbeat, where we have an entry.
  void Beat();
  // For how long control's own heartbeat has stood still; zero before it was first seen to move.
  transport::EventLoop::Clock::duration ControlSilence();

 private:
  void Step();
  void SayHello();
  bool TakeAnswer();
  void Finish(const Session& session);
  void WatchVector();

  // Constant after construction.
  transport::EventLoop* const loop_;
  const std::shared_ptr<transport::Device> device_;
  const transport::RegionInfo region_;
  const Identity identity_;
  transport::Doorbell doorbell_;  // of peer 0

  transport::PeerEntry* entry_ = nullptr;
  std::optional<uint32_t> slot_;
  uint64_t hello_ = 0;
  uint64_t session_nonce_ = 0;
  uint64_t heartbeat_ = 0;
  OnAccepted on_accepted_;
  transport::EventLoop::Clock::time_point started_;
  transport::EventLoop::Clock::duration backoff_{};
  bool complained_ = false;
  transport::Timer timer_;
  transport::FdWatch watch_;

  uint64_t control_heartbeat_ = 0;
  bool control_beats_ = false;
  transport::EventLoop::Clock::time_point control_seen_;
};

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_GREETER_H_
