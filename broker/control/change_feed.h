#ifndef IVMQ_BROKER_CONTROL_CHANGE_FEED_H_
#define IVMQ_BROKER_CONTROL_CHANGE_FEED_H_

#include <cstdint>
#include <functional>
#include <map>

#include "ivmq/v1/discovery.pb.h"

namespace ivmq::control {

// What a watcher wants to hear of.
struct Interest {
  bool peers = false;
  bool nodes = false;
  bool topics = false;
  bool links = false;
};

// Tells everyone who watches a realm what comes, changes and goes. One thread.
class ChangeFeed {
 public:
  // Must not call back into the realm.
  using Listener = std::function<void(const v1::DiscoveryEvent&)>;

  uint64_t Add(Interest interest, Listener listener);
  void Remove(uint64_t id) { listeners_.erase(id); }
  bool empty() const { return listeners_.empty(); }

  void Publish(const v1::DiscoveryEvent& event) const;

 private:
  struct Watcher {
    Interest interest;
    Listener listener;
  };
  uint64_t next_id_ = 1;
  std::map<uint64_t, Watcher> listeners_;
};

bool Wants(const Interest& interest, const v1::DiscoveryEvent& event);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_CHANGE_FEED_H_
