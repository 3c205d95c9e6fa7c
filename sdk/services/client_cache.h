#ifndef IVMQ_SDK_SERVICES_CLIENT_CACHE_H_
#define IVMQ_SDK_SERVICES_CLIENT_CACHE_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>

#include "ivmq/client.h"

namespace ivmq::internal {

class NodeImpl;

// The clients behind Node::Request, one for each service and pair of types. Belongs to the copies
// of a Node, not to what they share with every publisher and client: a client keeps that alive, and
// they would keep each other. Any thread.
class ClientCache {
 public:
  // That client, made at the first call.
  Result<BytesClient> Get(const std::shared_ptr<NodeImpl>& node, std::string_view service,
                          std::string_view query_type, std::string_view reply_type);

 private:
  using Key = std::tuple<std::string, std::string, std::string>;

  std::mutex mutex_;
  std::map<Key, BytesClient> clients_;  // guarded by mutex_
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_CLIENT_CACHE_H_
