#include "broker/control/admin_watch.h"

#include <string>

#include "broker/control/snapshot.h"

namespace ivmq::control {

std::shared_ptr<AdminWatch> AdminWatch::Create(Callbacks callbacks) {
  std::shared_ptr<AdminWatch> watch(new AdminWatch(std::move(callbacks)));
  watch->self_ = watch;
  return watch;
}

void AdminWatch::Begin(const v1::WatchRequest& request, const AdminQueries& queries) {
  if (ended_) return;
  const auto realms = queries.Select(request.realm());
  if (!realms.ok()) {
    return End(grpc::Status(grpc::StatusCode::NOT_FOUND, std::string(realms.status().message())));
  }
  Interest interest{request.peers(), request.nodes(), request.topics(), request.links()};
  if (!interest.peers && !interest.nodes && !interest.topics && !interest.links) {
    interest = {true, true, true, true};
  }
  const auto tell = [this](const v1::DiscoveryEvent& event) { Tell(event); };
  for (Realm* realm : *realms) {
    TellSnapshot(realm->state, interest, tell);
    listening_.emplace_back(realm, realm->state.feed.Add(interest, tell));
  }
  tell(SnapshotDone());
}

void AdminWatch::Tell(const v1::DiscoveryEvent& event) {
  if (ended_) return;
  v1::WatchResponse response;
  *response.mutable_event() = event;
  if (Push(std::move(response))) return;
  // The feeds are left when the call is over, not here: a feed may be calling.
  ended_ = true;
  FinishNow(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                         "this watcher did not read for too long and has missed events; watch "
                         "anew"));
}

void AdminWatch::End(grpc::Status status) {
  ended_ = true;
  for (const auto& [realm, id] : listening_) realm->state.feed.Remove(id);
  listening_.clear();
  FinishNow(std::move(status));
}

}  // namespace ivmq::control
