#include "broker/control/agent_streams.h"

#include <charconv>
#include <string_view>

namespace ivmq::control {

std::optional<AgentKey> AgentStreams::Find(const std::string& peer) const {
  constexpr std::string_view kPrefix = "fd:";
  if (peer.compare(0, kPrefix.size(), kPrefix) != 0) return std::nullopt;
  int fd = -1;
  const char* end = peer.data() + peer.size();
  const auto [stopped, error] = std::from_chars(peer.data() + kPrefix.size(), end, fd);
  if (error != std::errc() || stopped != end) return std::nullopt;
  const absl::MutexLock lock(&mutex_);
  const auto found = keys_.find(fd);
  if (found == keys_.end()) return std::nullopt;
  return found->second;
}

}  // namespace ivmq::control
