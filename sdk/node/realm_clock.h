#ifndef IVMQ_SDK_NODE_REALM_CLOCK_H_
#define IVMQ_SDK_NODE_REALM_CLOCK_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "ivmq/message.h"

namespace ivmq::internal {

// The realm's clock, which is the host's, as a node knows it: on the host its own; in a guest its
// own monotonic clock and an offset, which it estimates by asking control what time it is. Of
// several answers the one that came fastest counts: control read its clock between question and
// answer, so half the time between is all that it can be wrong, and it grows by what two clocks
// may part since. Asks only while somebody wants to know. Any thread.
class RealmClock {
 public:
  using Clock = std::chrono::steady_clock;
  // Has control asked; Answer() or nothing follows, on any thread, or within the call.
  using Ask = std::function<void()>;

  // `ask` empty: this is the realm's clock itself.
  explicit RealmClock(Ask ask) : ask_(std::move(ask)) {}

  // None before the first answer. Asks again where the last answers are old; does not wait.
  std::optional<RealmTime> Now();
  // `asked`: when that question was put, by our clock.
  void Answer(int64_t realm_time_ns, Clock::time_point asked);

 private:
  struct Estimate {
    std::chrono::nanoseconds offset{};  // realm's - ours
    std::chrono::nanoseconds uncertainty{};
    Clock::time_point taken;
  };
  static std::chrono::nanoseconds UncertaintyAt(const Estimate& estimate, Clock::time_point now);

  const Ask ask_;
  std::mutex mutex_;  // guards all below
  std::optional<Estimate> best_;
  int to_ask_ = 0;  // questions left of this round
  Clock::time_point next_round_;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_REALM_CLOCK_H_
