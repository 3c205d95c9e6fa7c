// What the clients of a server send, and whose turn it is.

#include <algorithm>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/services/server_impl.h"

namespace ivmq::internal {

using transport::Look;

namespace {

// Requests of one client that are read and not begun. With as many its ring is left alone until
// half of them are gone.
constexpr size_t kWaitingMax = 64;
constexpr size_t kWaitingBytesMax = 1 << 20;
// Answers that one client has left no room for. With as many nothing more of it is read until it
// has taken half of them: each thing that it asks for may become one more.
constexpr size_t kOutboxMax = 64;
// Records read before a request is begun, to find out what has been cancelled.
constexpr int kReadAhead = 64;

}  // namespace

ServerImpl::Job* ServerImpl::NextJob() {
  for (int i = 0; i < kReadAhead && ReadOne(); ++i) {
  }
  while (!turns_.empty()) {
    Client* const client = turns_.front();
    turns_.pop_front();
    client->in_turns = false;
    Job* const job = client->waiting.front();
    client->waiting.pop_front();
    client->waiting_bytes -= job->query.size();
    --counted_.waiting;
    if (Clock::now() >= job->deadline) {
      ++counted_.expired;
      FreeJob(job);
      Settle(client);
      continue;
    }
    client->running.push_back(job);
    Settle(client);
    if (!turns_.empty()) crew_.WakeAny();
    return job;
  }
  return nullptr;
}

bool ServerImpl::HasWork(Look look) {
  if (poller_.HasWork(look)) return true;
  if (wanting_ == 0) return false;
  return std::any_of(clients_.begin(), clients_.end(), [look](const auto& client) {
    if (client->wanted_bytes == 0) return false;
    transport::LinkWriter* const writer = client->writer.get();
    const bool room = look == Look::kSpin ? writer->HasRoom(client->wanted_bytes)
                                          : writer->ArmSpace(client->wanted_bytes);
    return room || writer->corrupt();
  });
}

bool ServerImpl::DoWork() {
  const bool used = wanting_ > 0 && UseRoom();
  return ReadOne() || used;
}

bool ServerImpl::ReadOne() {
  transport::LinkReader* reader = nullptr;
  transport::RecordView record;
  if (!poller_.Next(&reader, &record)) {
    if (!poller_.has_corrupt()) return false;
    const std::string detail = "the client wrote nonsense into the ring";
    for (const auto& corrupt : poller_.TakeCorrupt()) {
      Leave(static_cast<Client*>(corrupt.reader->context()), &detail);
    }
    return true;
  }
  Client* const client = static_cast<Client*>(reader->context());
  RequestHead head;
  if (!ReadHead(record.flags, {record.data, record.size}, &head)) {
    const std::string detail = "a record that is no request";
    Leave(client, &detail);
    return true;
  }
  switch (head.kind) {
    case RequestHead::Kind::kRequest:
      OnRequest(client, head, std::span(record.data, record.size).subspan(kRequestHeadBytes));
      break;
    case RequestHead::Kind::kCancel:
      OnCancel(client, head.id);
      break;
    case RequestHead::Kind::kCredit:
      OnCredit(client, head);
      break;
  }
  if (client->leaving) return true;
  reader->Release();
  Settle(client);
  return true;
}

void ServerImpl::OnRequest(Client* client, const RequestHead& head,
                           std::span<const std::byte> body) {
  if (!client->usable()) return;  // Nobody could be answered as yet: a client that asks too soon.
  // Its ring is read on only for the sake of the credit that may lie behind.
  if (client->waiting.size() >= kWaitingMax || client->waiting_bytes >= kWaitingBytesMax) {
    ++counted_.refused;
    SendFailure(client, head.id,
                Status(Code::kResourceExhausted,
                       "service '" + service_ + "': " + std::to_string(client->waiting.size()) +
                           " requests of this client wait already"));
    return;
  }
  Job* const job = TakeJob();
  job->id = head.id;
  job->client = client;
  job->from = client->names;
  job->deadline = DeadlineAfter(std::chrono::nanoseconds(
      std::min<uint64_t>(head.timeout_ns, std::chrono::nanoseconds::max().count())));
  job->reply_bytes_max = client->writer->max_record_bytes() - kReplyHeadBytes;
  job->query.assign(body.begin(), body.end());
  client->waiting.push_back(job);
  client->waiting_bytes += body.size();
  ++counted_.waiting;
}

void ServerImpl::OnCancel(Client* client, uint64_t id) {
  const auto is_meant = [id](const Job* job) { return job->id == id; };
  const auto running = std::find_if(client->running.begin(), client->running.end(), is_meant);
  if (running != client->running.end()) {
    (*running)->cancelled.store(true, std::memory_order_relaxed);
    crew_.Wake(&(*running)->member);
    return;
  }
  const auto waiting = std::find_if(client->waiting.begin(), client->waiting.end(), is_meant);
  if (waiting == client->waiting.end()) return;  // It crossed the reply.
  Job* const job = *waiting;
  client->waiting.erase(waiting);
  client->waiting_bytes -= job->query.size();
  --counted_.waiting;
  ++counted_.cancelled;
  FreeJob(job);
}

void ServerImpl::OnCredit(Client* client, const RequestHead& head) {
  for (Job* const job : client->running) {
    if (job->id != head.id) continue;
    // What a client grants beyond the window is of no use to it.
    job->credit_messages =
        std::min<int64_t>(job->credit_messages + head.credit.messages, kStreamWindow.messages);
    job->credit_bytes =
        std::min<int64_t>(job->credit_bytes + head.credit.bytes, kStreamWindow.bytes);
    crew_.Wake(&job->member);
    return;
  }
}

bool ServerImpl::UseRoom() {
  bool used = false;
  for (size_t i = 0; i < clients_.size(); ++i) {
    Client* const client = clients_[i].get();
    if (client->wanted_bytes == 0) continue;
    if (client->writer->corrupt()) {
      const std::string detail = "the client wrote nonsense into its ring's head";
      Leave(client, &detail);
      return true;
    }
    if (!client->writer->HasRoom(client->wanted_bytes)) continue;
    used = true;
    client->wanted_bytes = 0;
    --wanting_;
    while (!client->outbox.empty()) {
      const auto& front = client->outbox.front();
      if (client->writer->TryWrite(front, kRequestFlag) != transport::WriteResult::kOk) {
        WantRoom(client, front.size());
        break;
      }
      client->outbox.pop_front();
    }
    client->writer->Flush();
    for (Job* const job : client->running) crew_.Wake(&job->member);
    Settle(client);
  }
  return used;
}

void ServerImpl::WantRoom(Client* client, size_t bytes) {
  if (client->wanted_bytes == 0) ++wanting_;
  client->wanted_bytes = std::max(client->wanted_bytes, bytes);
  crew_.Notify();
}

void ServerImpl::Settle(Client* client) {
  if (!client->usable()) return;
  const bool served = client->outbox.empty();
  if (served && !client->waiting.empty() && !client->in_turns) {
    client->in_turns = true;
    turns_.push_back(client);
    crew_.WakeAny();
  } else if (client->in_turns && (!served || client->waiting.empty())) {
    client->in_turns = false;
    std::erase(turns_, client);
  }
  const bool full =
      client->waiting.size() >= kWaitingMax || client->waiting_bytes >= kWaitingBytesMax || !served;
  const bool relieved = client->waiting.size() <= kWaitingMax / 2 &&
                        client->waiting_bytes <= kWaitingBytesMax / 2 && served;
  // What a handler waits for in Write() may lie behind, but only for a client that takes replies.
  const bool blocked = client->blocked > 0;
  const size_t unsent = client->outbox.size();
  if (client->parked == nullptr && full && (!blocked || unsent >= kOutboxMax)) {
    client->parked = poller_.Remove(client->request_link);
  } else if (client->parked != nullptr && (relieved || (blocked && unsent <= kOutboxMax / 2))) {
    const transport::Status added = poller_.Add(std::move(client->parked));
    if (!added.ok()) return Leave(client, &added.message());
    crew_.Notify();
  }
}

}  // namespace ivmq::internal
