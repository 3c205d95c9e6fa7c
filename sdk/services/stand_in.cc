#include "sdk/services/stand_in.h"

#include <utility>

#include "sdk/node/convert.h"

namespace ivmq::internal {

Result<std::unique_ptr<StandIn>> StandIn::Start(const std::shared_ptr<transport::NodeWake>& wake,
                                                CallbackThread* thread, std::mutex* mutex,
                                                Duty* duty, Executor executor) {
  auto waiter = transport::Waiter::Open(wake);
  if (!waiter.ok()) return FromTransport(waiter.status());
  waiter.value()->Notify();  // It starts with a look.
  std::unique_ptr<StandIn> made(new StandIn(thread, mutex, duty, std::move(waiter).value()));
  if (Status status = thread->Add(made.get(), std::move(executor)); !status.ok()) return status;
  return made;
}

bool StandIn::Run() {
  static_cast<void>(waiter_->DisarmFd());  // What it was told so far, it sees now.
  Next next = Next::kOver;
  {
    std::unique_lock lock(*mutex_);
    in_turn_ = true;
    next = duty_->TakeTurn(&lock);
    in_turn_ = false;
  }
  if (next == Next::kWatch) {
    waiter_->ArmFd([this](transport::Look look) {
      const std::lock_guard lock(*mutex_);
      return duty_->HasTurn(look);
    });
  }
  return next != Next::kOver;
}

}  // namespace ivmq::internal
