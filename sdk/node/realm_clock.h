#ifndef IVMQ_SDK_NODE_REALM_CLOCK_H_
#define IVMQ_SDK_NODE_REALM_CLOCK_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "ivmq/message.h"

namespace ivmq::internal {

// The realm's clock, which is the host's, as a node knows it: on the host its own; in a guest its
// own monotonic clock and an offset, which it estimates by asking control what time it is. Of
// several answers the one that came fastest counts: control read its clock between question and
// answer, so half the time between is all that it can be wrong, and it grows by what two clocks
// may part since. Asks only while somebody wants to know. Any thread.
//
// A VM that is paused may find its clock where it was. That shows at control's heartbeat, which
// went on: two beats or more too many for the time that has passed here, and all that is known of
// the realm's clock is forgotten. Where the heart has not beaten for half a minute nobody would
// notice, so nothing is known either. What this cannot see, a pause of up to two seconds, or that
// the host's clock was set, is wrong until the next round of questions.
class RealmClock {
 public:
  using Clock = std::chrono::steady_clock;
  // Has control asked; Answer() or nothing follows, on any thread, or within the call.
  using Ask = std::function<void()>;

  // Control's heartbeats so far: a second or more of the host's lies between any two. Any number
  // may come of it, the word is anybody's.
  using Beats = std::function<uint64_t()>;
  // Our own clock.
  using OwnNow = std::function<Clock::time_point()>;

  // `ask` empty: this is the realm's clock itself, and the others are not used.
  RealmClock(Ask ask, Beats beats, OwnNow own_now = &Clock::now)
      : ask_(std::move(ask)), beats_(std::move(beats)), own_now_(std::move(own_now)) {}

  // None before the first answer, or where it is not known any more. Asks again where the last
  // answers are old; does not wait.
  std::optional<RealmTime> Now();
  // `asked`: when that question was put, by our clock.
  void Answer(int64_t realm_time_ns, Clock::time_point asked);

 private:
  struct Estimate {
    std::chrono::nanoseconds offset{};  // realm's - ours
    std::chrono::nanoseconds uncertainty{};
    Clock::time_point taken;
  };
  struct Pulse {
    uint64_t beats = 0;
    Clock::time_point looked;
    Clock::time_point moved;  // when `beats` was last seen to be another number
  };
  static std::chrono::nanoseconds UncertaintyAt(const Estimate& estimate, Clock::time_point now);
  // Whether our clock did, between two looks at both.
  static bool StoodStill(const Pulse& before, uint64_t beats, Clock::time_point now);
  // With mutex_ held: our own time, after a look at the heartbeat.
  Clock::time_point Look();
  // With mutex_ held: an answer that may be the best.
  void Take(int64_t realm_time_ns, Clock::time_point asked, Clock::time_point now);

  const Ask ask_;
  const Beats beats_;
  const OwnNow own_now_;
  std::mutex mutex_;  // guards all below
  std::optional<Estimate> best_;
  std::optional<Pulse> pulse_;
  Clock::time_point stood_still_ = Clock::time_point::min();  // when that was noticed last
  int to_ask_ = 0;                                            // questions left of this round
  Clock::time_point last_round_ = Clock::time_point::min();
  Clock::time_point next_round_ = Clock::time_point::min();
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_REALM_CLOCK_H_
