#include "sdk/threads/callback_thread.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <system_error>
#include <utility>
#include <vector>

#include "sdk/threads/handler_scope.h"
#include "sdk/threads/own_thread.h"

namespace ivmq::internal {

// What outlives the thread while an executor still holds a task.
struct CallbackThread::Epoll {
  using Clock = std::chrono::steady_clock;
  struct Resting {
    Clock::time_point until;
    std::weak_ptr<Watched> watched;
  };

  void Wake() {
    const uint64_t one = 1;
    static_cast<void>(!::write(wake.get(), &one, sizeof(one)));
  }
  // The thread watches it again then.
  void Rest(const std::shared_ptr<Watched>& watched, Clock::time_point until) {
    {
      const std::lock_guard lock(mutex);
      resting.push_back({until, watched});
    }
    Wake();
  }
  // Watches those again that have rested. How long epoll_wait(2) may take: until the next one has.
  int TakeRested();

  transport::UniqueFd fd;
  transport::UniqueFd wake;
  std::atomic<bool> stop{false};

  std::mutex mutex;  // guards what is below; never taken together with a Watched's
  std::vector<Resting> resting;
};

// One source, from its Add() until the last task of an executor has been run or thrown away.
struct CallbackThread::Watched {
  Watched(const void* of, Source* watched, Executor runs, std::shared_ptr<Epoll> on)
      : node(of), source(watched), executor(std::move(runs)), epoll(std::move(on)) {}

  // Reports the next readiness, once.
  bool Arm(int operation) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.ptr = source;
    return ::epoll_ctl(epoll->fd.get(), operation, fd, &event) == 0;
  }
  void Run() {
    const HandlerScope scope(node);
    std::shared_ptr<void> held;  // goes before the scope: the last copy must not wait here
    {
      const std::lock_guard lock(mutex);
      if (removed || (held = source->Hold()) == nullptr) return;
      running = true;
      rest = kRestMin;
    }
    const bool again = source->Run();
    const std::lock_guard lock(mutex);
    running = false;
    idle.notify_all();
    if (again && !removed) static_cast<void>(Arm(EPOLL_CTL_MOD));
  }
  // Hands Run() to the executor.
  static void Post(const std::shared_ptr<Watched>& watched);
  // Whether there is a point in asking again, and when.
  bool TakesRest(Epoll::Clock::time_point* until) {
    const std::lock_guard lock(mutex);
    *until = Epoll::Clock::now() + rest;
    rest = std::min(2 * rest, kRestMax);
    return !removed;
  }
  void ArmAgain() {
    const std::lock_guard lock(mutex);
    if (!removed) static_cast<void>(Arm(EPOLL_CTL_MOD));
  }
  void OnExecutorFailed(const std::string& what) {
    const std::lock_guard lock(mutex);
    if (!removed) source->OnExecutorFailed(what);
  }
  void Remove() {
    std::unique_lock lock(mutex);
    if (!removed) static_cast<void>(::epoll_ctl(epoll->fd.get(), EPOLL_CTL_DEL, fd, nullptr));
    removed = true;
    // Handlers that waited for each other would do so for ever.
    if (HandlerScope::Inside(node)) return;
    const auto self = std::this_thread::get_id();
    // What the executor refers to may be gone once the owner has closed.
    idle.wait(lock, [&] { return !running && (poster == std::thread::id() || poster == self); });
  }

  const void* const node;
  Source* const source;
  const Executor executor;
  const std::shared_ptr<Epoll> epoll;
  const int fd = source->fd();

  std::mutex mutex;  // guards all below
  std::condition_variable idle;
  bool running = false;
  std::thread::id poster;  // is in the executor; none: nobody
  bool removed = false;
  std::chrono::milliseconds rest = kRestMin;  // the next one
};

// What an executor is given. It may throw it away: now, or when it is stopped.
struct CallbackThread::Task {
  explicit Task(std::shared_ptr<Watched> of) : watched(std::move(of)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (taken) return;
    if (!told) watched->OnExecutorFailed("the executor threw a task away");
    Epoll::Clock::time_point until;
    if (watched->TakesRest(&until)) watched->epoll->Rest(watched, until);
  }

  const std::shared_ptr<Watched> watched;
  bool taken = false;  // run
  bool told = false;   // that the executor threw
};

void CallbackThread::Watched::Post(const std::shared_ptr<Watched>& watched) {
  {
    const std::lock_guard lock(watched->mutex);
    if (watched->removed) return;
    watched->poster = std::this_thread::get_id();
  }
  const auto task = std::make_shared<Task>(watched);
  try {
    watched->executor([task] {
      task->taken = true;
      task->watched->Run();
    });
  } catch (...) {
    task->told = true;
    watched->OnExecutorFailed(CaughtText());
  }
  const std::lock_guard lock(watched->mutex);
  watched->poster = {};
  watched->idle.notify_all();
}

int CallbackThread::Epoll::TakeRested() {
  std::vector<std::shared_ptr<Watched>> rested;
  int wait_ms = -1;
  {
    const std::lock_guard lock(mutex);
    const auto now = Clock::now();
    std::erase_if(resting, [&](Resting& one) {
      if (one.until > now) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(one.until - now).count();
        wait_ms = static_cast<int>(wait_ms < 0 ? left : std::min<int64_t>(wait_ms, left));
        return false;
      }
      if (auto watched = one.watched.lock()) rested.push_back(std::move(watched));
      return true;
    });
  }
  for (const auto& watched : rested) watched->ArmAgain();
  return wait_ms;
}

CallbackThread::~CallbackThread() {
  if (!thread_.joinable()) return;
  epoll_->stop.store(true, std::memory_order_relaxed);  // The eventfd orders it.
  epoll_->Wake();
  thread_.join();
}

Status CallbackThread::Add(Source* source, Executor executor) {
  const std::lock_guard lock(mutex_);
  if (Status status = Start(); !status.ok()) return status;
  auto watched = std::make_shared<Watched>(node_, source, std::move(executor), epoll_);
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
  epoll->wake.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  if (!epoll->fd || !epoll->wake ||
      ::epoll_ctl(epoll->fd.get(), EPOLL_CTL_ADD, epoll->wake.get(), &event) != 0) {
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
    const int wait_ms = epoll_->TakeRested();
    if (::epoll_wait(epoll_->fd.get(), &event, 1, wait_ms) < 1) continue;  // EINTR, or rested
    if (event.data.ptr == nullptr) {
      uint64_t count = 0;
      static_cast<void>(!::read(epoll_->wake.get(), &count, sizeof(count)));
      if (epoll_->stop.load(std::memory_order_relaxed)) return;
      continue;
    }
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
