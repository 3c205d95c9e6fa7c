#ifndef IVMQ_TESTS_SDK_THREADS_H_
#define IVMQ_TESTS_SDK_THREADS_H_

#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace ivmq::test {

// Runs each function on a thread of its own, and waits for all at the end.
class Threads {
 public:
  ~Threads() {
    for (auto& thread : threads_) thread.join();
  }
  std::function<void(std::function<void()>)> executor() {
    return [this](std::function<void()> run) {
      const std::lock_guard lock(mutex_);
      threads_.emplace_back(std::move(run));
    };
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_THREADS_H_
