#ifndef IVMQ_TESTS_KEEPER_SERVER_FIXTURE_H_
#define IVMQ_TESTS_KEEPER_SERVER_FIXTURE_H_

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "broker/keeper/fd_budget.h"
#include "broker/keeper/ivshmem_server.h"
#include "tests/keeper/ivshmem_client.h"
#include "transport/event_loop.h"
#include "transport/memfd_device.h"

namespace ivmq::broker {

// What an IvshmemServer told its owner.
struct RecordingObserver : IvshmemObserver {
  void OnPeerConnected(const PeerInfo& peer) override {
    connected.push_back(peer);
    if (!keep_vectors) connected.back().vectors.reset();
  }
  void OnPeerGone(uint32_t id, GoneProof proof) override { gone.emplace_back(id, proof); }
  void OnPeerRefused(RefusalReason reason, uint32_t count) override {
    refused.emplace_back(reason, count);
  }

  bool keep_vectors = true;
  std::vector<PeerInfo> connected;
  std::vector<std::pair<uint32_t, GoneProof>> gone;
  std::vector<std::pair<RefusalReason, uint32_t>> refused;
};

// A server in this process, and clients over socket pairs.
class ServerFixture : public testing::Test {
 protected:
  static constexpr uint64_t kRegionBytes = 1 << 20;

  ServerFixture() { budget_.emplace(1 << 20); }

  void StartServer(IvshmemServer::Options options) {
    vectors_ = options.vectors;
    if (!region_)
      region_ =
          transport::CreateRegionMemfd("test", kRegionBytes, transport::RegionPages::kOnDemand)
              .value();
    host_ = std::make_shared<const std::vector<transport::UniqueFd>>(
        transport::CreateEventfds(options.vectors).value());
    server_ = std::make_unique<IvshmemServer>(&loop_, &*budget_, options, region_.get(), host_,
                                              &observer_);
  }

  IvshmemClient Connect() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
      std::perror("socketpair");
      std::abort();
    }
    server_->Accept(transport::UniqueFd(ends[0]), 0);
    return IvshmemClient(transport::UniqueFd(ends[1]), vectors_);
  }

  // Lets the server and the given clients run until nothing more comes.
  template <class... Clients>
  void Settle(Clients&... clients) {
    size_t quiet = 0;
    while (quiet < 3) {
      loop_.RunOnce(std::chrono::milliseconds(0));
      const size_t read = (size_t{0} + ... + clients.Read());
      quiet = read == 0 ? quiet + 1 : 0;
    }
  }

  // Runs the server until `done`, for a minute at most.
  bool RunUntil(const std::function<bool()>& done) {
    const auto deadline = transport::EventLoop::Clock::now() + std::chrono::minutes(1);
    while (!done()) {
      if (transport::EventLoop::Clock::now() >= deadline) return false;
      loop_.RunOnce(std::chrono::milliseconds(1));
    }
    return true;
  }

  const std::unique_ptr<transport::EventLoop> owned_loop_ = transport::EventLoop::Create().value();
  transport::EventLoop& loop_ = *owned_loop_;
  std::optional<FdBudget> budget_;  // a test may replace it before StartServer()
  transport::UniqueFd region_;
  PeerVectors host_;
  RecordingObserver observer_;
  std::unique_ptr<IvshmemServer> server_;
  uint32_t vectors_ = 0;
};

}  // namespace ivmq::broker

#endif  // IVMQ_TESTS_KEEPER_SERVER_FIXTURE_H_
