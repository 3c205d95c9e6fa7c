#ifndef IVMQ_SDK_SERVICES_CLIENT_CACHE_H_
#define IVMQ_SDK_SERVICES_CLIENT_CACHE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>

#include "ivmq/client.h"

namespace ivmq::internal {

class NodeImpl;

// The clients behind Node::Request, one for each service and pair of types, of those that were used
// last. Belongs to the copies of a Node, not to what they share with every publisher and client: a
// client keeps that alive, and they would keep each other. Any thread.
class ClientCache {
 public:
  static constexpr size_t kClientsMax = 128;

  // That client, made at the first call, in `timeout` at most. May close the one that has not been
  // asked for the longest, once whoever has it is through.
  Result<BytesClient> Get(const std::shared_ptr<NodeImpl>& node, std::string_view service,
                          std::string_view query_type, std::string_view reply_type,
                          std::chrono::nanoseconds timeout);

 private:
  using Key = std::tuple<std::string, std::string, std::string>;

  struct Cached {
    BytesClient client;
    uint64_t used = 0;  // when, in calls of Get()
  };

  std::mutex mutex_;  // guards all below
  std::map<Key, Cached> clients_;
  uint64_t calls_ = 0;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_CLIENT_CACHE_H_
