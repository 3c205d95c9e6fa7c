#ifndef IVMQ_BROKER_CONTROL_REFUSALS_H_
#define IVMQ_BROKER_CONTROL_REFUSALS_H_

#include <cstdint>
#include <deque>
#include <functional>

#include "ivmq/v1/discovery.pb.h"

namespace ivmq::control {

// Links that do not exist and why: refused for not fitting, or quarantined and let go of by both
// sides. Kept so that operators see them: the last 256, each until one of its parties goes.
// One thread.
class Refusals {
 public:
  static constexpr size_t kKept = 256;

  struct Record {
    v1::Link link;
    uint64_t endpoint_id = 0;        // the record goes with it
    uint64_t other_endpoint_id = 0;  // and with it; 0: was never registered
  };

  using Gone = std::function<void(const Record&)>;

  // Calls `gone` for the oldest if there is no room. Replaces what was recorded of the same two
  // nodes, endpoints and topic. Returns the record.
  const Record& Add(Record record, const Gone& gone);
  // Both call `gone` for what they remove.
  void RemoveEndpoint(uint64_t endpoint_id, const Gone& gone) {
    RemoveIf(
        [&](const Record& r) {
          return r.endpoint_id == endpoint_id || r.other_endpoint_id == endpoint_id;
        },
        gone);
  }
  void RemoveNode(uint64_t node_id, const Gone& gone) {
    RemoveIf(
        [&](const Record& r) {
          return r.link.publisher_node_id() == node_id || r.link.subscriber_node_id() == node_id;
        },
        gone);
  }

  const std::deque<Record>& records() const { return records_; }

 private:
  template <class Matches>
  void RemoveIf(Matches matches, const Gone& gone) {
    std::deque<Record> kept;
    for (Record& record : records_) {
      if (matches(record)) {
        gone(record);
      } else {
        kept.push_back(std::move(record));
      }
    }
    records_ = std::move(kept);
  }

  std::deque<Record> records_;  // oldest first
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_REFUSALS_H_
