#include "broker/control/task_queue.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "broker/control/check.h"

namespace ivmq::control {

TaskQueue::TaskQueue(broker::EventLoop* loop)
    : eventfd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      watch_(loop, eventfd_.get(), EPOLLIN, [this](uint32_t) { RunAll(); }) {
  IVMQ_CHECK(eventfd_ && watch_);
}

void TaskQueue::Post(Task task) {
  bool first = false;
  {
    const absl::MutexLock lock(&mutex_);
    first = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  const uint64_t one = 1;
  if (first) IVMQ_CHECK(write(eventfd_.get(), &one, sizeof(one)) == sizeof(one));
}

void TaskQueue::RunAll() {
  uint64_t count = 0;
  // Before the tasks are taken: what is posted from now on wakes us again.
  (void)!read(eventfd_.get(), &count, sizeof(count));
  std::vector<Task> tasks;
  {
    const absl::MutexLock lock(&mutex_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) task();
}

}  // namespace ivmq::control
