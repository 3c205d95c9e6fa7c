#include "sdk/agent/agent.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "transport/log.h"
#include "transport/unix_socket.h"

namespace ivmq::agent {
namespace {

using std::chrono::milliseconds;
using transport::AttachServer;
using transport::Code;
using transport::Result;
using transport::Status;
using transport::UniqueFd;

// A little less than a second, so that the wake-up which a silent stream costs does this as well.
constexpr milliseconds kTick{950};
constexpr milliseconds kLatestTick{1100};
constexpr milliseconds kFirstRetry{50};
constexpr milliseconds kLongestRetry{2000};
constexpr std::chrono::seconds kGrpcEndsWithin{2};

Result<std::pair<UniqueFd, UniqueFd>> StreamSocketPair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return transport::ErrnoStatus(errno, "cannot create a socket pair");
  }
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

}  // namespace

Result<std::unique_ptr<Agent>> Agent::Create(std::shared_ptr<transport::EventLoop> loop,
                                             std::shared_ptr<transport::Device> device,
                                             const Options& options) {
  const Result<transport::RegionInfo> region = transport::OpenRegion(device->region());
  if (!region.ok()) return region.status();
  const Result<Greeter::Identity> identity = Greeter::Identity::OfThisProcess();
  if (!identity.ok()) return identity.status();
  std::unique_ptr<Agent> agent(
      new Agent(std::move(loop), std::move(device), region.value(), identity.value(), options));
  if (Status status = agent->Listen(); !status.ok()) return status;
  agent->Greet();
  agent->Tick();
  return agent;
}

Agent::Agent(std::shared_ptr<transport::EventLoop> loop, std::shared_ptr<transport::Device> device,
             const transport::RegionInfo& region, const Greeter::Identity& identity,
             const Options& options)
    : loop_(std::move(loop)),
      device_(std::move(device)),
      region_(region),
      options_(options),
      greeter_(loop_.get(), device_, region_, identity),
      tick_timer_(loop_.get()),
      retry_timer_(loop_.get()) {}

Agent::~Agent() {
  tick_timer_.Reset();
  retry_timer_.Reset();
  server_watch_.Reset();
  server_.reset();
  node_socket_.Close();
  processes_.clear();
  control_.reset();
  // gRPC ends its calls by itself: their socket need not be pumped for that.
  stream_.reset();
  const auto deadline = transport::EventLoop::Clock::now() + kGrpcEndsWithin;
  while (unfinished_calls_->load() > 0 && transport::EventLoop::Clock::now() < deadline) {
    loop_->RunOnce(milliseconds(20));
  }
}

Status Agent::Listen() {
  Result<transport::ListeningSocket> socket = transport::ListeningSocket::Open(
      options_.node_socket, transport::UnixSocketType::kSeqpacket, options_.node_socket_access);
  if (!socket.ok()) return socket.status();
  node_socket_ = std::move(socket).value();
  UniqueFd listener(::fcntl(node_socket_.fd(), F_DUPFD_CLOEXEC, 0));
  if (!listener) return transport::ErrnoStatus(errno, "cannot duplicate a file descriptor");
  AttachServer::Options options;
  options.realm = region_;
  const uint32_t vectors = std::min(
      region_.vectors, device_->vector_count() == 0 ? region_.vectors : device_->vector_count());
  options.first_vector = vectors > 1 ? 1 : 0;
  options.last_vector = vectors - 1;
  options.open_process = options_.open_process;
  AttachServer::Callbacks callbacks{
      .on_attached = [this](AttachServer::Client client) { OnAttached(std::move(client)); },
      .on_gone = [this](uint64_t id, AttachServer::Gone how) { OnGone(id, how); },
  };
  Result<std::unique_ptr<AttachServer>> server =
      AttachServer::Create(std::move(listener), device_, std::move(options), std::move(callbacks));
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  server_->Refuse(
      Status(Code::kUnavailable,
             "the agent has no contact to ivmqd on the host yet; is it running? If it was "
             "restarted or this VM evicted since: restart the VM"));
  server_watch_ = transport::FdWatch(loop_.get(), server_->fd(), EPOLLIN,
                                     [this](uint32_t) { server_->Process(); });
  if (!server_watch_) return transport::ErrnoStatus(errno, "cannot watch the node socket");
  return Status();
}

void Agent::Greet() {
  greeter_.Start([this](const Greeter::Session& session) { OnAccepted(session); });
}

void Agent::OnAccepted(const Greeter::Session& session) {
  if (Status status = OpenStream(session); !status.ok()) {
    return LoseControl("the stream that control offers cannot be used: " + status.message());
  }
  session_nonce_ = session.nonce;
  for (auto& [id, process] : processes_) process->Connect(control_.get(), session_nonce_);
  server_->Refuse(Status());
  // So that processes which were told that the daemon is lost see that one is there again.
  static_cast<void>(::utimensat(AT_FDCWD, options_.node_socket.c_str(), nullptr, 0));
  LogInfo("in contact with control: peer {} of realm '{}', {}", device_->peer_id(),
          region_.realm_name,
          device_->vector_count() > 0 ? "taking interrupts" : "polling for lack of interrupts");
}

Status Agent::OpenStream(const Greeter::Session& session) {
  Result<std::pair<UniqueFd, UniqueFd>> sockets = StreamSocketPair();
  if (!sockets.ok()) return sockets.status();
  Result<std::unique_ptr<ControlStream>> stream = ControlStream::Open(
      loop_.get(), device_, session.places, std::move(sockets.value().first),
      [this](const Status& status) {
        LoseControl(status.ok() ? "control closed the stream" : status.message());
      },
      [this] { OnAwake(); });
  if (!stream.ok()) return stream.status();
  stream_ = std::move(stream).value();
  control_ = ControlClient::Create(loop_, std::move(sockets.value().second), unfinished_calls_);
  return Status();
}

void Agent::LoseControl(const std::string& why) {
  LogWarning("lost contact to control: {}", why);
  server_->Refuse(Status(Code::kUnavailable, "the agent has lost contact to ivmqd on the host (" +
                                                 why +
                                                 "): is it running? If it was restarted or "
                                                 "this VM evicted since: restart the VM"));
  for (auto& [id, process] : processes_) process->Disconnect();
  control_.reset();
  stream_.reset();
  retry_after_ = std::clamp(2 * retry_after_, kFirstRetry, kLongestRetry);
  retry_timer_.Set(retry_after_, [this] { Greet(); });
}

void Agent::OnAttached(AttachServer::Client client) {
  const uint64_t id = client.connection_id;
  LogDebug("process {} attached on vector {}", client.process.pid, client.vector);
  auto process =
      std::make_unique<Process>(loop_.get(), std::move(client), device_->vector_count() > 0,
                                [this, id] { processes_.erase(id); });
  process->Connect(control_.get(), session_nonce_);
  processes_.emplace(id, std::move(process));
}

void Agent::OnGone(uint64_t connection_id, AttachServer::Gone how) {
  const auto found = processes_.find(connection_id);
  if (found == processes_.end()) return;
  Process& process = *found->second;
  if (how == AttachServer::Gone::kDied) {
    LogDebug("process {} has died", process.pid());
    return process.Died();
  }
  LogDebug("process {} has closed its connection and lives", process.pid());
  if (!process.is_node()) {
    server_->Forget(connection_id);
    processes_.erase(found);
  } else {
    process.EndSession();
  }
}

void Agent::OnAwake() {
  if (transport::EventLoop::Clock::now() - ticked_ < kTick) return;
  // Not from here, a hook of the stream: a tick may end the stream.
  tick_timer_.Set(milliseconds(0), [this] { Tick(); });
}

void Agent::Tick() {
  ticked_ = transport::EventLoop::Clock::now();
  tick_timer_.Set(kLatestTick, [this] { Tick(); });
  greeter_.Beat();
  if (control_ == nullptr) return;
  if (greeter_.Superseded()) {
    return LoseControl("control has begun a new session with this machine");
  }
  const auto silence = greeter_.ControlSilence();
  if (silence > options_.control_silence_max) {
    return LoseControl(
        "no sign of life from control for " +
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(silence).count()) + " s");
  }
  if (silence < kLongestRetry) retry_after_ = milliseconds(0);
}

}  // namespace ivmq::agent
