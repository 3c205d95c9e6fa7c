// Requests of a client that nobody waits for, and their callbacks.

#include <algorithm>
#include <utility>

#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/services/client_impl.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {
namespace {

// In a row, before the other callbacks of the node have their turn.
constexpr int kPiecesPerTurn = 64;
constexpr int kCallbacksPerTurn = 64;

}  // namespace

Result<uint64_t> ClientImpl::CallAsync(size_t bytes, const Fill& fill,
                                       std::chrono::nanoseconds timeout, Callback callback) {
  if (forked()) return ForkedStatus();
  std::vector<std::byte> record;
  if (Status status = Build(bytes, fill, &record); !status.ok()) return status;
  if (Status status = StartStandIn(); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  const auto begun = Begin(Request::Kind::kAsync, timeout, &record);
  if (!begun.ok()) return begun.status();
  Request* const request = begun.value();
  request->callback = std::move(callback);
  CountAsync(1);
  if (request->deadline < async_deadline_) {
    async_deadline_ = request->deadline;
    node_->DeliverEvents();  // which has OnTimer() asked
  }
  return request->id;
}

Status ClientImpl::StartStandIn() {
  const std::lock_guard lock(start_mutex_);
  if (stand_in_ != nullptr) return {};
  auto started = StandIn::Start(node_->wake(), node_->callbacks(), &mutex_, this, executor_);
  if (!started.ok()) return started.status();
  stand_in_ = std::move(started).value();
  return {};
}

// Only while something is to be called back: a client that is only waited on costs no other thread.
void ClientImpl::CountAsync(int more) {
  async_open_ += static_cast<uint32_t>(more);
  crew_.set_stand_in(async_open_ > 0 ? stand_in_.get() : nullptr);
  if (more > 0 && async_open_ == 1) crew_.WakeStandIn();
}

StandIn::Next ClientImpl::TakeTurn(std::unique_lock<std::mutex>* lock) {
  if (async_open_ > 0) crew_.WorkIfNobodyWaits(kPiecesPerTurn);
  CallBack(lock);
  if (async_open_ > 0) return StandIn::Next::kWatch;
  return ended_ == EndReason::kNotEnded ? StandIn::Next::kCalled : StandIn::Next::kOver;
}

bool ClientImpl::HasTurn(transport::Look look) {
  return !completed_.empty() || crew_.HasWorkIfNobodyWaits(look);
}

void ClientImpl::CallBack(std::unique_lock<std::mutex>* lock) {
  if (calling_back_) return;  // That thread goes on.
  const HandlerScope scope(node_.get());
  calling_back_ = true;
  // Of a client that has ended all: there may be no other turn.
  for (int i = 0; i < kCallbacksPerTurn || ended_ != EndReason::kNotEnded; ++i) {
    if (completed_.empty()) break;
    Request* const request = completed_.front();
    completed_.pop_front();
    CallBackOne(request, lock);
  }
  calling_back_ = false;
}

void ClientImpl::CallBackOne(Request* request, std::unique_lock<std::mutex>* lock) {
  Result<Bytes> result = request->status.ok() ? Result<Bytes>(std::move(request->reply))
                                              : Result<Bytes>(std::move(request->status));
  Callback callback = std::move(request->callback);
  CountAsync(-1);
  FreeSlot(request);
  lock->unlock();
  bool threw = false;
  try {
    callback(std::move(result));
  } catch (...) {
    threw = true;
    TellCallbackFailed(CaughtText());
  }
  callback = nullptr;  // what it holds may come back to us
  lock->lock();
  counted_.exceptions += threw ? 1 : 0;
}

ClientImpl::Clock::time_point ClientImpl::OnTimer(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (now < async_deadline_) return async_deadline_;
  async_deadline_ = Clock::time_point::max();
  for (auto& slot : slots_) {
    Request* const request = slot.get();
    if (request->kind != Request::Kind::kAsync) continue;
    if (request->state != Request::State::kQueued && request->state != Request::State::kSent)
      continue;
    if (request->deadline <= now) {
      GiveUp(request, LateStatus(*request));
    } else {
      async_deadline_ = std::min(async_deadline_, request->deadline);
    }
  }
  return async_deadline_;
}

}  // namespace ivmq::internal
