#ifndef IVMQ_SDK_NODE_COUNTER_PIECES_H_
#define IVMQ_SDK_NODE_COUNTER_PIECES_H_

#include <functional>

#include "ivmq/v1/control.pb.h"

namespace ivmq::internal {

// Counters in one frame. Those of a link take 127 bytes at most, so they fill half a frame.
inline constexpr int kMostCountersInFrame = 4096;

// Passes a request on, in pieces that each fit a frame where it carries the counters of too many
// links. Of an answer to `counters_wanted` all pieces but the last carry request_id 0. Links that
// an `unregister` has no room for go before it, each as a `link_closed`, which says the same of it.
void SendInPieces(const v1::NodeRequest& request,
                  const std::function<void(const v1::NodeRequest&)>& send);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_COUNTER_PIECES_H_
