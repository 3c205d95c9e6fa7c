#ifndef IVMQ_SDK_COMMAND_DISCOVERY_H_
#define IVMQ_SDK_COMMAND_DISCOVERY_H_

#include <functional>
#include <string>
#include <vector>

#include "ivmq/v1/discovery.pb.h"
#include "sdk/command/command_line.h"
#include "transport/status.h"

namespace ivmq::command {

// What any process of a realm is told through its node socket: less than the admin socket tells,
// but it works in a guest. What it does not tell is absent from these messages.

struct Snapshot {
  std::vector<v1::Peer> peers;
  std::vector<v1::Node> nodes;
  std::vector<v1::Topic> topics;
  std::vector<v1::Service> services;
};

// All that exists now, but for this process itself.
transport::Result<Snapshot> TakeSnapshot(const std::string& node_socket);

// Hands every event to `on_event`, on a thread of its own, until `stop_fd` is readable (OK) or the
// daemon goes away (UNAVAILABLE).
transport::Status WatchDiscovery(const std::string& node_socket, const WatchOptions& what,
                                 int stop_fd,
                                 const std::function<void(const v1::DiscoveryEvent&)>& on_event);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DISCOVERY_H_
