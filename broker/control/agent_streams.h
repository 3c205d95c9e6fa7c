#ifndef IVMQ_BROKER_CONTROL_AGENT_STREAMS_H_
#define IVMQ_BROKER_CONTROL_AGENT_STREAMS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace ivmq::control {

// Which agent a gRPC connection comes from.
struct AgentKey {
  uint32_t realm = 0;
  uint32_t peer = 0;
  uint64_t holder = 0;  // Agent::holder: tells one start of an agent from the next
};

// Connections by the number of the descriptor that gRPC was given, which is all that a call tells
// of its origin ("fd:17"). Any thread.
class AgentStreams {
 public:
  // Replaces what an earlier, closed descriptor of that number was.
  void Set(int fd, const AgentKey& key) {
    const absl::MutexLock lock(&mutex_);
    keys_[fd] = key;
  }
  // `peer`: ServerContext::peer().
  std::optional<AgentKey> Find(const std::string& peer) const;

 private:
  mutable absl::Mutex mutex_;
  std::map<int, AgentKey> keys_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_AGENT_STREAMS_H_
