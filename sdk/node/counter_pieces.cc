#include "sdk/node/counter_pieces.h"

namespace ivmq::internal {
namespace {

void SendCounters(const v1::NodeRequest& request,
                  const std::function<void(const v1::NodeRequest&)>& send) {
  v1::NodeRequest piece;
  for (const v1::LinkCounters& link : request.counters().links()) {
    if (piece.counters().links_size() == kMostCountersInFrame) {
      send(piece);
      piece.Clear();
    }
    *piece.mutable_counters()->add_links() = link;
  }
  piece.set_request_id(request.request_id());
  send(piece);
}

void SendUnregister(v1::NodeRequest request,
                    const std::function<void(const v1::NodeRequest&)>& send) {
  auto* const counters = request.mutable_unregister()->mutable_counters();
  for (int i = kMostCountersInFrame; i < counters->size(); ++i) {
    v1::NodeRequest closed;
    closed.mutable_link_closed()->set_link_id(counters->Get(i).link_id());
    closed.mutable_link_closed()->set_endpoint_id(request.unregister().id());
    *closed.mutable_link_closed()->mutable_counters() = counters->Get(i);
    send(closed);
  }
  counters->DeleteSubrange(kMostCountersInFrame, counters->size() - kMostCountersInFrame);
  send(request);
}

}  // namespace

void SendInPieces(const v1::NodeRequest& request,
                  const std::function<void(const v1::NodeRequest&)>& send) {
  if (request.counters().links_size() > kMostCountersInFrame) return SendCounters(request, send);
  if (request.unregister().counters_size() > kMostCountersInFrame) {
    return SendUnregister(request, send);
  }
  send(request);
}

}  // namespace ivmq::internal
