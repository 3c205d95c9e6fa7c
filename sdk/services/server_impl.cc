// How a server runs its handler and answers. What its clients send is in server_requests.cc, their
// links' life in server_links.cc.

#include "sdk/services/server_impl.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {

using transport::WriteResult;

namespace {

constexpr size_t kErrorTextBytesMax = 1024;
// Buffers beyond this are not kept for the next request.
constexpr size_t kKeptBytesMax = 256 << 10;
// In a row, before the other callbacks of the node have their turn.
constexpr int kRequestsPerTurn = 16;
constexpr int kPiecesPerTurn = 64;

// The wire carries gRPC's codes.
uint8_t WireCode(Code code) {
  switch (code) {
    case Code::kTimeout:
      return static_cast<uint8_t>(Code::kDeadlineExceeded);
    case Code::kFull:
      return static_cast<uint8_t>(Code::kResourceExhausted);
    case Code::kClosed:
      return static_cast<uint8_t>(Code::kUnavailable);
    default:
      return static_cast<uint8_t>(code);
  }
}

}  // namespace

Status ServerImpl::RunOnce(std::chrono::nanoseconds timeout) {
  bool interrupted = false;
  return ServeOne(timeout, &interrupted);
}

Status ServerImpl::ServeOne(std::chrono::nanoseconds timeout, bool* interrupted) {
  if (forked()) return ForkedStatus();
  // The handler may drop the last copy of the server.
  const auto self = shared_from_this();
  const auto deadline = DeadlineAfter(timeout);
  Job* job = nullptr;
  Crew::Member me(true);
  std::unique_lock lock(mutex_);
  const bool found = crew_.Await(&lock, &me, deadline, [this, &job] {
    if (ended_ != EndReason::kNotEnded || interrupted_) return true;
    job = NextJob();
    return job != nullptr;
  });
  if (job == nullptr) {
    if (ended_ != EndReason::kNotEnded) return ClosedStatus();
    if (found) interrupted_ = false;
    *interrupted = found;
    return {Code::kTimeout, "nothing came"};
  }
  ++running_;
  ++counted_.requests;
  lock.unlock();
  const Status status = Serve(job);
  lock.lock();
  Answer(job, status);
  return {};
}

Status ServerImpl::Run(std::chrono::nanoseconds at_a_time) {
  for (;;) {
    bool interrupted = false;
    Status status = ServeOne(at_a_time, &interrupted);
    const bool silence = status.code() == Code::kTimeout && !interrupted;
    if (!status.ok() && !silence) return status;
  }
}

void ServerImpl::Interrupt() {
  if (forked()) return;
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  crew_.WakeAny();
}

Status ServerImpl::Start() {
  if (!serves_itself_) return {};
  auto started = StandIn::Start(node_->wake(), node_->callbacks(), &mutex_, this, nullptr);
  if (!started.ok()) return started.status();
  stand_in_ = std::move(started).value();
  const std::lock_guard lock(mutex_);
  crew_.set_stand_in(stand_in_.get());
  crew_.WakeStandIn();
  return {};
}

StandIn::Next ServerImpl::TakeTurn(std::unique_lock<std::mutex>* lock) {
  for (int i = 0; i < kRequestsPerTurn && MayBegin(); ++i) {
    Job* const job = NextJob();
    if (job == nullptr) break;
    ++posted_;
    lock->unlock();
    if (executor_) {
      Post(job);
    } else {
      Execute(job);
    }
    lock->lock();
  }
  if (ended_ != EndReason::kNotEnded) return StandIn::Next::kOver;
  crew_.WorkIfNobodyWaits(kPiecesPerTurn);
  return StandIn::Next::kWatch;
}

bool ServerImpl::HasTurn(transport::Look look) {
  return (MayBegin() && !turns_.empty()) || crew_.HasWorkIfNobodyWaits(look);
}

void ServerImpl::Post(Job* job) {
  // An executor that throws, or that is stopped with functions in hand, drops them.
  struct Posted {
    std::shared_ptr<ServerImpl> server;
    Job* job;
    ~Posted() {
      if (job != nullptr) server->Drop(job);
    }
  };
  auto posted = std::make_shared<Posted>();
  posted->server = weak_from_this().lock();
  posted->job = job;
  if (posted->server == nullptr) {
    posted->job = nullptr;
    return Drop(job);
  }
  try {
    executor_([posted] { posted->server->Execute(std::exchange(posted->job, nullptr)); });
  } catch (...) {
    CountException(CaughtText());
  }
}

void ServerImpl::CountException(const std::string& what) {
  TellCallbackFailed(what);
  const std::lock_guard lock(mutex_);
  ++counted_.exceptions;
}

void ServerImpl::Execute(Job* job) {
  if (!Begin(job)) return Drop(job);
  const Status status = Serve(job);
  const std::lock_guard lock(mutex_);
  Answer(job, status);
  OnOver();
}

bool ServerImpl::Begin(Job* job) {
  const std::lock_guard lock(mutex_);
  if (ended_ != EndReason::kNotEnded) return false;
  if (job->cancelled.load(std::memory_order_relaxed)) {
    ++counted_.cancelled;
    return false;
  }
  ++running_;
  ++counted_.requests;
  return true;
}

void ServerImpl::Drop(Job* job) {
  const std::lock_guard lock(mutex_);
  ++running_;  // Answer() takes one that ran.
  Answer(job, Status(Code::kAborted, "service '" + service_ + "': the request was not begun"));
  OnOver();
}

void ServerImpl::OnOver() {
  const bool was_full = !MayBegin();
  --posted_;
  if (was_full && !turns_.empty()) crew_.WakeStandIn();
}

Status ServerImpl::Serve(Job* job) {
  const HandlerScope scope(node_.get());
  BytesServerCall call(this, job);
  try {
    return handler_(call);
  } catch (...) {
    const std::string what = CaughtText();
    CountException(what);
    return {Code::kInternal, "the handler of service '" + service_ + "' threw: " + what};
  }
}

void ServerImpl::Answer(Job* job, const Status& returned) {
  --running_;
  // A stream that lacks a piece has no good end, whatever the handler makes of it.
  const Status& status = returned.ok() ? job->failed_write : returned;
  if (Client* const client = job->client) {
    std::erase(client->running, job);
    if (!status.ok()) {
      SendFailure(client, job->id, status);
    } else if (job->replied) {
      Send(client, job->record);
    } else {
      std::array<std::byte, kReplyHeadBytes> record;
      WriteHead(ReplyHead{job->id, 0, ReplyHead::Kind::kEnd}, record.data());
      Send(client, record);
    }
  }
  FreeJob(job);
  if (running_ == 0) idle_.notify_all();
}

void ServerImpl::SendFailure(Client* client, uint64_t id, const Status& status) {
  const size_t room = client->writer->max_record_bytes() - kReplyHeadBytes;
  const size_t bytes = std::min({status.message().size(), kErrorTextBytesMax, room});
  std::vector<std::byte> record(kReplyHeadBytes + bytes);
  WriteHead(ReplyHead{id, WireCode(status.code()), ReplyHead::Kind::kLast}, record.data());
  if (bytes > 0) std::memcpy(record.data() + kReplyHeadBytes, status.message().data(), bytes);
  Send(client, record);
}

void ServerImpl::Send(Client* client, std::span<const std::byte> record) {
  if (client->outbox.empty()) {
    switch (client->writer->TryWrite(record, kRequestFlag)) {
      case WriteResult::kOk:
        client->writer->Flush();
        return;
      case WriteResult::kFull:
        break;
      case WriteResult::kTooLarge:
      case WriteResult::kCorrupt: {
        const std::string detail = "the client wrote nonsense into its ring's head";
        return Leave(client, &detail);
      }
    }
    WantRoom(client, record.size());
  }
  client->outbox.emplace_back(record.begin(), record.end());
  Settle(client);
}

bool ServerImpl::Cancelled(Job* job) {
  // relaxed: nothing is published by it.
  if (job->cancelled.load(std::memory_order_relaxed) || Clock::now() >= job->deadline) return true;
  if (forked()) return true;
  const std::lock_guard lock(mutex_);
  constexpr int kLooks = 64;
  for (int i = 0; i < kLooks && ReadOne(); ++i) {
  }
  return job->cancelled.load(std::memory_order_relaxed);
}

Status ServerImpl::Build(Job* job, size_t bytes, const BytesServerCall::Fill& fill,
                         ReplyHead::Kind kind) {
  if (bytes > job->reply_bytes_max) {
    return {Code::kResourceExhausted,
            "a reply of " + std::to_string(bytes) + " bytes of service '" + service_ +
                "': at most " + std::to_string(job->reply_bytes_max) +
                " fit the ring; set ring_bytes of ServerOptions or ClientOptions for more"};
  }
  job->record.resize(kReplyHeadBytes + bytes);
  WriteHead(ReplyHead{job->id, 0, kind}, job->record.data());
  if (!fill(std::span(job->record).subspan(kReplyHeadBytes))) {
    return {Code::kAborted, "the reply was given up while it was built"};
  }
  return {};
}

Status ServerImpl::Reply(Job* job, size_t bytes, const BytesServerCall::Fill& fill) {
  Status status = Build(job, bytes, fill, ReplyHead::Kind::kLast);
  job->replied = status.ok();
  return status;
}

Status ServerImpl::Write(Job* job, size_t bytes, const BytesServerCall::Fill& fill) {
  if (forked()) return ForkedStatus();
  if (job->failed_write.ok()) job->failed_write = WritePiece(job, bytes, fill);
  return job->failed_write;
}

Status ServerImpl::WritePiece(Job* job, size_t bytes, const BytesServerCall::Fill& fill) {
  if (Status status = Build(job, bytes, fill, ReplyHead::Kind::kMore); !status.ok()) return status;
  job->replied = false;
  std::unique_lock lock(mutex_);
  const auto may_go_on = [this, job] {
    return job->cancelled.load(std::memory_order_relaxed) || TryWritePiece(job);
  };
  bool done = may_go_on();
  if (!done) {
    job->blocked = true;
    ++job->client->blocked;
    Settle(job->client);
    // The client's own deadline may be years away, and this thread others wait for.
    const auto deadline = std::min(job->deadline, DeadlineAfter(write_timeout_));
    done = crew_.Await(&lock, &job->member, deadline, may_go_on);
    job->blocked = false;
    if (job->client != nullptr) {
      --job->client->blocked;
      Settle(job->client);
    }
  }
  const std::string name = "service '" + service_ + "': ";
  if (!done) {
    job->cancelled.store(true, std::memory_order_relaxed);
    return {Code::kDeadlineExceeded,
            name + (Clock::now() >= job->deadline
                        ? "the client has not taken the replies in time"
                        : "the client has asked for no more replies for " +
                              DurationText(write_timeout_) + ", ServerOptions::write_timeout")};
  }
  if (ended_ != EndReason::kNotEnded) return ClosedStatus();
  if (job->client == nullptr) return {Code::kAborted, name + "the client is gone"};
  if (job->cancelled.load(std::memory_order_relaxed)) {
    return {Code::kCancelled, name + "the request was cancelled or given up"};
  }
  return {};
}

bool ServerImpl::TryWritePiece(Job* job) {
  Client* const client = job->client;
  if (job->credit_messages <= 0 || job->credit_bytes <= 0 || !client->outbox.empty()) return false;
  switch (client->writer->TryWrite(job->record, kRequestFlag)) {
    case WriteResult::kOk:
      client->writer->Flush();
      --job->credit_messages;
      job->credit_bytes -= static_cast<int64_t>(job->record.size() - kReplyHeadBytes);
      return true;
    case WriteResult::kFull:
      WantRoom(client, job->record.size());
      return false;
    case WriteResult::kTooLarge:
    case WriteResult::kCorrupt:
      break;
  }
  const std::string detail = "the client wrote nonsense into its ring's head";
  Leave(client, &detail);
  return true;  // There is no client any more.
}

ServerImpl::Job* ServerImpl::TakeJob() {
  if (free_.empty()) {
    jobs_.push_back(std::make_unique<Job>());
    free_.push_back(jobs_.back().get());
  }
  Job* const job = free_.back();
  free_.pop_back();
  job->replied = false;
  job->failed_write = {};
  job->cancelled.store(false, std::memory_order_relaxed);
  job->credit_messages = kStreamWindow.messages;
  job->credit_bytes = kStreamWindow.bytes;
  return job;
}

void ServerImpl::FreeJob(Job* job) {
  job->client = nullptr;
  job->from.reset();
  if (job->query.capacity() > kKeptBytesMax) job->query = {};
  if (job->record.capacity() > kKeptBytesMax) job->record = {};
  free_.push_back(job);
}

}  // namespace ivmq::internal
