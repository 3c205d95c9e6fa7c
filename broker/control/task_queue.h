#ifndef IVMQ_BROKER_CONTROL_TASK_QUEUE_H_
#define IVMQ_BROKER_CONTROL_TASK_QUEUE_H_

#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "broker/event_loop.h"
#include "transport/unique_fd.h"

namespace ivmq::control {

// How other threads (gRPC's) have things done on the loop's thread: in the order they were posted.
// Post() from any thread; all else on the loop's. What is still queued at destruction is dropped.
class TaskQueue {
 public:
  using Task = std::function<void()>;

  explicit TaskQueue(broker::EventLoop* loop);
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  void Post(Task task);

 private:
  void RunAll();

  const transport::UniqueFd eventfd_;
  broker::FdWatch watch_;
  absl::Mutex mutex_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_TASK_QUEUE_H_
