#include "sdk/services/client_cache.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "sdk/node/node_impl.h"
#include "sdk/services/client_impl.h"

namespace ivmq::internal {

Result<BytesClient> ClientCache::Get(const std::shared_ptr<NodeImpl>& node,
                                     std::string_view service, std::string_view query_type,
                                     std::string_view reply_type,
                                     std::chrono::nanoseconds timeout) {
  Key key(service, query_type, reply_type);
  {
    const std::lock_guard lock(mutex_);
    const auto found = clients_.find(key);
    if (found != clients_.end()) {
      found->second.used = ++calls_;
      return found->second.client;
    }
  }
  // Registering takes its time, and others have other services to ask. Of two that meet here the
  // later one's client goes away again.
  auto made = ClientImpl::Create(node, service, query_type, reply_type, {}, timeout);
  if (!made.ok()) return made.status();
  BytesClient client(std::move(made).value());
  std::optional<BytesClient> left;  // closes without the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = clients_.find(key); found != clients_.end()) {
    left = std::move(client);
    found->second.used = ++calls_;
    return found->second.client;
  }
  if (clients_.size() >= kClientsMax) {
    const auto oldest = std::min_element(
        clients_.begin(), clients_.end(),
        [](const auto& one, const auto& other) { return one.second.used < other.second.used; });
    left = std::move(oldest->second.client);
    clients_.erase(oldest);
  }
  return clients_.emplace(std::move(key), Cached{std::move(client), ++calls_}).first->second.client;
}

}  // namespace ivmq::internal
