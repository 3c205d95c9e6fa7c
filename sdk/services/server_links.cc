// How a server comes by the links to its clients and lets them go.

#include <algorithm>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/node/convert.h"
#include "sdk/node/defaults.h"
#include "sdk/node/node_impl.h"
#include "sdk/services/link_words.h"
#include "sdk/services/server_impl.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {

using transport::LinkReader;
using transport::LinkWriter;

Result<std::shared_ptr<ServerImpl>> ServerImpl::Make(std::shared_ptr<NodeImpl> node,
                                                     std::string_view service,
                                                     BytesServer::Handler handler,
                                                     const ServerOptions& options,
                                                     bool serves_itself) {
  if (Status status = CheckRingBytes(options.ring_bytes); !status.ok()) return status;
  if (options.max_concurrent == 0) {
    return Status(Code::kInvalidArgument,
                  "ServerOptions::max_concurrent of 0: at least 1 is needed");
  }
  if (options.write_timeout.count() <= 0) {
    return Status(Code::kInvalidArgument, "ServerOptions::write_timeout of " +
                                              DurationText(options.write_timeout) +
                                              ": it must be above zero");
  }
  if (!handler) return Status(Code::kInvalidArgument, "a server without a handler");
  transport::WaiterOptions waiting;
  waiting.strategy = StrategyOf(options.wait);
  auto waiter = transport::Waiter::Open(node->wake(), waiting);
  if (!waiter.ok()) return FromTransport(waiter.status());
  return std::shared_ptr<ServerImpl>(
      new ServerImpl(std::move(node), service, std::move(handler), options, serves_itself,
                     std::move(waiter).value()),
      &Destroy);
}

ServerImpl::ServerImpl(std::shared_ptr<NodeImpl> node, std::string_view service,
                       BytesServer::Handler handler, const ServerOptions& options,
                       bool serves_itself, std::unique_ptr<transport::Waiter> waiter)
    : Endpoint(node.get(), std::string(service), options.on_event),
      node_(std::move(node)),
      service_(service),
      handler_(std::move(handler)),
      executor_(options.executor),
      ring_bytes_(options.ring_bytes == 0 ? ringbuf::kDefaultCapacity : options.ring_bytes),
      max_concurrent_(options.executor ? options.max_concurrent : 1),
      write_timeout_(options.write_timeout),
      serves_itself_(serves_itself),
      crew_(&mutex_, this, std::move(waiter)) {}

ServerImpl::~ServerImpl() { Close(); }

void ServerImpl::Destroy(ServerImpl* server) {
  // A forked child has neither the links nor the threads.
  if (!server->forked()) delete server;
}

void ServerImpl::Close() {
  if (forked()) return;
  EndForGood();
  if (stand_in_ != nullptr) stand_in_->Stop();
  if (HandlerScope::Inside(node_.get())) return;
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return running_ == 0; });
}

uint32_t ServerImpl::clients() const {
  if (forked()) return 0;
  const std::lock_guard lock(mutex_);
  return static_cast<uint32_t>(std::count_if(clients_.begin(), clients_.end(),
                                             [](const auto& client) { return client->usable(); }));
}

ServerCounters ServerImpl::counters() const {
  if (forked()) return {};
  const std::lock_guard lock(mutex_);
  ServerCounters counters = counted_;
  counters.running = running_;
  return counters;
}

Status ServerImpl::ClosedStatus() const {
  if (ended_ == EndReason::kEvicted) {
    return {Code::kClosed, "service '" + service_ + "': this node was evicted by an operator"};
  }
  return {Code::kClosed, "service '" + service_ + "': the server is closed"};
}

void ServerImpl::OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) {
  const std::lock_guard lock(mutex_);
  if (end_requested_ != EndReason::kNotEnded) return;  // Our unregistration settles it.
  const uint64_t request_link = link.publishes() ? link.pair_link_id() : link.link_id();
  Client* client = PairOf(clients_, request_link);
  if (client == nullptr) {
    clients_.push_back(std::make_unique<Client>());
    client = clients_.back().get();
    client->request_link = request_link;
    client->reply_link = link.publishes() ? link.link_id() : link.pair_link_id();
    client->peer = link.other_peer_id();
  }
  transport::Status status;
  if (link.publishes()) {
    auto writer = LinkWriter::Open(node_->device(), AddressOf(link), std::move(doorbell));
    status = writer.status();
    if (status.ok()) client->writer = std::make_unique<LinkWriter>(std::move(writer).value());
  } else {
    auto reader = LinkReader::Open(node_->device(), AddressOf(link), std::move(doorbell));
    status = reader.status();
    client->names = std::make_shared<const ServerClientNames>(
        ServerClientNames{link.other_node(), link.type_name()});
    if (status.ok()) {
      client->parked = std::make_unique<LinkReader>(std::move(reader).value());
      client->reader = client->parked.get();
      client->reader->set_context(client);
    }
  }
  if (!status.ok()) {
    const std::string& detail = status.message();
    return Leave(client, &detail);
  }
  PostAttached(node_.get(), link);
  if (client->usable() && !client->matched) {
    client->matched = true;
    TellOf(Event::Kind::kMatched, *client, {});
  }
  // Requests are read once they can be answered.
  Settle(client);
}

bool ServerImpl::OnLinkReady(uint64_t link_id) {
  const std::lock_guard lock(mutex_);
  return PairOf(clients_, link_id) != nullptr;
}

bool ServerImpl::OnLinkDown(const v1::LinkDown& down) {
  const std::lock_guard lock(mutex_);
  Client* const client = PairOf(clients_, down.link_id());
  if (client == nullptr) return false;
  if (client->matched) TellOf(Event::Kind::kGone, *client, GoneText(down.reason()));
  Leave(client, nullptr);
  crew_.Notify();
  return true;
}

bool ServerImpl::OnLinkSuspect(const v1::LinkSuspect& suspect) {
  const std::lock_guard lock(mutex_);
  const Client* const client = PairOf(clients_, suspect.link_id());
  if (client == nullptr) return false;
  // Control tells of both links.
  if (client->matched && suspect.link_id() == client->request_link) {
    TellOf(suspect.suspect() ? Event::Kind::kSuspect : Event::Kind::kAlive, *client, {});
  }
  return true;
}

void ServerImpl::OnLinkRefused(const v1::LinkRefused& refused) {
  Tell({Event::Kind::kIncompatible, {}, refused.other_node(), 0, 0, refused.reason()});
}

void ServerImpl::TellOf(Event::Kind kind, const Client& client, std::string detail) {
  TellFromElsewhere(
      {kind, {}, client.names->node, client.peer, client.request_link, std::move(detail)});
}

void ServerImpl::Leave(Client* client, const std::string* detail) {
  if (client->leaving) return;
  client->leaving = true;
  DropRequestsOf(client);
  if (detail != nullptr) {
    ++counted_.corrupt_links;
    if (client->matched) TellOf(Event::Kind::kGone, *client, *detail);
  }
  v1::LinkCounters counters;
  counters.set_link_id(client->request_link);
  if (client->reader != nullptr) counters = CountersOf(*client->reader);
  PostLeft(node_.get(), id_, detail, counters);
  counters.Clear();
  counters.set_link_id(client->reply_link);
  if (client->writer != nullptr) counters = CountersOf(*client->writer);
  PostLeft(node_.get(), id_, nullptr, counters);
  poller_.Remove(client->request_link);
  if (client->wanted_bytes > 0) --wanting_;
  if (client->in_turns) std::erase(turns_, client);
  departed_.clear();
  const auto place = std::find_if(clients_.begin(), clients_.end(),
                                  [client](const auto& one) { return one.get() == client; });
  // Whoever called may look at it once more.
  departed_.push_back(std::move(*place));
  clients_.erase(place);
}

void ServerImpl::DropRequestsOf(Client* client) {
  for (Job* const job : client->waiting) FreeJob(job);
  counted_.waiting -= static_cast<uint32_t>(client->waiting.size());
  counted_.cancelled += client->waiting.size();
  client->waiting.clear();
  for (Job* const job : client->running) {
    job->client = nullptr;
    job->cancelled.store(true, std::memory_order_relaxed);
    crew_.Wake(&job->member);
  }
  client->running.clear();
}

void ServerImpl::Apply() {
  if (end_requested_ <= ended_) return;
  const bool first = ended_ == EndReason::kNotEnded;
  ended_ = end_requested_;
  v1::NodeRequest request;
  request.mutable_unregister()->set_id(id_);
  for (auto& client : clients_) {
    DropRequestsOf(client.get());
    if (client->writer != nullptr) {
      *request.mutable_unregister()->add_counters() = CountersOf(*client->writer);
    }
    if (client->reader != nullptr) {
      *request.mutable_unregister()->add_counters() = CountersOf(*client->reader);
    }
    poller_.Remove(client->request_link);
  }
  clients_.clear();
  turns_.clear();
  wanting_ = 0;
  crew_.WakeStandIn();
  if (id_ == 0 || !first) return;
  node_->Post(request);
  node_->OnEndpointEnded();
}

void ServerImpl::AddCounters(v1::Counters* counters) {
  const std::lock_guard lock(mutex_);
  for (const auto& client : clients_) {
    if (client->writer != nullptr) *counters->add_links() = CountersOf(*client->writer);
    if (client->reader != nullptr) *counters->add_links() = CountersOf(*client->reader);
  }
}

void ServerImpl::AddLeft(std::vector<uint64_t>* link_ids) const {
  const std::lock_guard lock(mutex_);
  for (const auto& client : clients_) {
    if (client->reader != nullptr && client->reader->producer_left()) {
      link_ids->push_back(client->request_link);
    }
  }
}

}  // namespace ivmq::internal
