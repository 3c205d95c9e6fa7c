#include "sdk/services/link_words.h"

#include "sdk/node/node_impl.h"

namespace ivmq::internal {

v1::LinkCounters CountersOf(const transport::LinkWriter& writer) {
  const transport::LinkCounters counted = writer.counters();
  v1::LinkCounters counters;
  counters.set_link_id(writer.link_id());
  counters.set_published(counted.records);
  counters.set_published_bytes(counted.bytes);
  counters.set_doorbells(counted.doorbells);
  return counters;
}

v1::LinkCounters CountersOf(const transport::LinkReader& reader) {
  const transport::LinkCounters counted = reader.counters();
  v1::LinkCounters counters;
  counters.set_link_id(reader.link_id());
  counters.set_delivered(counted.records);
  counters.set_delivered_bytes(counted.bytes);
  return counters;
}

void PostAttached(NodeImpl* node, const v1::LinkUp& link) {
  v1::NodeRequest request;
  request.mutable_link_attached()->set_endpoint_id(link.endpoint_id());
  request.mutable_link_attached()->set_link_id(link.link_id());
  node->Post(request);
}

void PostLeft(NodeImpl* node, uint64_t endpoint_id, const std::string* detail,
              const v1::LinkCounters& counters) {
  v1::NodeRequest request;
  if (detail != nullptr) {
    request.mutable_link_corrupt()->set_endpoint_id(endpoint_id);
    request.mutable_link_corrupt()->set_link_id(counters.link_id());
    request.mutable_link_corrupt()->set_detail(*detail);
    *request.mutable_link_corrupt()->mutable_counters() = counters;
  } else {
    request.mutable_link_closed()->set_endpoint_id(endpoint_id);
    request.mutable_link_closed()->set_link_id(counters.link_id());
    *request.mutable_link_closed()->mutable_counters() = counters;
  }
  node->Post(request);
}

}  // namespace ivmq::internal
