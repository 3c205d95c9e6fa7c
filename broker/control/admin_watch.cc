#include "broker/control/admin_watch.h"

#include <string>

#include "broker/control/snapshot.h"

namespace ivmq::control {

void AdminWatch::Listen(v1::Admin::AsyncService* service, CompletionThread* thread,
                        const AdminQueries* queries) {
  const std::shared_ptr<AdminWatch> watch(new AdminWatch(queries, thread->token()));
  AdminWatch* call = watch.get();
  call->WatchForEnd();
  service->RequestWatch(&call->context_, &call->request_, &call->stream_, thread->queue(),
                        thread->queue(), call->Tag([call, service, thread, queries](bool ok) {
                          if (!ok) return call->ForgetEnd();  // the server shuts down
                          Listen(service, thread, queries);
                          call->Begin();
                        }));
}

void AdminWatch::Begin() {
  if (over_) return;
  const auto realms = queries_->Select(request_.realm());
  if (!realms.ok()) {
    const std::string why(realms.status().message());
    return FinishCall(grpc::Status(grpc::StatusCode::NOT_FOUND, why), true);
  }
  Interest interest{request_.peers(), request_.nodes(), request_.topics(), request_.links()};
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
  v1::WatchResponse response;
  *response.mutable_event() = event;
  if (Push(response)) return;
  // The feeds are left when the call is over, not here: a feed may be calling.
  FinishCall(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                          "this watcher did not read for too long and has missed events; watch "
                          "anew"),
             true);
}

void AdminWatch::OnOver() {
  over_ = true;
  for (const auto& [realm, id] : listening_) realm->state.feed.Remove(id);
  listening_.clear();
  FinishCall(grpc::Status::CANCELLED, true);
}

}  // namespace ivmq::control
