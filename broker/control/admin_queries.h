#ifndef IVMQ_BROKER_CONTROL_ADMIN_QUERIES_H_
#define IVMQ_BROKER_CONTROL_ADMIN_QUERIES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/control/realm.h"
#include "ivmq/v1/admin.pb.h"

namespace ivmq::control {

using RealmMap = std::map<uint32_t, std::unique_ptr<Realm>>;  // by index

// Answers of the Admin service, out of the books. Requests that name an unknown realm get
// NOT_FOUND, saying which there are. One thread, the loop's.
class AdminQueries {
 public:
  // `realms` must outlive it.
  explicit AdminQueries(const RealmMap* realms) : realms_(realms) {}

  void ListRealms(v1::ListRealmsResponse* response) const;
  absl::Status ListPeers(const std::string& realm, v1::ListPeersResponse* response) const;
  absl::Status ListNodes(const std::string& realm, v1::ListNodesResponse* response) const;
  absl::Status ListTopics(const std::string& realm, v1::ListTopicsResponse* response) const;
  // Asks the nodes for their counters first, so it answers later: `done` is called once, perhaps
  // at once. `response` must live until then.
  void ListLinks(const v1::ListLinksRequest& request, v1::ListLinksResponse* response,
                 std::function<void(absl::Status)> done) const;

  // Asks and looks twice; as ListLinks().
  void Audit(const v1::AuditRequest& request, v1::AuditResponse* response,
             std::function<void(absl::Status)> done) const;

  // The realms of that name, or all for an empty one; NOT_FOUND.
  absl::StatusOr<std::vector<Realm*>> Select(const std::string& realm) const;

 private:
  const RealmMap* const realms_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ADMIN_QUERIES_H_
