#include "broker/control/grpc_server.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_posix.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <utility>

#include "broker/control/admin_service.h"
#include "broker/control/completion_thread.h"
#include "broker/control/grpc_tasks.h"
#include "broker/control/session_service.h"

namespace ivmq::control {
namespace {

constexpr int kMaxMessageBytes = 1 << 20;  // as a frame of the other carrier
constexpr int kMaxCallsPerConnection = 8192;
// What all connections of a server may have gRPC keep: each call could hold back the end of a
// message. Beyond it gRPC cancels calls.
constexpr size_t kMaxServerBytes = 128 << 20;

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// A server that listens nowhere, and the thread that waits for it.
struct Served {
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<CompletionThread> thread;
};

Served StartServer(grpc::Service* service, transport::EventLoop* loop) {
  grpc::ServerBuilder builder;
  builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetResourceQuota(grpc::ResourceQuota().Resize(kMaxServerBytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsPerConnection);
  // Both ends are on this machine. Every timer of a connection would make gRPC's timer threads wake
  // up more often, for good.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, std::numeric_limits<int>::max());
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  auto queue = builder.AddCompletionQueue();
  Served served;
  served.server = builder.BuildAndStart();
  served.thread = std::make_unique<CompletionThread>(loop, std::move(queue));
  return served;
}

}  // namespace

struct GrpcServer::Impl {
  explicit Impl(const Parts& p) : parts(p) {}

  const Parts parts;
  AgentStreams streams;
  v1::Admin::AsyncService admin_service;
  v1::Control::AsyncService session_service;
  Served admin;
  Served sessions;
};

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Parts& parts) {
  UseSleepingGrpcTasks();
  auto impl = std::make_unique<Impl>(parts);
  impl->admin = StartServer(&impl->admin_service, parts.loop);
  impl->sessions = StartServer(&impl->session_service, parts.loop);
  if (impl->admin.server == nullptr || impl->sessions.server == nullptr) {
    for (Served* const served : {&impl->admin, &impl->sessions}) {
      if (served->server != nullptr) served->server->Shutdown();
    }
    return absl::InternalError("gRPC does not start");
  }
  ServeAdmin(&impl->admin_service, impl->admin.thread.get(), parts.backend);
  ServeSessions({&impl->session_service, impl->sessions.thread.get(), parts.loop, parts.realms,
                 &impl->streams});
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::~GrpcServer() {
  std::atomic<bool> done{false};
  std::thread stopper([&] {
    const auto now = std::chrono::system_clock::now();
    impl_->admin.server->Shutdown(now);
    impl_->sessions.server->Shutdown(now);
    done.store(true, std::memory_order_release);  // Pairs with the acquire below.
    impl_->parts.loop->Post([] {});
  });
  // Calls end on the loop, and the servers wait for them.
  while (!done.load(std::memory_order_acquire) || !impl_->admin.thread->idle() ||
         !impl_->sessions.thread->idle()) {
    impl_->parts.loop->RunOnce(std::chrono::milliseconds(10));
  }
  stopper.join();
}

void GrpcServer::AddAdmin(transport::UniqueFd connection) {
  SetNonBlocking(connection.get());
  grpc::AddInsecureChannelFromFd(impl_->admin.server.get(), connection.Release());
}

void GrpcServer::AddAgent(transport::UniqueFd connection, const AgentKey& key) {
  SetNonBlocking(connection.get());
  // Before gRPC reads from it.
  impl_->streams.Set(connection.get(), key);
  grpc::AddInsecureChannelFromFd(impl_->sessions.server.get(), connection.Release());
}

}  // namespace ivmq::control
