#include "sdk/node/realm_clock.h"

#include <algorithm>

namespace ivmq::internal {
namespace {

using std::chrono::nanoseconds;
using std::chrono::system_clock;

constexpr int kQuestionsPerRound = 8;
constexpr std::chrono::seconds kRoundEvery(10);
// However often it seems to have stood still: what says so is anybody's to write.
constexpr std::chrono::seconds kRoundEveryMin(1);
// Without a heartbeat for so long.
constexpr std::chrono::seconds kUnwatchedMax(30);
// How fast two clocks may part: 50 us a second, more than what quartz does.
constexpr int64_t kDriftShare = 20'000;

system_clock::time_point AsTime(nanoseconds since_epoch) {
  return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(since_epoch));
}

}  // namespace

nanoseconds RealmClock::UncertaintyAt(const Estimate& estimate, Clock::time_point now) {
  return estimate.uncertainty + (now - estimate.taken) / kDriftShare;
}

bool RealmClock::StoodStill(const Pulse& before, uint64_t beats, Clock::time_point now) {
  if (beats <= before.beats) return false;  // none since, or another control counts
  const uint64_t least_seconds = beats - before.beats - 1;
  const nanoseconds elapsed = now - before.looked;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(elapsed);
  return least_seconds > static_cast<uint64_t>(std::max<int64_t>(seconds.count(), 0));
}

RealmClock::Clock::time_point RealmClock::Look() {
  // In this order: if we are held up in between, that is taken for a pause and not the reverse.
  const Clock::time_point now = own_now_();
  const uint64_t beats = beats_();
  if (!pulse_.has_value()) pulse_ = Pulse{beats, now, now};
  if (StoodStill(*pulse_, beats, now)) {
    best_.reset();
    stood_still_ = now;
    if (last_round_ != Clock::time_point::min()) next_round_ = last_round_ + kRoundEveryMin;
  }
  if (beats != pulse_->beats) pulse_->moved = now;
  if (now - pulse_->moved > kUnwatchedMax) best_.reset();
  pulse_->beats = beats;
  pulse_->looked = now;
  return now;
}

std::optional<RealmTime> RealmClock::Now() {
  if (!ask_) return RealmTime{system_clock::now(), nanoseconds(0)};
  std::optional<RealmTime> time;
  bool ask = false;
  {
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Look();
    if (best_.has_value()) {
      time = RealmTime{AsTime(now.time_since_epoch() + best_->offset), UncertaintyAt(*best_, now)};
    }
    if (now >= next_round_) {
      last_round_ = now;
      next_round_ = now + kRoundEvery;
      to_ask_ = kQuestionsPerRound - 1;
      ask = true;
    }
  }
  if (ask) ask_();
  return time;
}

void RealmClock::Answer(int64_t realm_time_ns, Clock::time_point asked) {
  {
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Look();
    // Otherwise half the time from question to answer may be more than we have seen pass.
    if (asked >= stood_still_) Take(realm_time_ns, asked, now);
    if (to_ask_ == 0) return;
    --to_ask_;
  }
  ask_();
}

void RealmClock::Take(int64_t realm_time_ns, Clock::time_point asked, Clock::time_point now) {
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
}

}  // namespace ivmq::internal
