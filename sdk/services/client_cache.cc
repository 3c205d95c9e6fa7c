#include "sdk/services/client_cache.h"

#include <utility>

#include "sdk/node/node_impl.h"
#include "sdk/services/client_impl.h"

namespace ivmq::internal {

Result<BytesClient> ClientCache::Get(const std::shared_ptr<NodeImpl>& node,
                                     std::string_view service, std::string_view query_type,
                                     std::string_view reply_type) {
  Key key(service, query_type, reply_type);
  {
    const std::lock_guard lock(mutex_);
    const auto found = clients_.find(key);
    if (found != clients_.end()) return found->second;
  }
  // Registering takes its time, and others have other services to ask. Of two that meet here the
  // later one's client goes away again.
  auto made = ClientImpl::Create(node, service, query_type, reply_type, {});
  if (!made.ok()) return made.status();
  const std::lock_guard lock(mutex_);
  return clients_.try_emplace(std::move(key), BytesClient(std::move(made).value())).first->second;
}

}  // namespace ivmq::internal
