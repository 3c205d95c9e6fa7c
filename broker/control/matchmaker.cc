#include "broker/control/matchmaker.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "broker/control/topic_name.h"
#include "ringbuf/ring_layout.h"

namespace ivmq::control {
namespace {

std::string TypeText(const std::string& type_name) {
  return type_name.empty() ? "bytes without a type" : fmt::format("type \"{}\"", type_name);
}

}  // namespace

absl::Status ValidateQos(const v1::Qos& qos) {
  // Absent means the only one there is.
  if (qos.reliability() != v1::Qos::RELIABLE &&
      qos.reliability() != v1::Qos::RELIABILITY_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        fmt::format("reliability {} is unknown; this daemon knows {} (reliable)",
                    static_cast<int>(qos.reliability()), static_cast<int>(v1::Qos::RELIABLE)));
  }
  if (qos.ring_bytes() != 0 && !ringbuf::IsValidCapacity(qos.ring_bytes())) {
    return absl::InvalidArgumentError(
        fmt::format("a ring of {} bytes was asked for; a power of two from {} to {} is allowed, "
                    "or 0 for no wish",
                    qos.ring_bytes(), ringbuf::kMinCapacity, ringbuf::kMaxCapacity));
  }
  return absl::OkStatus();
}

absl::Status Fits(const Endpoint& publisher, const Node& publisher_node, const Endpoint& subscriber,
                  const Node& subscriber_node) {
  if (subscriber.type_name.empty() || subscriber.type_name == publisher.type_name) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format(
      "topic {}: node {} (peer {}) publishes {}, node {} (peer {}) subscribes to {}; the full type "
      "names must be the same",
      Quoted(publisher.topic), Quoted(publisher_node.name), publisher_node.peer_id,
      TypeText(publisher.type_name), Quoted(subscriber_node.name), subscriber_node.peer_id,
      TypeText(subscriber.type_name)));
}

absl::Status FitsService(const Endpoint& client, const Node& client_node, const Endpoint& server,
                         const Node& server_node) {
  const auto misfit = [&](const char* what, const std::string& of_client,
                          const std::string& of_server) {
    return absl::FailedPreconditionError(fmt::format(
        "service {}: node {} (peer {}) {} {}, node {} (peer {}) {}; the full type names must be "
        "the same",
        Quoted(client.topic), Quoted(client_node.name), client_node.peer_id, what,
        TypeText(of_client), Quoted(server_node.name), server_node.peer_id,
        "serves " + TypeText(of_server)));
  };
  if (!server.type_name.empty() && server.type_name != client.type_name) {
    return misfit("sends requests of", client.type_name, server.type_name);
  }
  if (!client.reply_type.empty() && client.reply_type != server.reply_type) {
    return misfit("expects replies of", client.reply_type, server.reply_type);
  }
  return absl::OkStatus();
}

uint64_t AgreedRingBytes(const Endpoint& publisher, const Endpoint& subscriber) {
  const uint64_t wish = std::max(publisher.ring_bytes, subscriber.ring_bytes);
  return wish == 0 ? kDefaultRingBytes : wish;
}

}  // namespace ivmq::control
