// How a client comes by the links to its servers and lets them go.

#include <algorithm>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/node/convert.h"
#include "sdk/node/defaults.h"
#include "sdk/node/node_impl.h"
#include "sdk/services/client_impl.h"
#include "sdk/services/link_words.h"

namespace ivmq::internal {

using transport::LinkReader;
using transport::LinkWriter;

namespace {

// A dead server's ring holds no more records than this: each takes a header and a head.
uint64_t RecordsMax(const LinkReader& reader) { return reader.capacity() / 16; }

}  // namespace

Result<std::shared_ptr<ClientImpl>> ClientImpl::Make(std::shared_ptr<NodeImpl> node,
                                                     std::string_view service,
                                                     const ClientOptions& options) {
  if (Status status = CheckRingBytes(options.ring_bytes); !status.ok()) return status;
  constexpr uint32_t kMaxOpen = 1 << 20;
  if (options.max_open == 0 || options.max_open > kMaxOpen) {
    return Status(Code::kInvalidArgument, "ClientOptions::max_open of " +
                                              std::to_string(options.max_open) + ": 1 to " +
                                              std::to_string(kMaxOpen) + " are allowed");
  }
  transport::WaiterOptions waiting;
  waiting.strategy = StrategyOf(options.wait);
  auto waiter = transport::Waiter::Open(node->wake(), waiting);
  if (!waiter.ok()) return FromTransport(waiter.status());
  return std::shared_ptr<ClientImpl>(
      new ClientImpl(std::move(node), service, options, std::move(waiter).value()), &Destroy);
}

ClientImpl::ClientImpl(std::shared_ptr<NodeImpl> node, std::string_view service,
                       const ClientOptions& options, std::unique_ptr<transport::Waiter> waiter)
    : Endpoint(node.get(), std::string(service), options.on_event),
      node_(std::move(node)),
      service_(service),
      ring_bytes_(options.ring_bytes == 0 ? ringbuf::kDefaultCapacity : options.ring_bytes),
      max_open_(options.max_open),
      executor_(options.executor),
      crew_(&mutex_, this, std::move(waiter)) {}

ClientImpl::~ClientImpl() { Close(); }

void ClientImpl::Destroy(ClientImpl* client) {
  // A forked child has neither the links nor the threads.
  if (!client->forked()) delete client;
}

void ClientImpl::Close() {
  if (forked()) return;
  EndForGood();
  StandIn* stand_in = nullptr;
  {
    const std::lock_guard lock(start_mutex_);
    stand_in = stand_in_.get();
  }
  if (stand_in == nullptr) return;
  stand_in->Stop();
  // What it has not called back is left to us; while it is at it, it goes on itself.
  std::unique_lock lock(mutex_);
  CallBack(&lock);
}

Status ClientImpl::WaitForServers(uint32_t count, std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  const auto deadline = DeadlineAfter(timeout);
  std::unique_lock lock(mutex_);
  servers_changed_.wait_until(lock, deadline,
                              [&] { return linked_ >= count || ended_ != EndReason::kNotEnded; });
  if (ended_ != EndReason::kNotEnded) return ClosedStatus();
  if (linked_ >= count) return {};
  std::string text = "service '" + service_ + "': " + std::to_string(linked_) + " of " +
                     std::to_string(count) + " servers after " + DurationText(timeout);
  if (!last_refusal_.empty()) text += "; last refused: " + last_refusal_;
  if (!node_->connected()) text += "; the daemon is gone";
  return {Code::kDeadlineExceeded, std::move(text)};
}

uint32_t ClientImpl::servers() const {
  if (forked()) return 0;
  const std::lock_guard lock(mutex_);
  return linked_;
}

ClientCounters ClientImpl::counters() const {
  if (forked()) return {};
  const std::lock_guard lock(mutex_);
  ClientCounters counters = counted_;
  counters.open = open_;
  return counters;
}

void ClientImpl::OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) {
  const std::lock_guard lock(mutex_);
  if (end_requested_ != EndReason::kNotEnded) return;  // Our unregistration settles it.
  const uint64_t request_link = link.publishes() ? link.link_id() : link.pair_link_id();
  Server* server = PairOf(servers_, request_link);
  if (server == nullptr) {
    servers_.push_back(std::make_unique<Server>());
    server = servers_.back().get();
    server->request_link = request_link;
    server->reply_link = link.publishes() ? link.pair_link_id() : link.link_id();
    server->node = link.other_node();
    server->node_id = link.other_node_id();
    server->peer = link.other_peer_id();
  }
  transport::Status status;
  if (link.publishes()) {
    auto writer = LinkWriter::Open(node_->device(), AddressOf(link), std::move(doorbell));
    status = writer.status();
    if (status.ok() && writer.value().max_record_bytes() < ring_bytes_ / 8) {
      status =
          transport::Status(transport::Code::kInvalidArgument,
                            "a ring of " + std::to_string(link.ring_capacity()) +
                                " bytes, this client asked for " + std::to_string(ring_bytes_));
    }
    if (status.ok()) server->writer = std::make_unique<LinkWriter>(std::move(writer).value());
  } else {
    auto reader = LinkReader::Open(node_->device(), AddressOf(link), std::move(doorbell));
    status = reader.status();
    if (status.ok()) {
      auto owned = std::make_unique<LinkReader>(std::move(reader).value());
      LinkReader* const kept = owned.get();
      kept->set_context(server);
      status = poller_.Add(std::move(owned));
      if (status.ok()) server->reader = kept;
    }
  }
  if (!status.ok()) {
    const std::string& detail = status.message();
    Leave(server, Status(Code::kDataLoss, detail), &detail);
    return;
  }
  PostAttached(node_.get(), link);
  if (server->usable() && !server->matched) {
    server->matched = true;
    TellOf(Event::Kind::kMatched, *server, {});
  }
  CountServers();
  crew_.Notify();
}

bool ClientImpl::OnLinkReady(uint64_t link_id) {
  const std::lock_guard lock(mutex_);
  return PairOf(servers_, link_id) != nullptr;
}

bool ClientImpl::OnLinkDown(const v1::LinkDown& down) {
  const std::lock_guard lock(mutex_);
  Server* const server = PairOf(servers_, down.link_id());
  if (server == nullptr) return false;
  if (server->matched) TellOf(Event::Kind::kGone, *server, GoneText(down.reason()));
  const Status why(Code::kAborted, "service '" + service_ + "': node '" + server->node +
                                       "' went away with the request in hand");
  Leave(server, why, nullptr);
  crew_.Notify();
  return true;
}

bool ClientImpl::OnLinkSuspect(const v1::LinkSuspect& suspect) {
  const std::lock_guard lock(mutex_);
  const Server* const server = PairOf(servers_, suspect.link_id());
  if (server == nullptr) return false;
  // Control tells of both links.
  if (suspect.link_id() == server->request_link) {
    TellOf(suspect.suspect() ? Event::Kind::kSuspect : Event::Kind::kAlive, *server, {});
  }
  return true;
}

void ClientImpl::OnLinkRefused(const v1::LinkRefused& refused) {
  const std::lock_guard lock(mutex_);
  last_refusal_ = "node '" + refused.other_node() + "': " + refused.reason();
  Tell({Event::Kind::kIncompatible, {}, refused.other_node(), 0, 0, refused.reason()});
}

void ClientImpl::TellOf(Event::Kind kind, const Server& server, std::string detail) {
  TellFromElsewhere({kind, {}, server.node, server.peer, server.request_link, std::move(detail)});
}

void ClientImpl::Leave(Server* server, const Status& why, const std::string* detail) {
  if (server->leaving) return;
  server->leaving = true;
  CountServers();
  // What it wrote before it died counts. A member of the realm could go on writing in its name.
  if (detail == nullptr && server->reader != nullptr) {
    transport::RecordView record;
    for (uint64_t left = RecordsMax(*server->reader); left > 0; --left) {
      if (server->reader->TryRead(&record) != transport::ReadResult::kOk) break;
      ReplyHead head;
      if (!ReadHead(record.flags, {record.data, record.size}, &head)) break;
      if (!OnReply(server, head, std::span(record.data, record.size).subspan(kReplyHeadBytes)))
        break;
      server->reader->Release();
    }
  }
  for (auto& slot : slots_) {
    if (slot->state != Request::State::kSent || slot->server != server) continue;
    if (detail == nullptr) ++counted_.aborted;
    Finish(slot.get(), why);
  }
  if (detail != nullptr) {
    ++counted_.corrupt_links;
    if (server->matched) TellOf(Event::Kind::kGone, *server, *detail);
  }
  TellLeft(*server, detail);
  controls_ -= server->controls.size();
  if (server->reader != nullptr) poller_.Remove(server->reply_link);
  std::erase_if(servers_, [server](const auto& one) { return one.get() == server; });
  turn_ = 0;
  if (linked_ == 0) FailQueued(UnavailableStatus());
}

void ClientImpl::TellLeft(const Server& server, const std::string* detail) {
  // A link that never came up here is told of as well: control waits for our word on each.
  v1::LinkCounters counters;
  counters.set_link_id(server.reply_link);
  if (server.reader != nullptr) counters = CountersOf(*server.reader);
  PostLeft(node_.get(), id_, detail, counters);
  counters.Clear();
  counters.set_link_id(server.request_link);
  if (server.writer != nullptr) counters = CountersOf(*server.writer);
  PostLeft(node_.get(), id_, nullptr, counters);
}

void ClientImpl::CountServers() {
  linked_ = static_cast<uint32_t>(std::count_if(
      servers_.begin(), servers_.end(), [](const auto& server) { return server->usable(); }));
  servers_changed_.notify_all();
}

void ClientImpl::Apply() {
  if (end_requested_ <= ended_) return;
  const bool first = ended_ == EndReason::kNotEnded;
  ended_ = end_requested_;
  FailQueued(ClosedStatus());
  for (auto& slot : slots_) {
    if (slot->state == Request::State::kSent) Finish(slot.get(), ClosedStatus());
  }
  v1::NodeRequest request;
  request.mutable_unregister()->set_id(id_);
  for (auto& server : servers_) {
    if (server->writer != nullptr) {
      *request.mutable_unregister()->add_counters() = CountersOf(*server->writer);
    }
    if (server->reader == nullptr) continue;
    *request.mutable_unregister()->add_counters() = CountersOf(*server->reader);
    poller_.Remove(server->reply_link);
  }
  servers_.clear();
  controls_ = 0;
  CountServers();
  if (id_ == 0 || !first) return;
  node_->Post(request);
  node_->OnEndpointEnded();
}

void ClientImpl::AddCounters(v1::Counters* counters) {
  const std::lock_guard lock(mutex_);
  for (const auto& server : servers_) {
    if (server->writer != nullptr) *counters->add_links() = CountersOf(*server->writer);
    if (server->reader != nullptr) *counters->add_links() = CountersOf(*server->reader);
  }
}

void ClientImpl::AddLeft(std::vector<uint64_t>* link_ids) const {
  const std::lock_guard lock(mutex_);
  for (const auto& server : servers_) {
    if (server->reader != nullptr && server->reader->producer_left()) {
      link_ids->push_back(server->request_link);
    }
  }
}

}  // namespace ivmq::internal
