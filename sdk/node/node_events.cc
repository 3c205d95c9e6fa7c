// What the session tells a node: the half of NodeImpl that runs on the session's thread.

#include <algorithm>
#include <utility>

#include "sdk/node/node_impl.h"

namespace ivmq::internal {
namespace {

constexpr std::chrono::seconds kLookForDaemonEvery(1);
constexpr std::chrono::seconds kLookForLeaversEvery(1);

Node::Discovery::Kind KindOf(v1::DiscoveryEvent::Kind kind) {
  switch (kind) {
    case v1::DiscoveryEvent::CHANGED:
      return Node::Discovery::Kind::kChanged;
    case v1::DiscoveryEvent::REMOVED:
      return Node::Discovery::Kind::kRemoved;
    case v1::DiscoveryEvent::SNAPSHOT_DONE:
      return Node::Discovery::Kind::kSnapshotDone;
    default:
      return Node::Discovery::Kind::kAdded;
  }
}

Node::Discovery DiscoveryOf(const v1::DiscoveryEvent& event) {
  Node::Discovery found;
  found.kind = KindOf(event.kind());
  if (event.has_peer()) {
    found.subject = Node::Discovery::Subject::kPeer;
    found.id = event.peer().peer_id();
    found.peer_id = event.peer().peer_id();
    found.name = "peer " + std::to_string(event.peer().peer_id());
    found.detail = v1::Peer::State_Name(event.peer().state());
  } else if (event.has_node()) {
    found.subject = Node::Discovery::Subject::kNode;
    found.id = event.node().node_id();
    found.name = event.node().name();
    found.detail = v1::Node::State_Name(event.node().state());
    found.peer_id = event.node().peer_id();
    found.publishers = event.node().publishers();
    found.subscribers = event.node().subscribers();
    found.clients = event.node().clients();
    found.servers = event.node().servers();
  } else if (event.has_topic()) {
    found.subject = Node::Discovery::Subject::kTopic;
    found.name = event.topic().name();
    found.detail = event.topic().type_name();
    found.publishers = event.topic().publishers();
    found.subscribers = event.topic().subscribers();
  } else if (event.has_service()) {
    found.subject = Node::Discovery::Subject::kService;
    found.name = event.service().name();
    found.detail = event.service().request_type();
    found.reply_type = event.service().reply_type();
    found.clients = event.service().clients();
    found.servers = event.service().servers();
  }
  return found;
}

}  // namespace

void NodeImpl::OnEvent(v1::NodeEvent* event, std::vector<transport::UniqueFd>* fds) {
  if (event->has_discovery()) {
    OnDiscovery(event->discovery());
    return;
  }
  const std::lock_guard lock(mutex_);
  switch (event->event_case()) {
    case v1::NodeEvent::kLinkUp:
    case v1::NodeEvent::kLinkReady:
    case v1::NodeEvent::kLinkDown:
    case v1::NodeEvent::kLinkSuspect:
      OnLinkEvent(event, fds);
      break;
    case v1::NodeEvent::kLinkRefused: {
      const uint64_t id = event->link_refused().endpoint_id();
      // 0: of the registration whose answer comes next.
      if (id == 0 && registering_ > 0) early_.push_back({std::move(*event), {}});
      const auto found = endpoints_.find(id);
      if (found != endpoints_.end()) found->second->OnLinkRefused(event->link_refused());
      break;
    }
    case v1::NodeEvent::kCountersWanted:
      AnswerCounters(event->request_id());
      break;
    case v1::NodeEvent::kEvicted:
      TellNode(Event::Kind::kEvicted, event->evicted().reason());
      EndAll(EndReason::kEvicted);
      evicted_ = true;
      session_->PutOut({Code::kClosed, "this node was evicted by an operator: open a new one"});
      break;
    default:
      break;  // of a later version
  }
}

void NodeImpl::OnLinkEvent(v1::NodeEvent* event, std::vector<transport::UniqueFd>* fds) {
  bool known = false;
  if (event->has_link_up()) {
    known = DeliverLinkUp(event->link_up(), fds);
  } else {
    for (auto& [id, endpoint] : endpoints_) {
      known = event->has_link_ready()  ? endpoint->OnLinkReady(event->link_ready().link_id())
              : event->has_link_down() ? endpoint->OnLinkDown(event->link_down())
                                       : endpoint->OnLinkSuspect(event->link_suspect());
      if (known) break;
    }
  }
  // Links of an endpoint come before the answer that tells its ID. Without a registration under
  // way it is one of an endpoint that has just gone, whose links all closed with it.
  if (!known && registering_ > 0) early_.push_back({std::move(*event), std::move(*fds)});
}

bool NodeImpl::DeliverLinkUp(const v1::LinkUp& link, std::vector<transport::UniqueFd>* fds) {
  const auto found = endpoints_.find(link.endpoint_id());
  if (found == endpoints_.end()) return false;
  found->second->OnLinkUp(link, DoorbellOf(link, fds));
  return true;
}

transport::Doorbell NodeImpl::DoorbellOf(const v1::LinkUp& link,
                                         std::vector<transport::UniqueFd>* fds) {
  const v1::WakeAddress& other = link.publishes() ? link.consumer() : link.producer();
  if (other.polls()) return {};
  if (!fds->empty()) {
    return transport::Doorbell::Eventfd(
        std::make_shared<const transport::UniqueFd>(std::move(fds->front())));
  }
  // Without a way to ring, the other side still looks at its ready bytes once a second.
  auto doorbell = device_->OpenDoorbell(other.peer_id(), other.vector());
  return doorbell.ok() ? std::move(doorbell).value() : transport::Doorbell();
}

void NodeImpl::AnswerCounters(uint64_t request_id) {
  v1::NodeRequest request;
  request.set_request_id(request_id);
  v1::Counters* const counters = request.mutable_counters();
  for (auto& [id, endpoint] : endpoints_) endpoint->AddCounters(counters);
  Post(request);
}

void NodeImpl::OnDiscovery(const v1::DiscoveryEvent& event) {
  std::shared_ptr<const DiscoveryHandler> handler;
  {
    const std::lock_guard lock(mutex_);
    if (!watch_answered_ || closing_) return;
    handler = watch_;
  }
  if (event.has_link()) return;  // not asked for
  events_.CallForNode([&] { (*handler)(DiscoveryOf(event)); });
}

void NodeImpl::OnEnd(const Status& why, bool lost) {
  {
    const std::lock_guard lock(mutex_);
    for (auto& [id, endpoint] : endpoints_) endpoint->OnDisconnected();
  }
  lost_ = lost;
  if (lost && !evicted_) TellNode(Event::Kind::kDaemonLost, why.message());
  events_.Deliver();
}

// A daemon that starts makes its socket anew. Nothing wakes us then, so we look once a second; only
// where the daemon was lost, or has put us out, and somebody wants to know. An agent that has found
// back to its host touches its socket.
std::chrono::steady_clock::time_point NodeImpl::LookForDaemon(
    std::chrono::steady_clock::time_point now) {
  if (!lost_ || !events_.heard_by_node()) return std::chrono::steady_clock::time_point::max();
  const SocketAge found = SocketAge::Of(socket_path_);
  if (found.exists() && !(found == socket_)) {
    socket_ = found;
    TellNode(Event::Kind::kDaemonBack, evicted_
                                           ? "a new node can be opened"
                                           : "a new node can be opened; this one keeps its links");
  }
  return now + kLookForDaemonEvery;
}

// Links outlive the daemon, which told us when their other sides left. Now only these can, each in
// its wake block; what it says is worth a link that we let go, and nobody's memory.
std::chrono::steady_clock::time_point NodeImpl::LookForLeavers(
    std::chrono::steady_clock::time_point now) {
  if (!lost_ || evicted_ || endpoints_.empty()) return std::chrono::steady_clock::time_point::max();
  std::vector<uint64_t> links;
  for (auto& [id, endpoint] : endpoints_) {
    links.clear();
    endpoint->AddLeft(&links);
    for (const uint64_t link_id : links) {
      v1::LinkDown down;
      down.set_link_id(link_id);
      down.set_reason(v1::LinkDown::CLOSED);
      endpoint->OnLinkDown(down);
    }
  }
  return now + kLookForLeaversEvery;
}

void NodeImpl::TellNode(Event::Kind kind, const std::string& detail) {
  Event event;
  event.kind = kind;
  event.detail = detail;
  events_.Push(std::move(event), nullptr);
}

std::chrono::steady_clock::time_point NodeImpl::OnTurn() {
  auto next = std::chrono::steady_clock::time_point::max();
  {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    next = std::min(LookForDaemon(now), LookForLeavers(now));
    for (auto& [id, endpoint] : endpoints_) next = std::min(next, endpoint->OnTimer(now));
  }
  events_.Deliver();
  return next;
}

}  // namespace ivmq::internal
