#ifndef IVMQ_BROKER_CONTROL_ADMIN_SERVICE_H_
#define IVMQ_BROKER_CONTROL_ADMIN_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "broker/control/admin_backend.h"
#include "broker/control/completion_thread.h"
#include "ivmq/v1/admin.grpc.pb.h"

namespace ivmq::control {

// Starts to answer every call of Admin out of the backend, on the loop's thread. All three must
// outlive the calls.
void ServeAdmin(v1::Admin::AsyncService* service, CompletionThread* thread, AdminBackend* backend);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_ADMIN_SERVICE_H_
