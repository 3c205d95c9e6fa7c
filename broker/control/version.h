#ifndef IVMQ_BROKER_CONTROL_VERSION_H_
#define IVMQ_BROKER_CONTROL_VERSION_H_

namespace ivmq::control {

#ifndef IVMQ_VERSION
#define IVMQ_VERSION "unknown"
#endif
// Of the project, as the build knows it.
inline constexpr const char* kDaemonVersion = IVMQ_VERSION;

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_VERSION_H_
