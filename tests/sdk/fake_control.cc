#include "tests/sdk/fake_control.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "ringbuf/keep_last_layout.h"
#include "ringbuf/ring_layout.h"
#include "transport/mapping.h"
#include "transport/region.h"
#include "transport/unix_socket.h"

namespace ivmq::test {
namespace {

constexpr uint32_t kVectors = 2;

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

std::string MakeDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "ivmq-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  return pattern;
}

}  // namespace

FakeControl::FakeControl() : FakeControl(Options{}) {}

FakeControl::FakeControl(Options options)
    : options_(options), directory_(MakeDirectory()), wake_(::eventfd(0, EFD_CLOEXEC)) {
  transport::MemfdDevice::Parts parts;
  parts.region = Must(transport::CreateRegionMemfd("ivmq-fake", options.region_bytes,
                                                   transport::RegionPages::kOnDemand));
  parts.vectors = Must(transport::CreateEventfds(kVectors));
  device_ = Must(transport::MemfdDevice::Open(std::move(parts)));
  transport::RegionParameters parameters{"fake", {}, kVectors, 1};
  parameters.uuid[0] = 1;
  if (!transport::FormatRegion(device_->region(), parameters).ok())
    throw std::runtime_error("format");
  info_ = Must(transport::OpenRegion(device_->region()));
  next_offset_ = info_.arena_offset;

  transport::AttachServer::Options serving;
  serving.realm = info_;
  serving.last_vector = kVectors - 1;
  transport::AttachServer::Callbacks callbacks;
  callbacks.on_attached = [this](auto client) { OnAttached(std::move(client)); };
  callbacks.on_gone = [this](uint64_t connection, auto) { OnGone(connection); };
  server_ = Must(transport::AttachServer::Create(
      Must(transport::ListenUnix(socket_path(), transport::UnixSocketType::kSeqpacket)), device_,
      serving, std::move(callbacks)));
  thread_ = std::thread([this] { Serve(); });
}

FakeControl::~FakeControl() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
  server_.reset();
  std::filesystem::remove_all(directory_);
}

void FakeControl::Wake() {
  const uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
}

void FakeControl::Serve() {
  for (;;) {
    std::vector<pollfd> watched = {{wake_.get(), POLLIN, 0}, {server_->fd(), POLLIN, 0}};
    std::vector<uint64_t> whose;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (without_keeper_) return;
      for (auto& [id, node] : nodes_) {
        if (node.channel == nullptr) continue;
        whose.push_back(id);
        watched.push_back({node.channel->fd(), POLLIN, 0});
      }
    }
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[0].revents != 0) {
      uint64_t count = 0;
      static_cast<void>(!::read(wake_.get(), &count, sizeof(count)));
    }
    if (watched[1].revents != 0) server_->Process();
    for (size_t i = 0; i < whose.size(); ++i) {
      if (watched[i + 2].revents != 0) OnReadable(whose[i]);
    }
  }
}

void FakeControl::OnAttached(transport::AttachServer::Client client) {
  const std::lock_guard lock(mutex_);
  NodeState node;
  node.connection = client.connection_id;
  node.channel = std::make_unique<transport::FrameChannel>(std::move(client.channel));
  node.vector = client.vector;
  node.wake_offset = Allocate(sizeof(transport::WakeBlock));
  nodes_[next_node_++] = std::move(node);
}

void FakeControl::OnGone(uint64_t connection) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, node] : nodes_) {
    if (node.connection != connection) continue;
    node.channel.reset();
    const uint64_t gone = id;
    std::erase_if(endpoints_, [gone](const EndpointState& one) { return one.node == gone; });
    for (auto& [link_id, link] : links_) {
      v1::NodeEvent event;
      event.mutable_link_down()->set_link_id(link_id);
      event.mutable_link_down()->set_reason(v1::LinkDown::DIED);
      if (link.publisher_node == gone) SendLocked(link.subscriber_node, event);
      if (link.subscriber_node == gone) SendLocked(link.publisher_node, event);
    }
  }
}

void FakeControl::OnReadable(uint64_t node) {
  for (;;) {
    transport::FrameChannel::Frame frame;
    const std::lock_guard lock(mutex_);
    auto& channel = nodes_[node].channel;
    if (channel == nullptr) return;
    const auto got = channel->Receive(&frame);
    if (!got.ok()) {
      channel.reset();
      return;
    }
    if (!got.value()) return;
    v1::NodeRequest request;
    if (request.ParseFromString(frame.payload)) OnRequest(node, request);
  }
}

void FakeControl::OnRequest(uint64_t node, const v1::NodeRequest& request) {
  requests_.push_back(request);
  v1::NodeEvent done;
  done.set_request_id(request.request_id());
  switch (request.request_case()) {
    case v1::NodeRequest::kHello:
      OnHello(node, request.request_id());
      break;
    case v1::NodeRequest::kRegisterPublisher:
    case v1::NodeRequest::kRegisterSubscriber:
    case v1::NodeRequest::kRegisterClient:
    case v1::NodeRequest::kRegisterServer:
      if (options_.answers_registrations) OnRegister(node, request);
      break;
    case v1::NodeRequest::kUnregister:
      OnUnregister(request.unregister().id());
      break;
    case v1::NodeRequest::kLinkAttached: {
      const auto link = links_.find(request.link_attached().link_id());
      if (link == links_.end() || link->second.publisher_node != node) break;
      if (!options_.sends_link_ready) break;
      v1::NodeEvent event;
      event.mutable_link_ready()->set_link_id(link->first);
      SendLocked(link->second.subscriber_node, event);
      break;
    }
    case v1::NodeRequest::kDescribeType:
      OnDescribe(node, request);
      break;
    case v1::NodeRequest::kWatch:
      if (!options_.answers_watches) break;
      [[fallthrough]];
    case v1::NodeRequest::kGoodbye:
      done.mutable_done();
      SendLocked(node, done);
      break;
    default:
      break;
  }
}

void FakeControl::OnDescribe(uint64_t node, const v1::NodeRequest& request) {
  v1::NodeEvent event;
  event.set_request_id(request.request_id());
  event.mutable_failure()->set_code(5);  // NOT_FOUND
  for (const v1::NodeRequest& one : requests_) {
    const v1::RegisterPublisher& registered = one.register_publisher();
    if (registered.file_descriptor_set().empty()) continue;
    if (registered.type_name() != request.describe_type().type_name()) continue;
    event.mutable_type_described()->set_file_descriptor_set(registered.file_descriptor_set());
  }
  SendLocked(node, event);
}

void FakeControl::OnHello(uint64_t node, uint64_t request_id) {
  if (!options_.answers_hello) return;
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_welcome()->set_node_id(node);
  event.mutable_welcome()->set_wake_offset(nodes_[node].wake_offset);
  event.mutable_welcome()->set_realm("fake");
  event.mutable_welcome()->set_protocol_version(2);
  SendLocked(node, event);
}

void FakeControl::OnRegister(uint64_t node, const v1::NodeRequest& request) {
  EndpointState mine;
  mine.id = next_endpoint_++;
  mine.node = node;
  mine.publishes = request.has_register_publisher() || request.has_register_client();
  mine.of_service = request.has_register_client() || request.has_register_server();
  if (request.has_register_publisher()) {
    mine.topic = request.register_publisher().topic();
    mine.qos = request.register_publisher().qos();
  } else if (request.has_register_subscriber()) {
    mine.topic = request.register_subscriber().topic();
    mine.qos = request.register_subscriber().qos();
  } else if (request.has_register_client()) {
    mine.topic = request.register_client().service();
    mine.qos.set_ring_bytes(request.register_client().ring_bytes());
  } else {
    mine.topic = request.register_server().service();
    mine.qos.set_ring_bytes(request.register_server().ring_bytes());
  }
  uint32_t links = 0;
  const std::vector<EndpointState> others = endpoints_;
  endpoints_.push_back(mine);
  for (const EndpointState& other : others) {
    if (other.topic != mine.topic || other.publishes == mine.publishes) continue;
    if (other.of_service != mine.of_service) continue;
    const EndpointState& from = mine.publishes ? mine : other;
    const EndpointState& to = mine.publishes ? other : mine;
    if (mine.of_service) {
      MakePair(from, to);
    } else {
      const Link link = MakeLink(from, to);
      TellLinkUp(link, true);
      TellLinkUp(link, false);
    }
    ++links;
  }
  AnswerRegister(request.request_id(), request, mine, links);
}

void FakeControl::AnswerRegister(uint64_t request_id, const v1::NodeRequest& request,
                                 const EndpointState& endpoint, uint32_t links) {
  v1::NodeEvent event;
  event.set_request_id(request_id);
  if (request.has_register_publisher()) {
    event.mutable_publisher_registered()->set_publisher_id(endpoint.id);
    event.mutable_publisher_registered()->set_links(links);
  } else if (request.has_register_subscriber()) {
    event.mutable_subscriber_registered()->set_subscriber_id(endpoint.id);
    event.mutable_subscriber_registered()->set_links(links);
  } else if (request.has_register_client()) {
    event.mutable_client_registered()->set_client_id(endpoint.id);
    event.mutable_client_registered()->set_servers(links);
  } else {
    event.mutable_server_registered()->set_server_id(endpoint.id);
    event.mutable_server_registered()->set_clients(links);
  }
  SendLocked(endpoint.node, event);
}

void FakeControl::OnUnregister(uint64_t id) {
  std::erase_if(endpoints_, [id](const EndpointState& one) { return one.id == id; });
  for (auto& [link_id, link] : links_) {
    v1::NodeEvent event;
    event.mutable_link_down()->set_link_id(link_id);
    event.mutable_link_down()->set_reason(v1::LinkDown::CLOSED);
    if (link.publisher == id) SendLocked(link.subscriber_node, event);
    if (link.subscriber == id) SendLocked(link.publisher_node, event);
  }
}

FakeControl::Link FakeControl::MakeLink(const EndpointState& publisher,
                                        const EndpointState& subscriber) {
  Link link;
  link.id = next_link_++;
  link.topic = publisher.topic;
  link.publisher_node = publisher.node;
  link.subscriber_node = subscriber.node;
  link.publisher = publisher.id;
  link.subscriber = subscriber.id;
  link.qos = publisher.qos;
  link.qos.set_history(std::min(publisher.qos.history(), subscriber.qos.history()));
  if (subscriber.qos.reliability() != v1::Qos::RELIABILITY_UNSPECIFIED) {
    link.qos.set_reliability(subscriber.qos.reliability());
    link.qos.set_depth(subscriber.qos.depth());
  }
  link.ring_capacity =
      std::max<uint64_t>({publisher.qos.ring_bytes(), subscriber.qos.ring_bytes(), 4096});
  const bool slots = link.qos.reliability() == v1::Qos::KEEP_LAST;
  const uint64_t depth = link.qos.depth();
  const uint64_t message = link.qos.max_message_bytes();
  if (slots) link.ring_capacity = 0;
  link.ring_offset = Allocate(slots ? ringbuf::KeepLastBytes(depth, message)
                                    : ringbuf::RingBytes(link.ring_capacity));
  std::byte* const place = device_->region().data() + link.ring_offset;
  if (slots) {
    ringbuf::InitializeKeepLast(place, depth, message);
  } else {
    ringbuf::InitializeRing(place, link.ring_capacity);
  }
  ready_[link.id] = {Allocate(64), Allocate(64)};
  if (options_.shares_ready_bytes) ready_[link.id] = ready_.begin()->second;
  links_[link.id] = link;
  return link;
}

void FakeControl::MakePair(const EndpointState& client, const EndpointState& server) {
  Link& request = links_[MakeLink(client, server).id];
  Link& reply = links_[MakeLink(server, client).id];
  request.pair = reply.id;
  reply.pair = request.id;
  for (const Link* link : {&request, &reply}) {
    TellLinkUp(*link, true);
    TellLinkUp(*link, false);
  }
}

void FakeControl::TellLinkUp(const Link& link, bool publisher) {
  const uint64_t told = publisher ? link.publisher_node : link.subscriber_node;
  const uint64_t other = publisher ? link.subscriber_node : link.publisher_node;
  v1::NodeEvent event;
  v1::LinkUp* const up = event.mutable_link_up();
  up->set_link_id(link.id);
  up->set_endpoint_id(publisher ? link.publisher : link.subscriber);
  up->set_publishes(publisher);
  up->set_ring_offset(link.ring_offset);
  up->set_ring_capacity(link.ring_capacity);
  FillWake(up->mutable_consumer(), link.subscriber_node, ready_[link.id].first);
  FillWake(up->mutable_producer(), link.publisher_node, ready_[link.id].second);
  up->set_topic(link.topic);
  up->set_pair_link_id(link.pair);
  up->set_other_node_id(other);
  up->set_other_node("node-" + std::to_string(other));
  up->set_doorbell_fds(1);
  up->set_reliability(link.qos.reliability());
  up->set_depth(link.qos.depth());
  up->set_max_message_bytes(link.qos.max_message_bytes());
  if (publisher) up->set_history(link.qos.history());
  SendLocked(told, event, {device_->vector_fd(nodes_[other].vector)});
}

void FakeControl::FillWake(v1::WakeAddress* wake, uint64_t node, uint64_t ready_offset) {
  wake->set_wake_offset(nodes_[node].wake_offset);
  wake->set_ready_offset(ready_offset);
  wake->set_vector(nodes_[node].vector);
}

void FakeControl::SendLocked(uint64_t node, const v1::NodeEvent& event, std::vector<int> fds) {
  auto& channel = nodes_[node].channel;
  if (channel != nullptr) static_cast<void>(channel->Send(event.SerializeAsString(), fds));
}

uint64_t FakeControl::Allocate(uint64_t bytes) {
  const uint64_t offset = (next_offset_ + 63) / 64 * 64;
  next_offset_ = offset + bytes;
  if (next_offset_ > device_->region().size())
    throw std::runtime_error("the fake's region is full");
  return offset;
}

v1::NodeRequest FakeControl::AwaitRequest(const std::function<bool(const v1::NodeRequest&)>& fits) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  do {
    for (const v1::NodeRequest& request : requests()) {
      if (fits(request)) return request;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (std::chrono::steady_clock::now() < deadline);
  ADD_FAILURE() << "no such request within a minute";
  return {};
}

std::vector<v1::NodeRequest> FakeControl::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<FakeControl::Link> FakeControl::links() const {
  const std::lock_guard lock(mutex_);
  std::vector<Link> all;
  for (const auto& [id, link] : links_) all.push_back(link);
  return all;
}

void FakeControl::set_answers_registrations(bool answers) {
  const std::lock_guard lock(mutex_);
  options_.answers_registrations = answers;
}

void FakeControl::set_sends_link_ready(bool sends) {
  const std::lock_guard lock(mutex_);
  options_.sends_link_ready = sends;
}

void FakeControl::SendEvent(uint64_t node, const v1::NodeEvent& event) {
  const std::lock_guard lock(mutex_);
  SendLocked(node, event);
}

void FakeControl::RepeatLinkUp(const Link& link, bool publisher) {
  const std::lock_guard lock(mutex_);
  TellLinkUp(link, publisher);
}

void FakeControl::BreakLink(const Link& link) {
  v1::NodeEvent event;
  event.mutable_link_down()->set_link_id(link.id);
  event.mutable_link_down()->set_reason(v1::LinkDown::CLOSED);
  const std::lock_guard lock(mutex_);
  SendLocked(link.publisher_node, event);
  SendLocked(link.subscriber_node, event);
}

void FakeControl::Die() {
  {
    const std::lock_guard lock(mutex_);
    for (auto& [id, node] : nodes_) node.channel.reset();
  }
  Wake();
}

void FakeControl::DieWithKeeper() {
  Die();
  {
    const std::lock_guard lock(mutex_);
    without_keeper_ = true;
  }
  Wake();
  thread_.join();
  server_.reset();
  thread_ = std::thread([] {});
}

}  // namespace ivmq::test
