#ifndef IVMQ_BROKER_CONTROL_GRPC_TASKS_H_
#define IVMQ_BROKER_CONTROL_GRPC_TASKS_H_

namespace ivmq::control {

// Has gRPC run its deferred tasks on a thread that sleeps until one is due. gRPC's own engine for
// them (1.51) has a thread a core, and one that wakes up every second for nothing. To be called
// before gRPC is used; not from several threads.
void UseSleepingGrpcTasks();

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_GRPC_TASKS_H_
