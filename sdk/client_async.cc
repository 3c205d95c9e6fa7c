// Requests of a client that nobody waits for, and the thread that calls their callbacks.

#include <algorithm>
#include <utility>

#include "sdk/client_impl.h"
#include "sdk/convert.h"
#include "sdk/node_impl.h"
#include "sdk/own_thread.h"

namespace ivmq::internal {

Result<uint64_t> ClientImpl::CallAsync(size_t bytes, const Fill& fill,
                                       std::chrono::nanoseconds timeout, Callback callback) {
  if (forked()) return ForkedStatus();
  std::vector<std::byte> record;
  if (Status status = Build(bytes, fill, &record); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  if (Status status = StartPump(); !status.ok()) return status;
  const auto begun = Begin(Request::Kind::kAsync, timeout, &record);
  if (!begun.ok()) return begun.status();
  Request* const request = begun.value();
  request->callback = std::move(callback);
  ++async_open_;
  if (request->deadline < async_deadline_) {
    async_deadline_ = request->deadline;
    async_deadline_moved_ = true;
    crew_.Wake(&pump_member_);
    crew_.Notify();
  }
  pump_wanted_.notify_one();
  return request->id;
}

Status ClientImpl::StartPump() {
  if (pump_.joinable() || ended_ != EndReason::kNotEnded) return {};
  const Status status = StartOwnThread(
      "ivmq-replies", [this] { Pump(); }, &pump_);
  pump_id_ = pump_.get_id();
  return status;
}

void ClientImpl::Pump() {
  std::unique_lock lock(mutex_);
  for (;;) {
    pump_wanted_.wait(lock,
                      [this] { return pump_stops_ || async_open_ > 0 || !completed_.empty(); });
    crew_.Await(&lock, &pump_member_, async_deadline_,
                [this] { return pump_stops_ || async_deadline_moved_ || !completed_.empty(); });
    async_deadline_moved_ = false;
    ExpireAsync();
    while (!completed_.empty()) {
      Request* const request = completed_.front();
      completed_.pop_front();
      --async_open_;
      Result<Bytes> result = request->status.ok() ? Result<Bytes>(std::move(request->reply))
                                                  : Result<Bytes>(std::move(request->status));
      const Callback callback = std::move(request->callback);
      FreeSlot(request);
      lock.unlock();
      bool threw = false;
      try {
        callback(std::move(result));
      } catch (...) {
        threw = true;
      }
      lock.lock();
      counted_.exceptions += threw ? 1 : 0;
    }
    if (pump_stops_) return;
  }
}

void ClientImpl::ExpireAsync() {
  const auto now = Clock::now();
  if (now < async_deadline_) return;
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
}

void ClientImpl::Destroy(ClientImpl* client) {
  // A forked child has neither the links nor the thread.
  if (client->forked()) return;
  if (std::this_thread::get_id() != client->pump_id_) {
    delete client;
    return;
  }
  // The last copy was dropped in a callback: that thread cannot wait for itself.
  std::thread([client] { delete client; }).detach();
}

}  // namespace ivmq::internal
