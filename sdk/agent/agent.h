#ifndef IVMQ_SDK_AGENT_AGENT_H_
#define IVMQ_SDK_AGENT_AGENT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "sdk/agent/control_client.h"
#include "sdk/agent/control_stream.h"
#include "sdk/agent/greeter.h"
#include "sdk/agent/process.h"
#include "transport/attach_server.h"
#include "transport/device.h"
#include "transport/event_loop.h"
#include "transport/listening_socket.h"
#include "transport/region.h"
#include "transport/status.h"

namespace ivmq::agent {

// The daemon of a guest: lends its machine's device to the processes that attach, and carries
// their sessions to control over a stream in the region.
//
//   greeting ──► connected ──┐   a process that attaches while there is no control is told so
//       ▲                    │
//       └── stream broke ◄───┘   sessions end, their channels close; links go on
//
// A process whose session has ended gets no new one: it has to open its node anew. Whoever died
// meanwhile is reported in the next session, so that its memory comes back.
//
// Vector 0 is the agent's own, the others are lent, each to the fewest processes. A device with
// one vector shares it.
//
// Threads: the loop's; gRPC's own threads only post to it. Keeps loop and device alive.
class Agent {
 public:
  struct Options {
    std::string node_socket;
    // Who in this machine may attach, and so map the whole region. Everybody, unless told
    // otherwise: which machines may reach it is decided at the VM socket.
    transport::SocketAccess node_socket_access = {.mode = 0666, .group = std::nullopt};
    std::function<transport::Result<transport::UniqueFd>(const transport::PeerProcess&)>
        open_process = transport::OpenProcess;  // as AttachServer::Options
    // Without a heartbeat of control for this long its stream is given up and greeted anew.
    std::chrono::milliseconds control_silence_max = std::chrono::seconds(15);
  };

  // Opens the region and listens. FAILED_PRECONDITION for a region that is not ours or of another
  // layout version; as transport::ListeningSocket for the socket.
  static transport::Result<std::unique_ptr<Agent>> Create(
      std::shared_ptr<transport::EventLoop> loop, std::shared_ptr<transport::Device> device,
      const Options& options);
  // Ends all sessions without proof: who is alive goes on with its links. Runs the loop until gRPC
  // has let go, for at most two seconds.
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  bool connected() const { return control_ != nullptr; }
  size_t processes() const { return processes_.size(); }
  const transport::RegionInfo& region() const { return region_; }

 private:
  Agent(std::shared_ptr<transport::EventLoop> loop, std::shared_ptr<transport::Device> device,
        const transport::RegionInfo& region, const Greeter::Identity& identity,
        const Options& options);
  transport::Status Listen();
  void Greet();
  void OnAccepted(const Greeter::Session& session);
  transport::Status OpenStream(const Greeter::Session& session);
  void LoseControl(const std::string& why);
  void OnAttached(transport::AttachServer::Client client);
  void OnGone(uint64_t connection_id, transport::AttachServer::Gone how);
  void OnAwake();
  void Tick();

  // Constant after construction.
  const std::shared_ptr<transport::EventLoop> loop_;
  const std::shared_ptr<transport::Device> device_;
  const transport::RegionInfo region_;
  const Options options_;

  Greeter greeter_;
  transport::ListeningSocket node_socket_;
  std::unique_ptr<transport::AttachServer> server_;
  transport::FdWatch server_watch_;
  const std::shared_ptr<std::atomic<size_t>> unfinished_calls_ =
      std::make_shared<std::atomic<size_t>>(0);
  std::unique_ptr<ControlClient> control_;
  std::unique_ptr<ControlStream> stream_;
  uint64_t session_nonce_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Process>> processes_;  // by connection ID

  transport::EventLoop::Clock::time_point ticked_;
  transport::Timer tick_timer_;
  transport::Timer retry_timer_;
  std::chrono::milliseconds retry_after_{0};
};

}  // namespace ivmq::agent

#endif  // IVMQ_SDK_AGENT_AGENT_H_
