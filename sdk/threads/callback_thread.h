#ifndef IVMQ_SDK_THREADS_CALLBACK_THREAD_H_
#define IVMQ_SDK_THREADS_CALLBACK_THREAD_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "ivmq/status.h"
#include "transport/unique_fd.h"

namespace ivmq::internal {

// The one thread of a node that waits for all that have callbacks and runs these, one at a time;
// or, for those with an executor, only waits. Starts with the first source. Any thread.
class CallbackThread {
 public:
  using Executor = std::function<void(std::function<void()>)>;
  static constexpr std::chrono::milliseconds kRestMin{10};
  static constexpr std::chrono::milliseconds kRestMax{10'000};

  // Someone with work, which shows at an fd.
  class Source {
   public:
    virtual ~Source() = default;
    // Level-triggered; the same for good.
    virtual int fd() = 0;
    // Keeps it alive for a Run(), in which its last copy may go. Null: it is on its way out, and is
    // not run.
    virtual std::shared_ptr<void> Hold() = 0;
    // A bounded piece of the work that is there. False: there will be none any more. Must not
    // throw. Never on two threads at once.
    virtual bool Run() = 0;
    // The executor threw, or threw a task away. It is asked again after a while (kRestMin, then
    // longer and longer, up to kRestMax). Any thread.
    virtual void OnExecutorFailed(const std::string& what) = 0;
  };

  // `node`: whose callbacks they are, as HandlerScope names it.
  explicit CallbackThread(const void* node) : node_(node) {}
  // REQUIRES: not called on the thread itself; all sources were removed.
  ~CallbackThread();
  CallbackThread(const CallbackThread&) = delete;
  CallbackThread& operator=(const CallbackThread&) = delete;

  // `source` must live until Remove() was called. Null executor: runs on this thread.
  // RESOURCE_EXHAUSTED.
  Status Add(Source* source, Executor executor);
  // No Run() of it is under way, nor call of its executor, nor will be, when this returns. Called
  // inside a handler or callback of the node, it does not wait for those that are under way: they
  // are the last. Unknown ones are ignored.
  void Remove(Source* source);
  bool on_own_thread() const;

 private:
  struct Watched;
  struct Epoll;
  struct Task;

  Status Start();
  void Loop();

  const void* const node_;

  std::mutex mutex_;
  std::shared_ptr<Epoll> epoll_;  // set once, guarded by mutex_; shared with tasks of executors
  std::map<Source*, std::shared_ptr<Watched>> watched_;  // guarded by mutex_
  std::atomic<std::thread::id> own_thread_;
  std::thread thread_;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_THREADS_CALLBACK_THREAD_H_
