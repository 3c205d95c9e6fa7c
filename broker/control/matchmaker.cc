#include "broker/control/matchmaker.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <string>

#include "broker/control/topic_name.h"
#include "ringbuf/ring_layout.h"

namespace ivmq::control {
namespace {

std::string TypeText(const std::string& type_name) {
  return type_name.empty() ? "bytes without a type" : fmt::format("type \"{}\"", type_name);
}

std::string QosText(const v1::Qos& qos) {
  switch (qos.reliability()) {
    case v1::Qos::DROP_NEWEST:
      return "drop-newest";
    case v1::Qos::KEEP_LAST:
      return fmt::format("keep-last {}", qos.depth());
    default:
      return "reliable";
  }
}

std::string NodeText(const Node& node) {
  return fmt::format("node {} (peer {})", Quoted(node.name), node.peer_id);
}

uint64_t OfferedRingBytes(const v1::Qos& qos) {
  return qos.ring_bytes() == 0 ? ringbuf::kDefaultCapacity : qos.ring_bytes();
}

uint64_t LargerWish(const v1::Qos& one, const v1::Qos& other) {
  const uint64_t wish = std::max(one.ring_bytes(), other.ring_bytes());
  return wish == 0 ? ringbuf::kDefaultCapacity : wish;
}

uint64_t LargestMessage(const v1::Qos& publisher) {
  return publisher.max_message_bytes() != 0 ? publisher.max_message_bytes()
                                            : ringbuf::MaxMessage(OfferedRingBytes(publisher));
}

absl::Status ValidateDepth(const v1::Qos& qos) {
  const bool keeps_last = qos.reliability() == v1::Qos::KEEP_LAST;
  if (keeps_last && (qos.depth() == 0 || qos.depth() > kMaxDepth)) {
    return absl::InvalidArgumentError(fmt::format(
        "keep-last {} was asked for; 1 to {} messages can be kept", qos.depth(), kMaxDepth));
  }
  if (!keeps_last && qos.depth() != 0) {
    return absl::InvalidArgumentError(fmt::format(
        "a depth of {} was asked for without keep-last, where only 0 is allowed", qos.depth()));
  }
  return absl::OkStatus();
}

absl::Status ValidateLargestMessage(const v1::Qos& qos, bool publishes) {
  const uint64_t ring_bytes = OfferedRingBytes(qos);
  const uint64_t most = publishes ? ringbuf::MaxMessage(ring_bytes) : 0;
  if (qos.max_message_bytes() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      publishes
          ? fmt::format("messages of up to {} bytes were asked for; {} are allowed, an eighth "
                        "of the ring of {} bytes that was asked for",
                        qos.max_message_bytes(), most, ring_bytes)
          : fmt::format("a subscriber asked for messages of up to {} bytes; only publishers "
                        "say how large their messages are, for subscribers 0 is allowed",
                        qos.max_message_bytes()));
}

// The table of qos.proto. False: refused.
bool AgreeOnReliability(const v1::Qos& offered, const v1::Qos& asked, Agreement* agreed) {
  const bool offers_reliable = offered.reliability() == v1::Qos::RELIABLE ||
                               offered.reliability() == v1::Qos::RELIABILITY_UNSPECIFIED;
  switch (asked.reliability()) {
    case v1::Qos::RELIABLE:
      agreed->reliability = v1::Qos::RELIABLE;
      return offers_reliable;
    case v1::Qos::DROP_NEWEST:
      agreed->reliability = v1::Qos::DROP_NEWEST;
      return true;
    case v1::Qos::KEEP_LAST:
      agreed->reliability = v1::Qos::KEEP_LAST;
      agreed->depth = asked.depth();
      return true;
    default:
      agreed->reliability = offers_reliable ? v1::Qos::RELIABLE : offered.reliability();
      agreed->depth = offered.depth();
      return true;
  }
}

// The smallest ring whose records may be that long.
uint64_t RingFor(uint64_t message_bytes) {
  uint64_t ring_bytes = ringbuf::kMinCapacity;
  while (ringbuf::MaxMessage(ring_bytes) < message_bytes) ring_bytes *= 2;
  return ring_bytes;
}

// Bytes that one message takes of a ring at most, wherever it lies.
uint64_t RecordBytes(uint64_t message_bytes) {
  const uint64_t gap =
      message_bytes >= ringbuf::kAlignedPayloadBytes ? ringbuf::kCacheLineBytes : 0;
  const uint64_t padded =
      (message_bytes + ringbuf::kHeaderBytes - 1) & ~(ringbuf::kHeaderBytes - 1);
  return ringbuf::kHeaderBytes + gap + padded;
}

}  // namespace

absl::Status ValidateQos(const v1::Qos& qos, bool publishes) {
  if (!v1::Qos::Reliability_IsValid(qos.reliability())) {
    return absl::InvalidArgumentError(fmt::format(
        "reliability {} is unknown; this daemon knows {} (reliable), {} (drop-newest) and {} "
        "(keep-last)",
        static_cast<int>(qos.reliability()), static_cast<int>(v1::Qos::RELIABLE),
        static_cast<int>(v1::Qos::DROP_NEWEST), static_cast<int>(v1::Qos::KEEP_LAST)));
  }
  if (qos.ring_bytes() != 0 && !ringbuf::IsValidCapacity(qos.ring_bytes())) {
    return absl::InvalidArgumentError(
        fmt::format("a ring of {} bytes was asked for; a power of two from {} to {} is allowed, "
                    "or 0 for no wish",
                    qos.ring_bytes(), ringbuf::kMinCapacity, ringbuf::kMaxCapacity));
  }
  if (qos.history() > kMaxHistory) {
    return absl::InvalidArgumentError(fmt::format(
        "a history of {} messages was asked for; 0 to {} are allowed", qos.history(), kMaxHistory));
  }
  if (absl::Status status = ValidateDepth(qos); !status.ok()) return status;
  return ValidateLargestMessage(qos, publishes);
}

absl::Status Fits(const Endpoint& publisher, const Node& publisher_node, const Endpoint& subscriber,
                  const Node& subscriber_node) {
  if (subscriber.type_name.empty() || subscriber.type_name == publisher.type_name) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(fmt::format(
      "topic {}: {} publishes {}, {} subscribes to {}; the full type names must be the same",
      Quoted(publisher.topic), NodeText(publisher_node), TypeText(publisher.type_name),
      NodeText(subscriber_node), TypeText(subscriber.type_name)));
}

absl::Status FitsService(const Endpoint& client, const Node& client_node, const Endpoint& server,
                         const Node& server_node) {
  const auto misfit = [&](const char* what, const std::string& of_client,
                          const std::string& of_server) {
    return absl::FailedPreconditionError(
        fmt::format("service {}: {} {} {}, {} serves {}; the full type names must be the same",
                    Quoted(client.topic), NodeText(client_node), what, TypeText(of_client),
                    NodeText(server_node), TypeText(of_server)));
  };
  if (!server.type_name.empty() && server.type_name != client.type_name) {
    return misfit("sends requests of", client.type_name, server.type_name);
  }
  if (!client.reply_type.empty() && client.reply_type != server.reply_type) {
    return misfit("expects replies of", client.reply_type, server.reply_type);
  }
  return absl::OkStatus();
}

Agreement AgreeOnService(const Endpoint& client, const Endpoint& server) {
  Agreement agreed;
  agreed.ring_bytes = LargerWish(client.qos, server.qos);
  agreed.max_message_bytes = ringbuf::MaxMessage(agreed.ring_bytes);
  return agreed;
}

absl::StatusOr<Agreement> Agree(const Endpoint& publisher, const Node& publisher_node,
                                const Endpoint& subscriber, const Node& subscriber_node) {
  const v1::Qos& offered = publisher.qos;
  const v1::Qos& asked = subscriber.qos;
  const auto misfit = [&](const std::string& offers, const std::string& asks) {
    return absl::FailedPreconditionError(
        fmt::format("topic {}: {} {}, {} {}", Quoted(publisher.topic), NodeText(publisher_node),
                    offers, NodeText(subscriber_node), asks));
  };
  Agreement agreed;
  if (!AgreeOnReliability(offered, asked, &agreed)) {
    return misfit("publishes " + QosText(offered),
                  "asks for reliable, which only a reliable publisher offers");
  }
  if (asked.history() != 0 && offered.history() == 0) {
    return misfit("keeps no messages for latecomers",
                  fmt::format("asks for the last {}", asked.history()));
  }
  agreed.max_message_bytes = LargestMessage(offered);
  agreed.history = std::min(asked.history(), offered.history());
  if (agreed.has_slots()) {
    agreed.history = std::min(agreed.history, agreed.depth);
    return agreed;
  }
  const uint64_t history_bytes = 2 * agreed.history * RecordBytes(agreed.max_message_bytes);
  agreed.ring_bytes = std::bit_ceil(
      std::max({LargerWish(offered, asked), history_bytes, RingFor(agreed.max_message_bytes)}));
  if (agreed.ring_bytes > ringbuf::kMaxCapacity) {
    return misfit(fmt::format("keeps messages of up to {} bytes", agreed.max_message_bytes),
                  fmt::format("asks for the last {}; twice that must fit into a ring of at most {} "
                              "bytes",
                              agreed.history, ringbuf::kMaxCapacity));
  }
  return agreed;
}

}  // namespace ivmq::control
