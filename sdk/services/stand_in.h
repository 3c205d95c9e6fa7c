#ifndef IVMQ_SDK_SERVICES_STAND_IN_H_
#define IVMQ_SDK_SERVICES_STAND_IN_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "ivmq/options.h"
#include "ivmq/status.h"
#include "sdk/threads/callback_thread.h"
#include "transport/waiter.h"

namespace ivmq::internal {

// Works for a client or server while none of its own threads waits (Crew), and calls back what is
// to be called back: on the node's callback thread, or on an executor. Sleeps on a waiter of its
// own, as an fd among those of the callback thread.
class StandIn final : private CallbackThread::Source {
 public:
  enum class Next : uint8_t {
    kOver,    // there will be nothing any more
    kCalled,  // nothing to do until Wake()
    kWatch,   // nothing to do until Wake(), or until HasTurn() sees something
  };
  // Whose work it is.
  class Duty {
   public:
    virtual ~Duty() = default;
    // Keeps the owner of both alive for a turn, as CallbackThread::Source's.
    virtual std::shared_ptr<void> Hold() = 0;
    // A bounded piece of the work. Called with the mutex held, which it gives up while it calls the
    // application. Must not throw.
    virtual Next TakeTurn(std::unique_lock<std::mutex>* lock) = 0;
    // Whether TakeTurn() would find something; arms what is to wake us as `look` says. With the
    // mutex held.
    virtual bool HasTurn(transport::Look look) = 0;
    // As CallbackThread::Source's.
    virtual void OnExecutorFailed(const std::string& what) = 0;
  };

  // All three must outlive it. Null executor: the callback thread itself.
  static Result<std::unique_ptr<StandIn>> Start(const std::shared_ptr<transport::NodeWake>& wake,
                                                CallbackThread* thread, std::mutex* mutex,
                                                Duty* duty, Executor executor);
  ~StandIn() override { Stop(); }

  // There is something for it. With the mutex held.
  void Wake() {
    // In its turn it looks once more before it sleeps.
    if (!in_turn_) waiter_->Notify();
  }
  // As CallbackThread::Remove(). Without the mutex.
  void Stop() { thread_->Remove(this); }

 private:
  StandIn(CallbackThread* thread, std::mutex* mutex, Duty* duty,
          std::unique_ptr<transport::Waiter> waiter)
      : thread_(thread), mutex_(mutex), duty_(duty), waiter_(std::move(waiter)) {}

  // CallbackThread::Source
  int fd() override { return waiter_->fd(); }
  std::shared_ptr<void> Hold() override { return duty_->Hold(); }
  bool Run() override;
  void OnExecutorFailed(const std::string& what) override { duty_->OnExecutorFailed(what); }

  CallbackThread* const thread_;
  std::mutex* const mutex_;
  Duty* const duty_;
  const std::unique_ptr<transport::Waiter> waiter_;  // Notify() apart, of whoever is in Run()
  bool in_turn_ = false;                             // guarded by the mutex
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_STAND_IN_H_
