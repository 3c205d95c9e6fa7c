#ifndef IVMQ_BROKER_CONTROL_SESSION_SERVICE_H_
#define IVMQ_BROKER_CONTROL_SESSION_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "broker/control/admin_queries.h"
#include "broker/control/agent_streams.h"
#include "broker/control/completion_thread.h"
#include "ivmq/v1/control.grpc.pb.h"
#include "transport/event_loop.h"

namespace ivmq::control {

// What the Session calls need; all of it must outlive them.
struct SessionServiceParts {
  v1::Control::AsyncService* service = nullptr;
  CompletionThread* thread = nullptr;
  transport::EventLoop* loop = nullptr;
  const RealmMap* realms = nullptr;
  const AgentStreams* streams = nullptr;
};

// Starts to serve Control.Session, on the loop's thread. Each call reads one message at a time and
// not the next before that is handled, so an agent cannot fill our memory.
void ServeSessions(const SessionServiceParts& parts);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_SESSION_SERVICE_H_
