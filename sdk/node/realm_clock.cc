#include "sdk/node/realm_clock.h"

namespace ivmq::internal {
namespace {

using std::chrono::nanoseconds;
using std::chrono::system_clock;

constexpr int kQuestionsPerRound = 8;
constexpr std::chrono::seconds kRoundEvery(10);
// How fast two clocks may part: 50 us a second, more than what quartz does.
constexpr int64_t kDriftShare = 20'000;

system_clock::time_point AsTime(nanoseconds since_epoch) {
  return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(since_epoch));
}

}  // namespace

nanoseconds RealmClock::UncertaintyAt(const Estimate& estimate, Clock::time_point now) {
  return estimate.uncertainty + (now - estimate.taken) / kDriftShare;
}

std::optional<RealmTime> RealmClock::Now() {
  if (!ask_) return RealmTime{system_clock::now(), nanoseconds(0)};
  const Clock::time_point now = Clock::now();
  std::optional<RealmTime> time;
  bool ask = false;
  {
    const std::lock_guard lock(mutex_);
    if (best_.has_value()) {
      time = RealmTime{AsTime(now.time_since_epoch() + best_->offset), UncertaintyAt(*best_, now)};
    }
    if (now >= next_round_) {
      next_round_ = now + kRoundEvery;
      to_ask_ = kQuestionsPerRound - 1;
      ask = true;
    }
  }
  if (ask) ask_();
  return time;
}

void RealmClock::Answer(int64_t realm_time_ns, Clock::time_point asked) {
  const Clock::time_point now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    Estimate estimate;
    estimate.uncertainty = (now - asked) / 2;
    estimate.taken = now;
    const nanoseconds middle = asked.time_since_epoch() + estimate.uncertainty;
    estimate.offset = nanoseconds(realm_time_ns) - middle;
    const nanoseconds before = best_.has_value() ? UncertaintyAt(*best_, now) : nanoseconds::max();
    // Two answers that cannot both be true: since the earlier one the host's clock was set, or the
    // VM stood still.
    if (estimate.uncertainty <= before ||
        std::chrono::abs(estimate.offset - best_->offset) > estimate.uncertainty + before) {
      best_ = estimate;
    }
    if (to_ask_ == 0) return;
    --to_ask_;
  }
  ask_();
}

}  // namespace ivmq::internal
