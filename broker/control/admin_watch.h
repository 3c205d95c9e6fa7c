#ifndef IVMQ_BROKER_CONTROL_ADMIN_WATCH_H_
#define IVMQ_BROKER_CONTROL_ADMIN_WATCH_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "broker/control/admin_queries.h"
#include "broker/control/queued_writer.h"
#include "ivmq/v1/admin.pb.h"

namespace ivmq::control {

// One Watch call: a snapshot of the realms it asked for, then what their feeds say. Keeps itself
// alive until gRPC is done with it.
class AdminWatch
    : public QueuedWriter<grpc::ServerWriteReactor<v1::WatchResponse>, v1::WatchResponse> {
 public:
  static constexpr size_t kMaxQueuedBytes = 4 << 20;

  // Both are called from a thread of gRPC: when the caller has gone, and, in any case and last,
  // when the call is over.
  struct Callbacks {
    std::function<void(std::shared_ptr<AdminWatch>)> on_cancel;
    std::function<void(std::shared_ptr<AdminWatch>)> on_done;
  };
  static std::shared_ptr<AdminWatch> Create(Callbacks callbacks);

  // Both on the loop's thread.
  void Begin(const v1::WatchRequest& request, const AdminQueries& queries);
  // Leaves the feeds, too. Harmless if it has ended.
  void End(grpc::Status status);

  void OnCancel() override { callbacks_.on_cancel(self_); }
  void OnDone() override { callbacks_.on_done(std::exchange(self_, nullptr)); }

 private:
  explicit AdminWatch(Callbacks callbacks)
      : QueuedWriter(kMaxQueuedBytes), callbacks_(std::move(callbacks)) {}
  void Tell(const v1::DiscoveryEvent& event);

  const Callbacks callbacks_;
  std::shared_ptr<AdminWatch> self_;
  // Of the loop's thread.
  bool ended_ = false;
  std::vector<std::pair<Realm*, uint64_t>> listening_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ADMIN_WATCH_H_
