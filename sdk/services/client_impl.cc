// The requests of a client. Their replies are in client_replies.cc, the links to its servers and
// their life in client_links.cc, callbacks in client_async.cc.

#include "sdk/services/client_impl.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"

namespace ivmq::internal {

using transport::Look;
using transport::WriteResult;

namespace {

// An id is the slot in its lowest bits and above them how often it was used: one that comes back
// from a server finds its request, or nothing.
constexpr int kSlotBits = 20;
constexpr uint64_t kSlotMask = (uint64_t{1} << kSlotBits) - 1;

// Buffers beyond this are not kept for the next request.
constexpr size_t kKeptBytesMax = 256 << 10;

// This thread's buffer, kept from call to call.
class Scratch {
 public:
  Scratch() { bytes.swap(Kept()); }
  ~Scratch() {
    if (bytes.capacity() <= kKeptBytesMax) bytes.swap(Kept());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::vector<std::byte> bytes;

 private:
  static std::vector<std::byte>& Kept() {
    thread_local std::vector<std::byte> kept;
    return kept;
  }
};

void SetTimeout(ClientImpl::Clock::time_point deadline, RequestHead* head) {
  const auto left = deadline - ClientImpl::Clock::now();
  head->timeout_ns = left.count() > 0 ? static_cast<uint64_t>(left.count()) : 0;
}

}  // namespace

Status ClientImpl::Call(size_t bytes, const Fill& fill, std::chrono::nanoseconds timeout,
                        const Take& take) {
  if (forked()) return ForkedStatus();
  Scratch scratch;
  if (Status status = Build(bytes, fill, &scratch.bytes); !status.ok()) return status;
  Status status;
  {
    std::unique_lock lock(mutex_);
    const auto begun = Begin(Request::Kind::kCall, timeout, &scratch.bytes);
    if (!begun.ok()) return begun.status();
    Request* const request = begun.value();
    if (!crew_.Await(&lock, &request->member, request->deadline,
                     [request] { return request->state == Request::State::kDone; })) {
      GiveUp(request, LateStatus(*request));
    }
    status = std::move(request->status);
    scratch.bytes.swap(request->reply);
    FreeSlot(request);
  }
  return status.ok() ? take(scratch.bytes) : status;
}

Result<uint64_t> ClientImpl::CallStream(size_t bytes, const Fill& fill,
                                        std::chrono::nanoseconds timeout) {
  if (forked()) return ForkedStatus();
  Scratch scratch;
  if (Status status = Build(bytes, fill, &scratch.bytes); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  const auto begun = Begin(Request::Kind::kStream, timeout, &scratch.bytes);
  return begun.ok() ? Result<uint64_t>(begun.value()->id) : Result<uint64_t>(begun.status());
}

Result<bool> ClientImpl::NextOfStream(uint64_t id, std::chrono::nanoseconds timeout,
                                      const Take& take) {
  if (forked()) return ForkedStatus();
  std::vector<std::byte> piece;
  {
    std::unique_lock lock(mutex_);
    Request* const request = Find(id);
    if (request == nullptr) return ClosedStatus();
    const auto until = std::min(request->deadline, DeadlineAfter(timeout));
    if (!crew_.Await(&lock, &request->member, until, [request] {
          return !request->stream.empty() || request->state == Request::State::kDone;
        })) {
      if (until < request->deadline) return Status(Code::kTimeout, "nothing came");
      GiveUp(request, LateStatus(*request));
    }
    if (request->stream.empty()) {
      return request->status.ok() ? Result<bool>(false) : Result<bool>(request->status);
    }
    piece = std::move(request->stream.front());
    request->stream.pop_front();
    ++request->taken.messages;
    request->taken.bytes += static_cast<uint32_t>(piece.size());
    const bool due = request->taken.messages >= kStreamWindow.messages / 2 ||
                     request->taken.bytes >= kStreamWindow.bytes / 2;
    if (due && request->state == Request::State::kSent) {
      RequestHead credit;
      credit.id = id;
      credit.kind = RequestHead::Kind::kCredit;
      credit.credit = std::exchange(request->taken, {});
      request->window_messages += credit.credit.messages;
      request->window_bytes += credit.credit.bytes;
      SendControl(request->server, credit);
    }
  }
  if (Status status = take(piece); !status.ok()) return status;
  return true;
}

void ClientImpl::EndStream(uint64_t id) {
  if (forked()) return;
  const std::lock_guard lock(mutex_);
  Request* const request = Find(id);
  if (request == nullptr) return;
  GiveUp(request, {});
  FreeSlot(request);
}

void ClientImpl::Cancel(uint64_t id) {
  if (forked()) return;
  const std::lock_guard lock(mutex_);
  if (Request* const request = Find(id)) {
    GiveUp(request, Status(Code::kCancelled, "service '" + service_ + "': cancelled"));
  }
}

Status ClientImpl::Build(size_t bytes, const Fill& fill, std::vector<std::byte>* record) const {
  if (bytes > max_query_bytes()) {
    return {Code::kInvalidArgument, "a query of " + std::to_string(bytes) + " bytes to service '" +
                                        service_ + "': at most " +
                                        std::to_string(max_query_bytes()) +
                                        " fit its ring; set ClientOptions::ring_bytes for more"};
  }
  record->resize(kRequestHeadBytes + bytes);
  if (!fill(std::span(*record).subspan(kRequestHeadBytes))) {
    return {Code::kAborted, "the query was given up while it was built"};
  }
  return {};
}

Result<ClientImpl::Request*> ClientImpl::Begin(Request::Kind kind, std::chrono::nanoseconds timeout,
                                               std::vector<std::byte>* record) {
  if (ended_ != EndReason::kNotEnded) return ClosedStatus();
  if (linked_ == 0) return UnavailableStatus();
  const size_t used = slots_.size() - free_.size();
  if (used >= max_open_) {
    return Status(Code::kResourceExhausted, "service '" + service_ + "': " + std::to_string(used) +
                                                " requests are open, at most " +
                                                std::to_string(max_open_) +
                                                " are allowed by ClientOptions::max_open");
  }
  Request* const request = TakeSlot();
  request->kind = kind;
  request->deadline = DeadlineAfter(timeout);
  request->window_messages = kStreamWindow.messages;
  request->window_bytes = kStreamWindow.bytes;
  request->taken = {};
  ++open_;
  ++counted_.requests;
  RequestHead head;
  head.id = request->id;
  SetTimeout(request->deadline, &head);
  WriteHead(head, record->data());
  if (!queue_.empty() || !TrySend(request, record)) {
    request->state = Request::State::kQueued;
    request->record = *record;
    queue_.push_back(request);
    crew_.Notify();
  }
  return request;
}

ClientImpl::Request* ClientImpl::TakeSlot() {
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Request>());
    slots_.back()->id = slots_.size() - 1;
    free_.push_back(slots_.back().get());
  }
  Request* const request = free_.back();
  free_.pop_back();
  request->id += kSlotMask + 1;
  return request;
}

void ClientImpl::FreeSlot(Request* request) {
  request->state = Request::State::kFree;
  request->status = Status();
  request->callback = nullptr;
  request->stream.clear();
  if (request->reply.capacity() > kKeptBytesMax) request->reply = {};
  if (request->record.capacity() > kKeptBytesMax) request->record = {};
  request->id += kSlotMask + 1;  // so that nobody finds it
  free_.push_back(request);
}

ClientImpl::Request* ClientImpl::Find(uint64_t id) {
  const uint64_t slot = id & kSlotMask;
  if (slot >= slots_.size()) return nullptr;
  Request* const request = slots_[slot].get();
  return request->id == id && request->state != Request::State::kFree ? request : nullptr;
}

bool ClientImpl::TrySend(Request* request, std::vector<std::byte>* record) {
  for (;;) {
    Server* const server = Pick(record->size());
    if (server == nullptr) return false;
    if (server->writer->TryWrite(*record, kRequestFlag) != WriteResult::kOk) {
      LeaveCorrupt();
      continue;
    }
    server->writer->Flush();
    request->state = Request::State::kSent;
    request->server = server;
    ++server->open;
    turn_ = turn_ + 1 < servers_.size() ? turn_ + 1 : 0;
    return true;
  }
}

ClientImpl::Server* ClientImpl::Pick(size_t record_bytes) {
  Server* best = nullptr;
  for (size_t i = 0; i < servers_.size(); ++i) {
    const size_t at = turn_ + i < servers_.size() ? turn_ + i : turn_ + i - servers_.size();
    Server* const server = servers_[at].get();
    if (!server->usable() || (best != nullptr && server->open >= best->open)) continue;
    // What is corrupt is picked as well: the write finds it out.
    if (server->writer->HasRoom(record_bytes) || server->writer->corrupt()) best = server;
  }
  return best;
}

void ClientImpl::LeaveCorrupt() {
  for (size_t i = 0; i < servers_.size();) {
    Server* const server = servers_[i].get();
    if (!server->usable() || !server->writer->corrupt()) {
      ++i;
      continue;
    }
    const std::string detail = "the server wrote nonsense into its ring's head";
    Leave(server, Status(Code::kDataLoss, "service '" + service_ + "': " + detail), &detail);
  }
}

bool ClientImpl::SendQueued() {
  LeaveCorrupt();
  bool sent = false;
  std::array<std::byte, kRequestHeadBytes> record;
  for (auto& server : servers_) {
    while (!server->controls.empty() && server->usable()) {
      WriteHead(server->controls.front(), record.data());
      if (server->writer->TryWrite(record, kRequestFlag) != WriteResult::kOk) break;
      server->writer->Flush();
      server->controls.pop_front();
      --controls_;
      sent = true;
    }
  }
  while (!queue_.empty()) {
    Request* const request = queue_.front();
    RequestHead head;
    head.id = request->id;
    SetTimeout(request->deadline, &head);
    WriteHead(head, request->record.data());
    // Taken out first: a server that turns out corrupt on the way may be the last one, and then all
    // that is queued fails.
    queue_.pop_front();
    if (!TrySend(request, &request->record)) {
      queue_.push_front(request);
      if (linked_ == 0) FailQueued(UnavailableStatus());
      break;
    }
    sent = true;
  }
  return sent;
}

void ClientImpl::SendControl(Server* server, const RequestHead& head) {
  if (!server->usable()) return;
  std::array<std::byte, kRequestHeadBytes> record;
  WriteHead(head, record.data());
  if (server->controls.empty() &&
      server->writer->TryWrite(record, kRequestFlag) == WriteResult::kOk) {
    server->writer->Flush();
    return;
  }
  server->controls.push_back(head);
  ++controls_;
  crew_.Notify();
}

void ClientImpl::Finish(Request* request, Status status) {
  if (request->server != nullptr) {
    --request->server->open;
    request->server = nullptr;
  }
  request->state = Request::State::kDone;
  request->status = std::move(status);
  --open_;
  if (request->kind == Request::Kind::kAsync) {
    completed_.push_back(request);
    crew_.WakeStandIn();
  } else {
    crew_.Wake(&request->member);
  }
}

void ClientImpl::GiveUp(Request* request, Status status) {
  if (request->state == Request::State::kDone) return;
  if (request->state == Request::State::kSent) {
    RequestHead cancel;
    cancel.id = request->id;
    cancel.kind = RequestHead::Kind::kCancel;
    SendControl(request->server, cancel);
  } else {
    queue_.erase(std::find(queue_.begin(), queue_.end(), request));
  }
  Finish(request, std::move(status));
}

void ClientImpl::FailQueued(const Status& status) {
  while (!queue_.empty()) {
    Request* const request = queue_.front();
    queue_.pop_front();
    Finish(request, status);
  }
}

bool ClientImpl::HasWork(Look look) {
  if (poller_.HasWork(look)) return true;
  if (queue_.empty() && controls_ == 0) return false;
  for (auto& server : servers_) {
    if (!server->usable() || (server->controls.empty() && queue_.empty())) continue;
    transport::LinkWriter* const writer = server->writer.get();
    const size_t bytes =
        server->controls.empty() ? queue_.front()->record.size() : kRequestHeadBytes;
    const bool room = look == Look::kSpin ? writer->HasRoom(bytes) : writer->ArmSpace(bytes);
    if (room || writer->corrupt()) return true;
  }
  return false;
}

bool ClientImpl::DoWork() {
  if ((!queue_.empty() || controls_ > 0) && SendQueued()) return true;
  return ReadReply();
}

Status ClientImpl::UnavailableStatus() const {
  std::string text = "service '" + service_ + "': nobody serves it";
  if (!last_refusal_.empty()) text += "; last refused: " + last_refusal_;
  return {Code::kUnavailable, std::move(text)};
}

Status ClientImpl::ClosedStatus() const {
  if (ended_ == EndReason::kEvicted) {
    return {Code::kClosed, "service '" + service_ + "': this node was evicted by an operator"};
  }
  return {Code::kClosed, "service '" + service_ + "': the client is closed"};
}

Status ClientImpl::LateStatus(const Request& request) const {
  std::string text = "service '" + service_ + "': ";
  if (request.state == Request::State::kQueued) {
    text += "no server had room for the request in time";
  } else {
    text += "node '" + request.server->node + "' did not reply in time";
    const bool on_its_thread = node_->callbacks()->on_own_thread();
    if (on_its_thread && request.server->node_id == node_->id()) {
      text += "; its handlers run on the thread that waits here, unless it has an executor";
    }
  }
  return {Code::kDeadlineExceeded, std::move(text)};
}

}  // namespace ivmq::internal
