#include "broker/control/grpc_tasks.h"

#include <grpc/event_engine/event_engine.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace ivmq::control {
namespace {

using grpc_event_engine::experimental::EndpointConfig;
using grpc_event_engine::experimental::EventEngine;
using grpc_event_engine::experimental::MemoryAllocator;
using grpc_event_engine::experimental::MemoryAllocatorFactory;

// The part of an engine that servers need whose connections are handed in: tasks, now or later, one
// after the other. It neither connects nor listens nor looks up names. Any thread.
class SleepingTasks final : public EventEngine {
 public:
  SleepingTasks() : thread_([state = state_] { RunDue(state.get()); }) {}
  // What has not run yet is dropped.
  ~SleepingTasks() override {
    {
      const std::lock_guard lock(state_->mutex);
      state_->stopping = true;
    }
    state_->changed.notify_one();
    // gRPC shares it: a task may have held it last.
    if (SleepingTasks::IsWorkerThread()) {
      thread_.detach();
    } else {
      thread_.join();
    }
  }

  void Run(Closure* closure) override {
    Run([closure] { closure->Run(); });
  }
  void Run(absl::AnyInvocable<void()> task) override { Add(Clock::now(), std::move(task)); }
  TaskHandle RunAfter(Duration when, Closure* closure) override {
    return RunAfter(when, [closure] { closure->Run(); });
  }
  TaskHandle RunAfter(Duration when, absl::AnyInvocable<void()> task) override {
    const Clock::time_point now = Clock::now();
    const bool never = when > Clock::time_point::max() - now;
    return Add(never ? Clock::time_point::max() : now + when, std::move(task));
  }
  // True: it was there, and will not run.
  bool Cancel(TaskHandle handle) override {
    absl::AnyInvocable<void()> dropped;  // outside the lock: what it owns may call us
    const std::lock_guard lock(state_->mutex);
    const auto found = state_->tasks.find(KeyOf(handle));
    if (found == state_->tasks.end()) return false;
    dropped = std::move(found->second);
    state_->tasks.erase(found);
    return true;
  }
  bool IsWorkerThread() override { return std::this_thread::get_id() == thread_.get_id(); }

  absl::StatusOr<std::unique_ptr<Listener>> CreateListener(
      Listener::AcceptCallback, absl::AnyInvocable<void(absl::Status)>, const EndpointConfig&,
      std::unique_ptr<MemoryAllocatorFactory>) override {
    return absl::UnimplementedError("it does not listen");
  }
  ConnectionHandle Connect(OnConnectCallback on_connect, const ResolvedAddress&,
                           const EndpointConfig&, MemoryAllocator, Duration) override {
    Run([on_connect = std::move(on_connect)]() mutable {
      on_connect(absl::UnimplementedError("it does not connect"));
    });
    return {{0, 0}};
  }
  bool CancelConnect(ConnectionHandle) override { return false; }
  std::unique_ptr<DNSResolver> GetDNSResolver(const DNSResolver::ResolverOptions&) override {
    return nullptr;
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Key = std::pair<Clock::time_point, uint64_t>;  // when, and which: in the order they came
  struct State {
    std::mutex mutex;  // guards the others
    std::condition_variable changed;
    std::map<Key, absl::AnyInvocable<void()>> tasks;
    uint64_t last = 0;
    bool stopping = false;
  };

  TaskHandle Add(Clock::time_point when, absl::AnyInvocable<void()> task) {
    const std::lock_guard lock(state_->mutex);
    const Key key{when, ++state_->last};
    const auto place = state_->tasks.emplace(key, std::move(task)).first;
    if (place == state_->tasks.begin()) state_->changed.notify_one();
    return {{static_cast<intptr_t>(when.time_since_epoch().count()),
             static_cast<intptr_t>(key.second)}};
  }
  static Key KeyOf(const TaskHandle& handle) {
    return {Clock::time_point(Clock::duration(handle.keys[0])),
            static_cast<uint64_t>(handle.keys[1])};
  }

  static void RunDue(State* state) {
    std::unique_lock lock(state->mutex);
    while (!state->stopping) {
      if (state->tasks.empty()) {
        state->changed.wait(lock);
        continue;
      }
      const auto first = state->tasks.begin();
      if (const Clock::time_point when = first->first.first; when > Clock::now()) {
        state->changed.wait_until(lock, when);
        continue;
      }
      auto task = std::move(first->second);
      state->tasks.erase(first);
      lock.unlock();
      task();
      task = nullptr;  // outside the lock: what it owns may call us
      lock.lock();
    }
  }

  const std::shared_ptr<State> state_ = std::make_shared<State>();  // with the thread
  std::thread thread_;
};

}  // namespace

void UseSleepingGrpcTasks() {
  grpc_event_engine::experimental::SetEventEngineFactory(
      [] { return std::make_unique<SleepingTasks>(); });
}

}  // namespace ivmq::control
