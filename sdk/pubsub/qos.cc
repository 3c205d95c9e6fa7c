#include "sdk/pubsub/qos.h"

#include <algorithm>
#include <bit>
#include <string>

#include "ringbuf/ring_layout.h"
#include "sdk/node/defaults.h"

namespace ivmq::internal {
namespace {

using Kind = Reliability::Kind;

constexpr uint32_t kDepthMax = 65536;
constexpr uint32_t kHistoryMax = 65536;

Status Invalid(std::string text) { return {Code::kInvalidArgument, std::move(text)}; }

Status CheckHistory(History history) {
  if (history.messages() <= kHistoryMax) return {};
  return Invalid("History(" + std::to_string(history.messages()) + "): at most " +
                 std::to_string(kHistoryMax) + " messages are allowed");
}

// Fills in what needs no telling of publisher from subscriber.
Status SetReliability(const Reliability& wanted, v1::Qos* qos) {
  switch (wanted.kind()) {
    case Kind::kBlock:
    case Kind::kFail:
    case Kind::kReliable:
      qos->set_reliability(v1::Qos::RELIABLE);
      break;
    case Kind::kAsOffered:
      break;
    case Kind::kDropNewest:
      qos->set_reliability(v1::Qos::DROP_NEWEST);
      break;
    case Kind::kKeepLast:
      if (wanted.depth() == 0 || wanted.depth() > kDepthMax) {
        return Invalid("KeepLast(" + std::to_string(wanted.depth()) + "): 1 to " +
                       std::to_string(kDepthMax) + " messages are allowed");
      }
      qos->set_reliability(v1::Qos::KEEP_LAST);
      qos->set_depth(wanted.depth());
      break;
  }
  return {};
}

// The sizes of a publisher's rings and messages, where one may follow from the other.
Status SetSizes(const PublisherOptions& options, v1::Qos* qos) {
  if (Status status = CheckRingBytes(options.ring_bytes); !status.ok()) return status;
  constexpr size_t kMessageMax = ringbuf::kMaxCapacity / 8;
  const size_t message = options.max_message_bytes;
  if (message > kMessageMax) {
    return Invalid("max_message_bytes of " + std::to_string(message) + ": at most " +
                   std::to_string(kMessageMax) + ", an eighth of the largest ring, are allowed");
  }
  const size_t ring = options.ring_bytes != 0
                          ? options.ring_bytes
                          : std::max(ringbuf::kDefaultCapacity, std::bit_ceil(message * 8));
  if (message > ring / 8) {
    return Invalid("max_message_bytes of " + std::to_string(message) + " in a ring of " +
                   std::to_string(ring) + " bytes: at most " + std::to_string(ring / 8) +
                   ", an eighth of it, are allowed");
  }
  qos->set_ring_bytes(ring);
  qos->set_max_message_bytes(message != 0 ? message : ring / 8);
  return {};
}

}  // namespace

Result<v1::Qos> OfferOf(const PublisherOptions& options) {
  const Kind kind = options.reliability.kind();
  if (kind == Kind::kReliable || kind == Kind::kAsOffered) {
    return Invalid(std::string(kind == Kind::kReliable ? "Reliable()" : "AsOffered()") +
                   " is for subscribers: a publisher offers Block(deadline), Fail(), DropNewest() "
                   "or KeepLast(messages)");
  }
  v1::Qos qos;
  Status status = SetReliability(options.reliability, &qos);
  if (status.ok()) status = SetSizes(options, &qos);
  if (status.ok()) status = CheckHistory(options.history);
  if (!status.ok()) return status;
  qos.set_history(options.history.messages());
  return qos;
}

Result<v1::Qos> AskOf(std::string_view topic, const SubscriberOptions& options) {
  v1::Qos qos;
  const Reliability wanted =
      options.reliability.value_or(IsFilter(topic) ? KeepLast(kFilterDepth) : AsOffered());
  Status status = SetReliability(wanted, &qos);
  if (status.ok()) status = CheckRingBytes(options.ring_bytes);
  if (status.ok()) status = CheckHistory(options.history);
  if (!status.ok()) return status;
  qos.set_ring_bytes(options.ring_bytes);
  qos.set_history(options.history.messages());
  return qos;
}

bool IsFilter(std::string_view topic) {
  for (size_t begin = 0; begin <= topic.size();) {
    const size_t end = std::min(topic.find('.', begin), topic.size());
    const std::string_view token = topic.substr(begin, end - begin);
    if (token == "*" || token == ">") return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace ivmq::internal
