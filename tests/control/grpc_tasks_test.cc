// The engine of gRPC's deferred tasks, through gRPC's own way to make one.
#include "broker/control/grpc_tasks.h"

#include <grpc/event_engine/event_engine.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace ivmq::control {
namespace {

using grpc_event_engine::experimental::EventEngine;
using std::chrono::hours;
using std::chrono::milliseconds;

std::shared_ptr<EventEngine> MakeEngine() {
  UseSleepingGrpcTasks();
  return grpc_event_engine::experimental::CreateEventEngine();
}

TEST(GrpcTasksTest, RunsWhatIsDueInOrderOnAThreadOfItsOwn) {
  const auto engine = MakeEngine();
  std::mutex mutex;
  std::vector<int> ran;
  std::promise<bool> done;
  const auto add = [&](int number) {
    return [&, number] {
      const std::lock_guard lock(mutex);
      ran.push_back(number);
    };
  };
  engine->RunAfter(hours(1), add(9));
  engine->RunAfter(milliseconds(60), [&] { done.set_value(engine->IsWorkerThread()); });
  engine->RunAfter(milliseconds(30), add(3));
  engine->Run(add(1));
  engine->Run(add(2));
  EXPECT_TRUE(done.get_future().get());
  EXPECT_FALSE(engine->IsWorkerThread());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3}));
}

TEST(GrpcTasksTest, CancelsWhatHasNotRunAndNothingElse) {
  const auto engine = MakeEngine();
  bool cancelled_ran = false;
  const auto later = engine->RunAfter(milliseconds(20), [&] { cancelled_ran = true; });
  EXPECT_TRUE(engine->Cancel(later));
  EXPECT_FALSE(engine->Cancel(later));
  std::promise<void> ran;
  const auto now = engine->RunAfter(milliseconds(0), [&] { ran.set_value(); });
  ran.get_future().wait();
  EXPECT_FALSE(engine->Cancel(now));
  std::promise<void> after;
  engine->RunAfter(milliseconds(40), [&] { after.set_value(); });
  after.get_future().wait();
  EXPECT_FALSE(cancelled_ran);
}

TEST(GrpcTasksTest, MayEndInATaskOfItsOwn) {
  auto engine = MakeEngine();
  std::promise<void> released;
  std::promise<void> ended;
  EventEngine* const raw = engine.get();
  raw->Run([engine = std::move(engine), released = released.get_future(), &ended]() mutable {
    released.wait();
    engine.reset();
    ended.set_value();
  });
  released.set_value();
  ended.get_future().wait();
}

TEST(GrpcTasksTest, DropsWhatIsNotDueAtItsEnd) {
  const auto owned = std::make_shared<int>();
  auto engine = MakeEngine();
  engine->RunAfter(hours(1), [owned] {});
  EXPECT_EQ(owned.use_count(), 2);
  engine.reset();
  EXPECT_EQ(owned.use_count(), 1);
}

}  // namespace
}  // namespace ivmq::control
