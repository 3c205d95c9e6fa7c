#include "sdk/node/node_impl.h"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/counter_pieces.h"
#include "sdk/node/defaults.h"
#include "sdk/node/wire_text.h"
#include "sdk/threads/handler_scope.h"
#include "transport/region.h"

namespace ivmq::internal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kClosePatience = std::chrono::seconds(1);

Status NoDaemonStatus(const std::vector<std::string>& paths) {
  std::string tried;
  for (const std::string& path : paths) tried += (tried.empty() ? "" : ", ") + path;
  return {Code::kUnavailable,
          "no daemon at " + tried +
              ": start ivmqd (on a host) or ivmq-agent (in a guest), or name its "
              "socket (IVMQ_NODE_SOCKET, NodeOptions::socket_path, ivmq "
              "--node-socket)"};
}

// The first socket that exists and is listened on.
Result<transport::Attached> AttachToAny(const std::vector<std::string>& paths,
                                        Clock::time_point deadline, std::string* attached_to) {
  std::vector<std::string> there;
  for (const std::string& path : paths) {
    struct stat info {};
    // What may be there but cannot be seen is left to connect() to explain.
    if (::stat(path.c_str(), &info) == 0 || errno == EACCES) there.push_back(path);
  }
  std::string refusals;
  for (size_t i = 0; i < there.size(); ++i) {
    // A path that nobody listens on must not take the time of the others.
    const auto share = (deadline - Clock::now()) / static_cast<int64_t>(there.size() - i);
    auto attached = transport::Attach(there[i], Clock::now() + share);
    if (attached.ok()) {
      *attached_to = there[i];
      return std::move(attached).value();
    }
    const Status status = FromTransport(attached.status());
    const bool last = i + 1 == there.size();
    if (!last && status.code() == Code::kUnavailable) {
      refusals += status.message() + "; ";
      continue;
    }
    return Status(status.code(), refusals + status.message());
  }
  return NoDaemonStatus(paths);
}

Status CheckNodeName(const std::string& name) {
  if (name.size() > kNodeNameBytesMax) {
    return {Code::kInvalidArgument, "a node name of " + std::to_string(name.size()) +
                                        " bytes: 1 to " + std::to_string(kNodeNameBytesMax) +
                                        " are allowed"};
  }
  return CheckWireText("node name", name);
}

}  // namespace

Result<std::shared_ptr<NodeImpl>> NodeImpl::Open(const NodeOptions& options) {
  CallGate::Prepare();
  const std::string name = options.name.empty() ? DefaultNodeName() : options.name;
  if (Status status = CheckNodeName(name); !status.ok()) return status;
  const auto deadline = DeadlineAfter(options.timeout);
  std::string path;
  auto attached = AttachToAny(NodeSocketPaths(options.socket_path, CurrentSocketEnvironment()),
                              deadline, &path);
  if (!attached.ok()) return attached.status();

  std::shared_ptr<NodeImpl> node(new NodeImpl(std::move(attached).value(), path, name, options),
                                 &Destroy);
  node->timeout_ = options.timeout;
  if (Status status = node->Begin(deadline); !status.ok()) return status;
  return node;
}

void NodeImpl::Destroy(NodeImpl* node) {
  if (node->forked()) return;
  if (!node->session_->on_own_thread() && !node->callbacks_.on_own_thread()) {
    delete node;
    return;
  }
  // The last copy was dropped in a handler: that thread cannot wait for itself.
  std::thread([node] { delete node; }).detach();
}

NodeImpl::NodeImpl(transport::Attached attached, std::string socket_path, std::string name,
                   const NodeOptions& options)
    : connection_(std::move(attached.connection)),
      vector_(attached.welcome.vector),
      device_(std::move(attached.device)),
      name_(std::move(name)),
      socket_path_(std::move(socket_path)),
      socket_(SocketAge::Of(socket_path_)),
      clock_(
          device_->peer_id() == 0 ? RealmClock::Ask() : [this] { AskForTime(); },
          [this] { return Heartbeat(); }),
      events_(this, options.on_event),
      session_(std::make_unique<Session>(std::move(attached.channel), connection_.get())) {}

Status NodeImpl::Begin(Clock::time_point deadline) {
  fork_guard_.CloseInChild(connection_.get(), session_->channel_fd());
  auto welcome = session_->Hello(name_, deadline);
  if (!welcome.ok()) return welcome.status();
  id_ = welcome->node_id();
  realm_ = welcome->realm();
  auto wake = transport::NodeWake::Open(device_, welcome->wake_offset(), vector_);
  if (!wake.ok()) return FromTransport(wake.status());
  wake_ = std::move(wake).value();
  return session_->Start(this);
}

NodeImpl::~NodeImpl() {
  Close();
  // Also inside a handler: what is left of the node is this thread's alone.
  static_cast<void>(session_->WaitEnded(Clock::now() + kClosePatience));
  fork_guard_.CloseInChild(-1, -1);
  session_.reset();
}

// Once a node is enough: control keeps it as long as anybody publishes or serves the type.
bool NodeImpl::IsToDescribe(const Types& types) const {
  if (types.descriptors.empty()) return false;
  return std::any_of(types.names.begin(), types.names.end(), [this](std::string_view type) {
    return !type.empty() && described_.find(type) == described_.end();
  });
}

void NodeImpl::NoteDescribed(const Types& types, uint64_t endpoint_id) {
  for (const std::string_view type : types.names) {
    if (type.empty()) continue;
    const auto known = described_.find(type);
    if (known != described_.end()) {
      known->second.insert(endpoint_id);
    } else if (!types.said->empty()) {
      described_[std::string(type)].insert(endpoint_id);
    }
  }
}

Result<std::string> NodeImpl::DescribeType(std::string_view type_name) {
  if (forked()) return ForkedStatus();
  if (Status status = CheckWireText("type name", type_name); !status.ok()) return status;
  v1::NodeRequest request;
  request.mutable_describe_type()->set_type_name(std::string(type_name));
  // Shared, for an answer that comes when nobody waits any more.
  const auto found = std::make_shared<std::string>();
  Status status = session_->Call(&request, DeadlineAfter(timeout_),
                                 [found](const v1::NodeEvent& answer, bool abandoned) {
                                   if (!abandoned)
                                     *found = answer.type_described().file_descriptor_set();
                                 });
  if (!status.ok()) return status;
  return std::move(*found);
}

uint64_t NodeImpl::Heartbeat() const {
  // relaxed: a figure.
  return transport::HeaderOf(device_->region())->heartbeat.load(std::memory_order_relaxed);
}

void NodeImpl::AskForTime() {
  v1::NodeRequest request;
  request.mutable_read_clock();
  const auto asked = Clock::now();
  session_->Ask(&request, [this, asked](const v1::NodeEvent& answer, bool) {
    if (answer.has_clock_reading()) clock_.Answer(answer.clock_reading().realm_time_ns(), asked);
  });
}

void NodeImpl::Post(const v1::NodeRequest& request) {
  SendInPieces(request, [this](const v1::NodeRequest& piece) { session_->Post(piece); });
}

Result<uint64_t> NodeImpl::Register(v1::NodeRequest* request, Endpoint* endpoint,
                                    const Types* types, std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  if (types != nullptr && types->descriptors.size() > kMaxDescriptorBytes) {
    return Status(Code::kInvalidArgument,
                  "a file descriptor set of " + std::to_string(types->descriptors.size()) +
                      " bytes: at most " + std::to_string(kMaxDescriptorBytes) + " are allowed");
  }
  const auto deadline = DeadlineAfter(std::min(timeout, timeout_));
  // Shared, for an answer that comes when nobody waits any more.
  const auto id = std::make_shared<uint64_t>(0);
  std::unique_lock lock(mutex_);
  if (closing_) return Status(Code::kClosed, "the node is closed");
  ++registering_;
  // Sent with the lock held: whoever is it that control knows the types from says goodbye after
  // this, so they are in use until then, and known.
  if (types != nullptr && IsToDescribe(*types)) *types->said = types->descriptors;
  const auto call =
      session_->Begin(request, [this, endpoint, id](const v1::NodeEvent& answer, bool abandoned) {
        *id = OnRegistered(answer, abandoned, endpoint);
      });
  lock.unlock();
  const Status status = call.ok() ? session_->Await(call.value(), deadline) : call.status();
  lock.lock();
  if (--registering_ == 0) early_.clear();
  if (!status.ok()) return status;
  if (types != nullptr) NoteDescribed(*types, *id);
  return *id;
}

uint64_t NodeImpl::OnRegistered(const v1::NodeEvent& answer, bool abandoned, Endpoint* endpoint) {
  uint64_t id = 0;
  if (answer.has_publisher_registered()) {
    id = answer.publisher_registered().publisher_id();
  } else if (answer.has_subscriber_registered()) {
    id = answer.subscriber_registered().subscriber_id();
  } else if (answer.has_client_registered()) {
    id = answer.client_registered().client_id();
  } else if (answer.has_server_registered()) {
    id = answer.server_registered().server_id();
  } else {
    return 0;
  }
  if (abandoned) {
    v1::NodeRequest request;
    request.mutable_unregister()->set_id(id);
    Post(request);
    return 0;
  }
  const std::lock_guard lock(mutex_);
  endpoints_[id] = endpoint;
  ++live_endpoints_;
  endpoint->OnRegistered(id);
  // What came before the answer, in order; what belongs to others stays where it was.
  std::vector<Early> early = std::move(early_);
  early_.clear();
  for (Early& one : early) {
    if (one.event.has_link_refused()) {
      endpoint->OnLinkRefused(one.event.link_refused());
    } else {
      OnLinkEvent(&one.event, &one.fds);
    }
  }
  endpoint->OnAnswered();
  if (closing_) endpoint->End(EndReason::kNodeClosed);
  return id;
}

Status NodeImpl::Watch(DiscoveryHandler handler) {
  if (forked()) return ForkedStatus();
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return {Code::kClosed, "the node is closed"};
    if (watch_ != nullptr) return {Code::kAlreadyExists, "this node watches already: once a node"};
    watch_ = std::make_shared<const DiscoveryHandler>(std::move(handler));
  }
  v1::NodeRequest request;
  request.mutable_watch()->set_peers(true);
  request.mutable_watch()->set_nodes(true);
  request.mutable_watch()->set_topics(true);
  // Control answers, then tells; a later watch takes the place of an earlier one. So what comes
  // before the answer belongs to one that has failed here.
  Status status = session_->Call(&request, DeadlineAfter(timeout_),
                                 [this](const v1::NodeEvent& answer, bool abandoned) {
                                   const std::lock_guard lock(mutex_);
                                   watch_answered_ = answer.has_done() && !abandoned;
                                 });
  if (status.ok()) return status;
  std::shared_ptr<const DiscoveryHandler> dropped;  // goes without the lock
  const std::lock_guard lock(mutex_);
  dropped.swap(watch_);
  return status;
}

void NodeImpl::Close() {
  if (forked()) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    EndAll(EndReason::kNodeClosed);
  }
  session_->Kick();
  events_.ForgetAll();
  // Inside a handler the endpoint of that handler ends only when the handler returns.
  if (HandlerScope::Inside(this)) return;
  static_cast<void>(session_->WaitEnded(Clock::now() + kClosePatience));
}

void NodeImpl::EndAll(EndReason reason) {
  for (auto& [id, endpoint] : endpoints_) endpoint->End(reason);
}

void NodeImpl::Forget(uint64_t endpoint_id) {
  const std::lock_guard lock(mutex_);
  endpoints_.erase(endpoint_id);
}

void NodeImpl::ForgetTypes(uint64_t endpoint_id) {
  const std::lock_guard lock(mutex_);
  for (auto known = described_.begin(); known != described_.end();) {
    known->second.erase(endpoint_id);
    known = known->second.empty() ? described_.erase(known) : std::next(known);
  }
}

void NodeImpl::OnEndpointEnded() {
  --live_endpoints_;
  if (closing_) session_->Kick();
}

bool NodeImpl::WantsGoodbye() { return closing_ && live_endpoints_ == 0; }

}  // namespace ivmq::internal
