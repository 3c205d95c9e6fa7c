#include "broker/control/node_session.h"

#include <fmt/core.h>

#include <chrono>
#include <string>
#include <utility>

#include "broker/control/version.h"

namespace ivmq::control {

NodeSession::~NodeSession() { StopWatching(); }

void NodeSession::Handle(const v1::NodeRequest& request) {
  const uint64_t id = request.request_id();
  using Case = v1::NodeRequest::RequestCase;
  const Case which = request.request_case();
  if (which == Case::kHello) return OnHello(id, request.hello());
  if (which == Case::kAttached || which == Case::kExited) {
    return Fail(id, absl::PermissionDeniedError("only the agent of a guest may say this"));
  }
  if (!RequireNode(id)) return;
  LinkTable* links = realm_->registry.links();
  switch (which) {
    case Case::kRegisterPublisher: {
      const v1::RegisterPublisher& wish = request.register_publisher();
      return OnRegister(id, {node_id_, true, wish.topic(), wish.type_name(), wish.qos(),
                             wish.file_descriptor_set()});
    }
    case Case::kRegisterSubscriber: {
      const v1::RegisterSubscriber& wish = request.register_subscriber();
      return OnRegister(id, {node_id_, false, wish.topic(), wish.type_name(), wish.qos()});
    }
    case Case::kRegisterClient: {
      const v1::RegisterClient& wish = request.register_client();
      return OnRegisterService(id, {node_id_, false, wish.service(), wish.request_type(),
                                    wish.reply_type(), wish.ring_bytes()});
    }
    case Case::kRegisterServer: {
      const v1::RegisterServer& wish = request.register_server();
      return OnRegisterService(
          id, {node_id_, true, wish.service(), wish.request_type(), wish.reply_type(),
               wish.ring_bytes(), wish.file_descriptor_set()});
    }
    case Case::kUnregister:
      return OnUnregister(id, request.unregister());
    case Case::kLinkAttached:
      return links->OnWord(request.link_attached().link_id(), node_id_,
                           request.link_attached().endpoint_id(), SideEvent::kAttached);
    case Case::kLinkClosed:
      return OnLinkClosed(request.link_closed());
    case Case::kLinkCorrupt:
      return OnLinkCorrupt(request.link_corrupt());
    case Case::kCounters:
      return OnCounters(id, request.counters());
    case Case::kWatch:
      return OnWatch(id, request.watch());
    case Case::kDescribeType:
      return OnDescribeType(id, request.describe_type());
    case Case::kReadClock:
      return OnReadClock(id);
    case Case::kGoodbye:
      return OnGoodbye(id);
    default:
      return Fail(id, absl::UnimplementedError(fmt::format(
                          "this daemon ({}) does not know this request", kDaemonVersion)));
  }
}

bool NodeSession::RequireNode(uint64_t request_id) {
  const Node* node = realm_->state.directory.FindNode(node_id_);
  if (node != nullptr && node->online) return true;
  Fail(request_id, absl::FailedPreconditionError(
                       has_left_       ? "this node has left; open a new one"
                       : node_id_ != 0 ? "the daemon has ended this node; open a new one"
                                       : "say hello first: this process is no node yet"));
  return false;
}

void NodeSession::OnHello(uint64_t request_id, const v1::Hello& hello) {
  if (has_left_ || node_id_ != 0) {
    return Fail(request_id,
                absl::FailedPreconditionError(has_left_ ? "this node has left; open a new one"
                                                        : "this process said hello before"));
  }
  if (hello.protocol_version() != kSessionProtocolVersion) {
    return Fail(request_id,
                absl::FailedPreconditionError(fmt::format(
                    "the process speaks version {} of the session protocol, this daemon ({}) "
                    "version {}; install the same version on both",
                    hello.protocol_version(), kDaemonVersion, kSessionProtocolVersion)));
  }
  const absl::StatusOr<const Node*> node =
      realm_->registry.AddNode({origin_, hello.node_name(), hello.sdk_version(), sink_});
  if (!node.ok()) return Fail(request_id, node.status());
  node_id_ = (*node)->id;
  v1::NodeEvent event;
  event.set_request_id(request_id);
  v1::Welcome* welcome = event.mutable_welcome();
  welcome->set_node_id(node_id_);
  welcome->set_wake_offset((*node)->wake_offset);
  welcome->set_realm(realm_->state.name);
  welcome->set_protocol_version(kSessionProtocolVersion);
  welcome->set_daemon_version(kDaemonVersion);
  Send(event);
}

void NodeSession::OnRegister(uint64_t request_id, NodeRegistry::NewEndpoint wish) {
  const bool publishes = wish.publishes;
  const absl::StatusOr<NodeRegistry::Registered> done = realm_->registry.Register(std::move(wish));
  if (!done.ok()) return Fail(request_id, done.status());
  v1::NodeEvent event;
  event.set_request_id(request_id);
  if (publishes) {
    event.mutable_publisher_registered()->set_publisher_id(done->endpoint_id);
    event.mutable_publisher_registered()->set_links(done->links);
  } else {
    event.mutable_subscriber_registered()->set_subscriber_id(done->endpoint_id);
    event.mutable_subscriber_registered()->set_links(done->links);
  }
  Send(event);
}

void NodeSession::OnRegisterService(uint64_t request_id, ServiceRegistry::NewEndpoint wish) {
  const bool serves = wish.serves;
  const absl::StatusOr<ServiceRegistry::Registered> done =
      realm_->services.Register(std::move(wish));
  if (!done.ok()) return Fail(request_id, done.status());
  v1::NodeEvent event;
  event.set_request_id(request_id);
  if (serves) {
    event.mutable_server_registered()->set_server_id(done->endpoint_id);
    event.mutable_server_registered()->set_clients(done->others);
  } else {
    event.mutable_client_registered()->set_client_id(done->endpoint_id);
    event.mutable_client_registered()->set_servers(done->others);
  }
  Send(event);
}

void NodeSession::OnUnregister(uint64_t request_id, const v1::Unregister& unregister) {
  for (const v1::LinkCounters& counters : unregister.counters()) {
    realm_->registry.links()->RecordLast(node_id_, unregister.id(), counters);
  }
  const absl::Status status = realm_->registry.Unregister(node_id_, unregister.id());
  status.ok() ? AnswerDone(request_id) : Fail(request_id, status);
}

void NodeSession::OnLinkClosed(const v1::LinkClosed& closed) {
  LinkTable* links = realm_->registry.links();
  v1::LinkCounters counters = closed.counters();
  counters.set_link_id(closed.link_id());
  if (closed.has_counters()) links->RecordLast(node_id_, closed.endpoint_id(), counters);
  links->OnWord(closed.link_id(), node_id_, closed.endpoint_id(), SideEvent::kClosed);
}

void NodeSession::OnLinkCorrupt(const v1::LinkCorrupt& corrupt) {
  LinkTable* links = realm_->registry.links();
  v1::LinkCounters counters = corrupt.counters();
  counters.set_link_id(corrupt.link_id());
  if (corrupt.has_counters()) links->RecordLast(node_id_, corrupt.endpoint_id(), counters);
  links->OnCorrupt(corrupt.link_id(), node_id_, corrupt.endpoint_id(), corrupt.detail());
}

void NodeSession::OnCounters(uint64_t request_id, const v1::Counters& counters) {
  for (const v1::LinkCounters& link : counters.links()) {
    realm_->registry.links()->Record(node_id_, link);
  }
  realm_->survey.OnAnswer(node_id_, request_id, counters);
}

void NodeSession::OnWatch(uint64_t request_id, const v1::Watch& watch) {
  StopWatching();
  AnswerDone(request_id);
  const Interest interest{watch.peers(), watch.nodes(), watch.topics(), false};
  snapshot_.emplace(&realm_->state, interest);
  watch_id_ = realm_->state.feed.Add(interest, [this](const v1::DiscoveryEvent& event) {
    if (!snapshot_ || snapshot_->HasPassed(event)) TellDiscovery(event);
  });
  TellSnapshot();
}

void NodeSession::TellSnapshot() {
  const auto tell = [this](const v1::DiscoveryEvent& event) { TellDiscovery(event); };
  while (snapshot_ && sink_->HasRoom()) {
    if (snapshot_->TellNext(tell)) continue;
    snapshot_.reset();
    tell(SnapshotDone());
  }
}

void NodeSession::TellDiscovery(const v1::DiscoveryEvent& event) {
  v1::NodeEvent out;
  *out.mutable_discovery() = event;
  Send(out);
}

void NodeSession::OnDescribeType(uint64_t request_id, const v1::DescribeType& describe) {
  if (types_wanted_.empty() && sink_->HasRoom()) return SendType(request_id, describe.type_name());
  // A name that is none could be long: only one that is known may wait.
  const auto set = realm_->state.types.Find(describe.type_name());
  if (!set.ok()) return Fail(request_id, set.status());
  if (types_wanted_.size() == kMaxTypesWanted) {
    return Fail(request_id,
                absl::ResourceExhaustedError(fmt::format(
                    "{} descriptions of types wait for this process to read", kMaxTypesWanted)));
  }
  types_wanted_.emplace_back(request_id, describe.type_name());
}

void NodeSession::OnRoom() {
  while (!types_wanted_.empty() && sink_->HasRoom()) {
    const auto [request_id, type_name] = std::move(types_wanted_.front());
    types_wanted_.pop_front();
    SendType(request_id, type_name);
  }
  TellSnapshot();
}

void NodeSession::SendType(uint64_t request_id, const std::string& type_name) {
  const auto set = realm_->state.types.Find(type_name);
  if (!set.ok()) return Fail(request_id, set.status());
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_type_described()->set_file_descriptor_set(**set);
  Send(event);
}

void NodeSession::OnReadClock(uint64_t request_id) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_clock_reading()->set_realm_time_ns(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  Send(event);
}

void NodeSession::OnGoodbye(uint64_t request_id) {
  Leave(SideEvent::kClosed);
  node_id_ = 0;
  AnswerDone(request_id);
}

void NodeSession::Leave(SideEvent how) {
  StopWatching();
  types_wanted_.clear();
  has_left_ = true;
  if (node_id_ == 0) return;
  realm_->registry.Leave(node_id_, how);
  realm_->survey.OnLeft(node_id_);
}

void NodeSession::StopWatching() {
  snapshot_.reset();
  if (watch_id_ != 0) realm_->state.feed.Remove(std::exchange(watch_id_, 0));
}

void NodeSession::Fail(uint64_t request_id, const absl::Status& status) {
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_failure()->set_code(static_cast<int32_t>(status.code()));
  event.mutable_failure()->set_message(std::string(status.message()));
  Send(event);
}

void NodeSession::AnswerDone(uint64_t request_id) {
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_done();
  Send(event);
}

}  // namespace ivmq::control
