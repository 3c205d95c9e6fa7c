#ifndef IVMQ_BROKER_CONTROL_CONTROL_H_
#define IVMQ_BROKER_CONTROL_CONTROL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/control/admin_backend.h"
#include "broker/control/admin_queries.h"
#include "broker/control/frame_session.h"
#include "broker/control/grpc_server.h"
#include "broker/control/keeper_link.h"
#include "broker/control/peer_watch.h"
#include "broker/control/realm.h"
#include "broker/control/realm_opener.h"
#include "broker/keeper_protocol.h"
#include "transport/event_loop.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// The whole of control: turns what the keeper tells into realms, peers and sessions, and serves
// gRPC. All state belongs to the loop's thread; it stops the loop when the keeper is gone.
class Control : public AdminBackend {
 public:
  Control(transport::EventLoop* loop, transport::UniqueFd keeper_socket);
  // Ends all gRPC calls.
  ~Control() override;
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  // Why the loop was stopped, for people: empty if the keeper closed its end in good order.
  const std::string& failure() const { return failure_; }

  const AdminQueries& queries() const override { return queries_; }
  absl::Status EvictNode(uint64_t node_id) override;
  absl::Status EvictPeer(const std::string& realm, uint32_t peer_id) override;

 private:
  using Fds = std::vector<transport::UniqueFd>;

  void OnEvent(const broker::KeeperEvent& event, Fds fds);
  void OnHello(const broker::KeeperEvent& event, Fds fds);
  void OnRealm(const broker::KeeperEvent& event, Fds fds);
  void OnDoorbells(const broker::KeeperEvent& event, Fds fds);
  void OpenRealm(uint32_t index);
  void OnNodeAttached(const broker::KeeperEvent& event, Fds fds);
  void OnNodeGone(const broker::KeeperEvent& event);
  void OnRefused(const broker::KeeperEvent& event);
  void OnAdminConnected(const broker::KeeperEvent& event, Fds fds);
  void Fail(const std::string& why);
  void Tick();
  void EvictNodeOf(Realm* realm, uint64_t node_id, const std::string& why);

  transport::EventLoop* const loop_;
  std::string failure_;
  transport::UniqueFd journal_;  // held for the keeper's sake: a memfd lives as long as its fds
  IdSource ids_;
  std::map<uint32_t, RealmOpener> opening_;
  RealmMap realms_;
  std::map<uint32_t, std::unique_ptr<PeerWatch>> watches_;  // by realm
  // Host sessions by realm and connection.
  std::map<std::pair<uint32_t, uint64_t>, std::unique_ptr<FrameSession>> sessions_;
  AdminQueries queries_;
  std::unique_ptr<GrpcServer> grpc_;
  transport::Timer tick_;
  KeeperLink keeper_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_CONTROL_H_
