#ifndef IVMQ_BROKER_KEEPER_REALM_H_
#define IVMQ_BROKER_KEEPER_REALM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/keeper/config.h"
#include "broker/keeper/control_link.h"
#include "broker/keeper/fd_budget.h"
#include "broker/keeper/ivshmem_server.h"
#include "broker/keeper/listener.h"
#include "transport/attach_server.h"
#include "transport/event_loop.h"
#include "transport/listening_socket.h"
#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::broker {

// One realm in the keeper: its region, the host's eventfds, its sockets and who came through them.
// Clients connect from Open() on, and are greeted from Serve() on. One thread, the event loop's.
class Realm : private IvshmemObserver {
 public:
  // What every realm of a keeper has in common. Borrowed.
  struct Shared {
    transport::EventLoop* loop;
    FdBudget* budget;
    transport::SocketAccess access;
  };

  // Creates the region and listens. ALREADY_EXISTS when a live process has one of the sockets.
  static transport::Result<std::unique_ptr<Realm>> Open(const Shared& shared, uint32_t index,
                                                        const RealmConfig& config);
  ~Realm() override;

  // Tells control of the region and of everyone connected, and from now on of every change.
  // `control` is borrowed until LoseControl().
  void Introduce(ControlLink* control);
  // Control is gone: processes are refused with `reason`, VMs are greeted as before.
  void LoseControl(const transport::Status& reason);
  // Control has formatted the region.
  transport::Status Serve(uint32_t max_peers);
  // Nobody new gets in; who is connected stays.
  void StopListening();
  bool serving() const { return serving_; }

  bool EvictPeer(uint32_t id) { return server_->Evict(id); }
  bool EvictNode(uint64_t connection) { return nodes_ != nullptr && nodes_->Close(connection); }
  void ForgetNode(uint64_t connection) {
    if (nodes_ != nullptr) nodes_->Forget(connection);
  }

  const RealmConfig& config() const { return config_; }

 private:
  Realm(const Shared& shared, uint32_t index, const RealmConfig& config);
  transport::Status CreateMemory();
  transport::Status Listen(const transport::SocketAccess& access);
  transport::Status ServeNodes();
  void WarnOfOpenFileLimit(uint32_t max_peers) const;

  KeeperEvent NewEvent(KeeperEventKind kind) const;
  void AnnouncePeer(const PeerInfo& peer);
  void OnPeerConnected(const PeerInfo& peer) override;
  void OnPeerGone(uint32_t id, GoneProof proof) override;
  void OnPeerRefused(RefusalReason reason, uint32_t count) override;
  void OnNodeAttached(transport::AttachServer::Client node);
  void OnNodeGone(uint64_t connection, transport::AttachServer::Gone how);

  transport::EventLoop* const loop_;
  FdBudget* const budget_;
  const uint32_t index_;
  const RealmConfig config_;
  transport::RegionInfo info_;
  ControlLink* control_ = nullptr;
  bool serving_ = false;

  transport::UniqueFd region_;
  PeerVectors host_vectors_;
  std::unique_ptr<IvshmemServer> server_;
  std::vector<transport::ListeningSocket> vm_sockets_;
  transport::ListeningSocket node_socket_;
  std::vector<std::unique_ptr<Listener>> vm_listeners_;
  std::unique_ptr<transport::AttachServer> nodes_;
  transport::FdWatch nodes_watch_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_REALM_H_
