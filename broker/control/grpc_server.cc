#include "broker/control/grpc_server.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "broker/control/admin_service.h"
#include "broker/control/session_service.h"

namespace ivmq::control {
namespace {

constexpr int kMaxMessageBytes = 1 << 20;  // as a frame of the other carrier
constexpr int kMaxCallsPerConnection = 8192;

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

std::unique_ptr<grpc::Server> Build(grpc::Service* service) {
  grpc::ServerBuilder builder;
  builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsPerConnection);
  return builder.BuildAndStart();
}

}  // namespace

struct GrpcServer::Impl {
  explicit Impl(const Parts& p)
      : parts(p), admin_service(p.tasks, p.backend), session_service(p.tasks, p.realms, &streams) {}

  const Parts parts;
  AgentStreams streams;
  AdminService admin_service;
  SessionService session_service;
  std::unique_ptr<grpc::Server> admin;
  std::unique_ptr<grpc::Server> sessions;
};

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Parts& parts) {
  auto impl = std::make_unique<Impl>(parts);
  impl->admin = Build(&impl->admin_service);
  impl->sessions = Build(&impl->session_service);
  if (impl->admin == nullptr || impl->sessions == nullptr) {
    return absl::InternalError("gRPC does not start");
  }
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::~GrpcServer() {
  impl_->admin_service.EndWatches();
  std::atomic<bool> done{false};
  std::thread stopper([&] {
    const auto now = std::chrono::system_clock::now();
    impl_->admin->Shutdown(now);
    impl_->sessions->Shutdown(now);
    impl_->admin.reset();
    impl_->sessions.reset();
    done.store(true, std::memory_order_release);  // Pairs with the acquire below.
    impl_->parts.tasks->Post([] {});
  });
  while (!done.load(std::memory_order_acquire)) {
    impl_->parts.loop->RunOnce(std::chrono::milliseconds(100));
  }
  stopper.join();
  // What the last calls posted at their end.
  impl_->parts.loop->RunOnce(std::chrono::milliseconds(0));
}

void GrpcServer::AddAdmin(transport::UniqueFd connection) {
  SetNonBlocking(connection.get());
  grpc::AddInsecureChannelFromFd(impl_->admin.get(), connection.Release());
}

void GrpcServer::AddAgent(transport::UniqueFd connection, const AgentKey& key) {
  SetNonBlocking(connection.get());
  // Before gRPC reads from it.
  impl_->streams.Set(connection.get(), key);
  grpc::AddInsecureChannelFromFd(impl_->sessions.get(), connection.Release());
}

}  // namespace ivmq::control
