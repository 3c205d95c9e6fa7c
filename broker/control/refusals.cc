#include "broker/control/refusals.h"

#include <utility>

namespace ivmq::control {

const Refusals::Record& Refusals::Add(Record record, const Gone& gone) {
  for (Record& known : records_) {
    if (known.endpoint_id == record.endpoint_id &&
        known.other_endpoint_id == record.other_endpoint_id &&
        known.link.topic() == record.link.topic() &&
        known.link.publisher_node_id() == record.link.publisher_node_id() &&
        known.link.subscriber_node_id() == record.link.subscriber_node_id() &&
        known.link.state() == record.link.state()) {
      record.link.set_link_id(known.link.link_id());
      known = std::move(record);
      return known;
    }
  }
  records_.push_back(std::move(record));
  if (records_.size() > kKept) {
    gone(records_.front());
    records_.pop_front();
  }
  return records_.back();
}

}  // namespace ivmq::control
