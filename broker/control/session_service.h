#ifndef IVMQ_BROKER_CONTROL_SESSION_SERVICE_H_
#define IVMQ_BROKER_CONTROL_SESSION_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>

#include "broker/control/admin_queries.h"
#include "broker/control/agent_streams.h"
#include "broker/control/guest_session.h"
#include "broker/control/queued_writer.h"
#include "broker/control/task_queue.h"
#include "ivmq/v1/control.grpc.pb.h"

namespace ivmq::control {

class SessionService;

// One Session call. Reads one message at a time and not the next before that is handled, so an
// agent cannot fill our memory. Keeps itself alive until gRPC is done with it.
class SessionCall
    : public QueuedWriter<grpc::ServerBidiReactor<v1::NodeRequest, v1::NodeEvent>, v1::NodeEvent>,
      public GuestSession::Carrier {
 public:
  static constexpr size_t kMaxQueuedBytes = 4 << 20;

  static std::shared_ptr<SessionCall> Create(SessionService* service);

  // On the loop's thread.
  void Begin(Realm* realm, const AgentKey& key);
  void OnRead(bool ok);
  void OnCancelled();
  bool Push(const v1::NodeEvent& event) override;
  void Finish(const absl::Status& status) override;

  // From threads of gRPC.
  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Writer =
      QueuedWriter<grpc::ServerBidiReactor<v1::NodeRequest, v1::NodeEvent>, v1::NodeEvent>;

  explicit SessionCall(SessionService* service) : Writer(kMaxQueuedBytes), service_(service) {}

  SessionService* const service_;
  std::shared_ptr<SessionCall> self_;
  v1::NodeRequest request_;  // gRPC's from StartRead() to OnReadDone(), the loop's otherwise
  // Of the loop's thread.
  std::unique_ptr<GuestSession> session_;
  bool finished_ = false;
};

// Control.Session over gRPC: all state belongs to the loop's thread, gRPC's only post. Task queue,
// realms and streams must outlive all calls.
class SessionService : public v1::Control::CallbackService {
 public:
  SessionService(TaskQueue* tasks, const RealmMap* realms, const AgentStreams* streams)
      : tasks_(tasks), realms_(realms), streams_(streams) {}

  grpc::ServerBidiReactor<v1::NodeRequest, v1::NodeEvent>* Session(
      grpc::CallbackServerContext* context) override;

  TaskQueue* tasks() const { return tasks_; }
  // Null for an unknown index. On the loop's thread.
  Realm* FindRealm(uint32_t index) const;

 private:
  TaskQueue* const tasks_;
  const RealmMap* const realms_;
  const AgentStreams* const streams_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_SESSION_SERVICE_H_
