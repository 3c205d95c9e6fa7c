#include "broker/control/change_feed.h"

#include <utility>

namespace ivmq::control {

bool Wants(const Interest& interest, const v1::DiscoveryEvent& event) {
  switch (event.subject_case()) {
    case v1::DiscoveryEvent::kPeer:
      return interest.peers;
    case v1::DiscoveryEvent::kNode:
      return interest.nodes;
    case v1::DiscoveryEvent::kTopic:
    case v1::DiscoveryEvent::kService:
      return interest.topics;
    case v1::DiscoveryEvent::kLink:
      return interest.links;
    case v1::DiscoveryEvent::SUBJECT_NOT_SET:
      break;
  }
  return true;
}

uint64_t ChangeFeed::Add(Interest interest, Listener listener) {
  listeners_.emplace(next_id_, Watcher{interest, std::move(listener)});
  return next_id_++;
}

void ChangeFeed::Publish(const v1::DiscoveryEvent& event) const {
  for (const auto& [id, watcher] : listeners_) {
    if (Wants(watcher.interest, event)) watcher.listener(event);
  }
}

}  // namespace ivmq::control
