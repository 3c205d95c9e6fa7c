#ifndef IVMQ_BROKER_CONTROL_ADMIN_WATCH_H_
#define IVMQ_BROKER_CONTROL_ADMIN_WATCH_H_

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "broker/control/admin_queries.h"
#include "broker/control/snapshot.h"
#include "broker/control/stream_call.h"
#include "ivmq/v1/admin.grpc.pb.h"

namespace ivmq::control {

// One Watch call: snapshots of the realms it asked for, told as they are read, and what their feeds
// say. A watcher that does not read is told so and ended. One thread, the loop's.
class AdminWatch
    : public StreamCall<grpc::ServerAsyncWriter<v1::WatchResponse>, v1::WatchResponse> {
 public:
  static constexpr size_t kMaxQueuedBytes = 4 << 20;
  // Snapshots wait while so much does; changes do not.
  static constexpr size_t kEnoughQueued = 64 << 10;

  // Takes the next Watch call that comes, and each after it. Service, thread and queries must
  // outlive them.
  static void Listen(v1::Admin::AsyncService* service, CompletionThread* thread,
                     const AdminQueries* queries);

 private:
  AdminWatch(const AdminQueries* queries, std::shared_ptr<void> token)
      : StreamCall(kMaxQueuedBytes, std::move(token)), queries_(queries) {}
  void Begin();
  void Watch(Realm* realm, const Interest& interest);
  void TellSnapshots();
  void Tell(const v1::DiscoveryEvent& event);
  void OnWritten() override { TellSnapshots(); }
  void OnOver() override;

  const AdminQueries* const queries_;
  v1::WatchRequest request_;
  std::vector<std::pair<Realm*, uint64_t>> listening_;
  std::deque<Snapshot> snapshots_;  // of each realm; stay where they are
  size_t told_ = 0;                 // of the snapshots, and the end of all
  bool over_ = false;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ADMIN_WATCH_H_
