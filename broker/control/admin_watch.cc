#include "broker/control/admin_watch.h"

#include <string>

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
  for (Realm* realm : *realms) Watch(realm, interest);
  TellSnapshots();
}

void AdminWatch::Watch(Realm* realm, const Interest& interest) {
  const Snapshot* const snapshot = &snapshots_.emplace_back(&realm->state, interest);
  const auto tell = [this, snapshot](const v1::DiscoveryEvent& event) {
    if (snapshot->HasPassed(event)) Tell(event);
  };
  listening_.emplace_back(realm, realm->state.feed.Add(interest, tell));
}

void AdminWatch::TellSnapshots() {
  const auto tell = [this](const v1::DiscoveryEvent& event) { Tell(event); };
  while (!over_ && !finishing() && told_ <= snapshots_.size() && queued_bytes() < kEnoughQueued) {
    if (told_ == snapshots_.size()) {
      tell(SnapshotDone());
      ++told_;
    } else if (!snapshots_[told_].TellNext(tell)) {
      ++told_;
    }
  }
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
