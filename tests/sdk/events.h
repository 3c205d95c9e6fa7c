#ifndef IVMQ_TESTS_SDK_EVENTS_H_
#define IVMQ_TESTS_SDK_EVENTS_H_

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

#include "ivmq/event.h"

namespace ivmq::test {

// Collects events from any thread.
class Events {
 public:
  EventHandler handler() {
    return [this](const Event& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
    };
  }
  // The first of that kind.
  Event Await(Event::Kind kind) {
    std::unique_lock lock(mutex_);
    Event found;
    const bool came = changed_.wait_for(lock, std::chrono::minutes(1), [&] {
      for (const Event& event : events_) {
        if (event.kind != kind) continue;
        found = event;
        return true;
      }
      return false;
    });
    EXPECT_TRUE(came) << EventName(kind);
    return found;
  }
  size_t Count(Event::Kind kind) {
    const std::lock_guard lock(mutex_);
    size_t count = 0;
    for (const Event& event : events_) count += event.kind == kind ? 1 : 0;
    return count;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
};

}  // namespace ivmq::test

#endif  // IVMQ_TESTS_SDK_EVENTS_H_
