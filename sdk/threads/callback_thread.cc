#include "sdk/threads/callback_thread.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <system_error>
#include <utility>

#include "sdk/threads/handler_scope.h"
#include "sdk/threads/own_thread.h"

namespace ivmq::internal {

// What outlives the thread while an executor still holds a task.
struct CallbackThread::Epoll {
  transport::UniqueFd fd;
  transport::UniqueFd stop;
};

// One source, from its Add() until the last task of an executor has been run or thrown away.
struct CallbackThread::Watched {
  Watched(Source* watched, Executor runs, std::shared_ptr<Epoll> on)
      : source(watched), executor(std::move(runs)), epoll(std::move(on)) {}

  // Reports the next readiness, once.
  bool Arm(int operation) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.ptr = source;
    return ::epoll_ctl(epoll->fd.get(), operation, fd, &event) == 0;
  }
  void Run() {
    {
      const std::lock_guard lock(mutex);
      if (removed) return;
      running = true;
      runner = std::this_thread::get_id();
    }
    const bool again = source->Run();
    const std::lock_guard lock(mutex);
    running = false;
    idle.notify_all();
    if (again && !removed) static_cast<void>(Arm(EPOLL_CTL_MOD));
  }
  // Hands Run() to the executor.
  static void Post(const std::shared_ptr<Watched>& watched) {
    {
      const std::lock_guard lock(watched->mutex);
      if (watched->removed) return;
      watched->poster = std::this_thread::get_id();
    }
    try {
      watched->executor([watched] { watched->Run(); });
    } catch (...) {
      watched->OnExecutorFailed(CaughtText());
    }
    const std::lock_guard lock(watched->mutex);
    watched->poster = {};
    watched->idle.notify_all();
  }
  void OnExecutorFailed(const std::string& what) {
    const std::lock_guard lock(mutex);
    if (!removed) source->OnExecutorFailed(what);
  }
  void Remove() {
    std::unique_lock lock(mutex);
    if (!removed) static_cast<void>(::epoll_ctl(epoll->fd.get(), EPOLL_CTL_DEL, fd, nullptr));
    removed = true;
    const auto self = std::this_thread::get_id();
    if (running && runner == self) return;
    // What the executor refers to may be gone once the owner has closed.
    idle.wait(lock, [&] { return !running && (poster == std::thread::id() || poster == self); });
  }

  Source* const source;
  const Executor executor;
  const std::shared_ptr<Epoll> epoll;
  const int fd = source->fd();

  std::mutex mutex;  // guards all below
  std::condition_variable idle;
  bool running = false;
  std::thread::id runner;
  std::thread::id poster;  // is in the executor; none: nobody
  bool removed = false;
};

CallbackThread::~CallbackThread() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  static_cast<void>(!::write(epoll_->stop.get(), &one, sizeof(one)));
  thread_.join();
}

Status CallbackThread::Add(Source* source, Executor executor) {
  const std::lock_guard lock(mutex_);
  if (Status status = Start(); !status.ok()) return status;
  auto watched = std::make_shared<Watched>(source, std::move(executor), epoll_);
  watched_[source] = watched;
  if (watched->Arm(EPOLL_CTL_ADD)) return {};
  watched_.erase(source);
  return {Code::kResourceExhausted,
          "cannot watch for messages: " + std::generic_category().message(errno)};
}

void CallbackThread::Remove(Source* source) {
  std::shared_ptr<Watched> watched;
  {
    const std::lock_guard lock(mutex_);
    const auto found = watched_.find(source);
    if (found == watched_.end()) return;
    watched = std::move(found->second);
    watched_.erase(found);
  }
  watched->Remove();
}

bool CallbackThread::on_own_thread() const {
  return own_thread_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

Status CallbackThread::Start() {
  if (epoll_ != nullptr) return {};
  auto epoll = std::make_shared<Epoll>();
  epoll->fd.Reset(::epoll_create1(EPOLL_CLOEXEC));
  epoll->stop.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  if (!epoll->fd || !epoll->stop ||
      ::epoll_ctl(epoll->fd.get(), EPOLL_CTL_ADD, epoll->stop.get(), &event) != 0) {
    return {Code::kResourceExhausted,
            "cannot start the node's callback thread: " + std::generic_category().message(errno)};
  }
  epoll_ = std::move(epoll);
  Status status = StartOwnThread(
      "ivmq-callback", [this] { Loop(); }, &thread_);
  if (!status.ok()) epoll_ = nullptr;
  return status;
}

void CallbackThread::Loop() {
  own_thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  for (;;) {
    epoll_event event{};
    if (::epoll_wait(epoll_->fd.get(), &event, 1, -1) < 1) continue;  // EINTR
    if (event.data.ptr == nullptr) return;
    std::shared_ptr<Watched> watched;
    {
      const std::lock_guard lock(mutex_);
      const auto found = watched_.find(static_cast<Source*>(event.data.ptr));
      if (found == watched_.end()) continue;
      watched = found->second;
    }
    if (watched->executor) {
      CallbackThread::Watched::Post(watched);
    } else {
      watched->Run();
    }
  }
}

}  // namespace ivmq::internal
