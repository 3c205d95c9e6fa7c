#ifndef IVMQ_BROKER_CONTROL_REALM_OPENER_H_
#define IVMQ_BROKER_CONTROL_REALM_OPENER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/control/realm.h"
#include "broker/keeper_protocol.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// A realm that the keeper has announced, until all of the host's own doorbells have come.
class RealmOpener {
 public:
  // `event` is a kRealm.
  RealmOpener(const broker::KeeperEvent& event, transport::UniqueFd region)
      : event_(event), region_(std::move(region)) {}

  // True once the host has all its vectors.
  bool AddDoorbells(std::vector<transport::UniqueFd> fds);
  // Maps the region, formats it if it is new, and takes it into the books. Of a region that is not
  // new nobody knows what is in use: none of its free memory is handed out. Fails with a sentence
  // for people: no memory, another layout. Call it once.
  absl::StatusOr<std::unique_ptr<Realm>> Open(transport::EventLoop* loop, IdSource* ids);

 private:
  const broker::KeeperEvent event_;
  transport::UniqueFd region_;
  std::vector<transport::UniqueFd> vectors_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_REALM_OPENER_H_
