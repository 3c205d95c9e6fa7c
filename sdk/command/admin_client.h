#ifndef IVMQ_SDK_COMMAND_ADMIN_CLIENT_H_
#define IVMQ_SDK_COMMAND_ADMIN_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "ivmq/v1/admin.pb.h"
#include "sdk/command/command_line.h"
#include "transport/status.h"

namespace ivmq::command {

// ivmqd's admin socket, one call at a time. Every error is a sentence that says what to do.
// Threads: one; Cancel() from any.
class AdminClient {
 public:
  // UNAVAILABLE, NOT_FOUND, PERMISSION_DENIED: of the socket.
  static transport::Result<std::unique_ptr<AdminClient>> Connect(const std::string& socket_path);
  ~AdminClient();
  AdminClient(const AdminClient&) = delete;
  AdminClient& operator=(const AdminClient&) = delete;

  transport::Result<v1::ListRealmsResponse> ListRealms();
  transport::Result<v1::ListPeersResponse> ListPeers(const std::string& realm);
  transport::Result<v1::ListNodesResponse> ListNodes(const std::string& realm);
  transport::Result<v1::ListTopicsResponse> ListTopics(const std::string& realm);
  transport::Result<v1::ListLinksResponse> ListLinks(const std::string& realm,
                                                     const std::string& topic);
  transport::Result<v1::AuditResponse> Audit(const std::string& realm, const std::string& topic);
  transport::Status EvictNode(uint64_t node_id);
  transport::Status EvictPeer(const std::string& realm, uint32_t peer_id);

  // Hands every event to `on_event` until ivmqd ends the watch or Cancel() does (then OK).
  transport::Status Watch(const std::string& realm, const WatchOptions& what,
                          const std::function<void(const v1::DiscoveryEvent&)>& on_event);
  void Cancel();

 private:
  struct Impl;
  explicit AdminClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_ADMIN_CLIENT_H_
