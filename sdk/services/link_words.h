#ifndef IVMQ_SDK_SERVICES_LINK_WORDS_H_
#define IVMQ_SDK_SERVICES_LINK_WORDS_H_

#include <string>

#include "ivmq/v1/control.pb.h"
#include "transport/link_reader.h"
#include "transport/link_writer.h"

// What an endpoint of a service says to control about its links.

namespace ivmq::internal {

class NodeImpl;

v1::LinkCounters CountersOf(const transport::LinkWriter& writer);
v1::LinkCounters CountersOf(const transport::LinkReader& reader);

// Of the pairs of links `pairs`: the one that this link is of; null: none.
template <class Pairs>
auto* PairOf(const Pairs& pairs, uint64_t link_id) {
  for (const auto& pair : pairs) {
    if (pair->request_link == link_id || pair->reply_link == link_id) return pair.get();
  }
  return static_cast<decltype(pairs.front().get())>(nullptr);
}

void PostAttached(NodeImpl* node, const v1::LinkUp& link);
// `counters` name the link. `detail`: what nonsense it held; null: none.
void PostLeft(NodeImpl* node, uint64_t endpoint_id, const std::string* detail,
              const v1::LinkCounters& counters);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_LINK_WORDS_H_
