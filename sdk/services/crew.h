#ifndef IVMQ_SDK_SERVICES_CREW_H_
#define IVMQ_SDK_SERVICES_CREW_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "sdk/services/stand_in.h"
#include "transport/waiter.h"

namespace ivmq::internal {

// The threads that wait for something of one client or server. One of them leads: it polls the
// links, then sleeps on the waiter, and does the work of all; so a thread that is alone has its
// answer without another's help. The others sleep until they have what they want, or until it is
// their turn to lead. While nobody waits, a stand-in may do the work.
//
// Everything of the owner is guarded by its one mutex, the links included; only the waiter belongs
// to the leader.
class Crew {
 public:
  // What the leader works on. Called with the mutex held.
  class Work {
   public:
    virtual ~Work() = default;
    // Whether DoWork() would find something; arms what is to wake us as `look` says.
    virtual bool HasWork(transport::Look look) = 0;
    // Takes one piece. False: there was none.
    virtual bool DoWork() = 0;
  };
  // A thread that waits.
  class Member {
   public:
    Member() = default;
    // `takes_any`: WakeAny() may choose it.
    explicit Member(bool takes_any) : takes_any_(takes_any) {}

   private:
    friend class Crew;
    std::condition_variable ready_;
    const bool takes_any_ = false;
  };

  // Both must outlive the crew.
  Crew(std::mutex* mutex, Work* work, std::unique_ptr<transport::Waiter> waiter)
      : mutex_(mutex), work_(work), waiter_(std::move(waiter)) {}

  // Until done() is true, or false at the deadline. `done` is called with the mutex held; it is
  // not called again after it said true.
  // REQUIRES: *lock holds the mutex.
  template <class Done>
  bool Await(std::unique_lock<std::mutex>* lock, Member* me,
             std::chrono::steady_clock::time_point deadline, Done done) {
    for (;;) {
      bool late = false;
      bool finished = false;
      if (leader_ != nullptr) {
        Follow(lock, me, deadline, [&] { return (finished = done()) || leader_ == nullptr; });
        late = !finished && leader_ != nullptr;
      } else {
        leader_ = me;
        finished = Lead(lock, deadline, done, &late);
        leader_ = nullptr;
      }
      if (!finished && !late) continue;
      if (leader_ == nullptr) PassOn();
      return finished;
    }
  }

  // What that member waits for is there. With the mutex held.
  void Wake(Member* member) {
    if (member != leader_) {
      member->ready_.notify_one();
      return;
    }
    leader_woken_ = true;
    if (leader_sleeps_) waiter_->Notify();
  }
  // There is something for one of those that take anything. With the mutex held.
  void WakeAny() {
    if (leader_ != nullptr && leader_->takes_any_) return Wake(leader_);
    for (Member* const member : followers_) {
      if (member->takes_any_) return Wake(member);
    }
    WakeStandIn();
  }
  // Whoever works looks again: something changed that no doorbell tells. With the mutex held.
  void Notify() {
    if (leader_ != nullptr) {
      waiter_->Notify();
    } else {
      WakeStandIn();
    }
  }

  // Who works while nobody waits; null: nobody. With the mutex held.
  void set_stand_in(StandIn* stand_in) { stand_in_ = stand_in; }
  void WakeStandIn() {
    if (stand_in_ != nullptr) stand_in_->Wake();
  }
  // What a stand-in does: up to `pieces` of the work, unless a member that waits does it anyway.
  // With the mutex held.
  void WorkIfNobodyWaits(int pieces) {
    while (leader_ == nullptr && pieces-- > 0 && work_->DoWork()) {
    }
  }
  // Whether that would find something.
  bool HasWorkIfNobodyWaits(transport::Look look) {
    return leader_ == nullptr && work_->HasWork(look);
  }

 private:
  static constexpr int kPiecesPerClock = 64;

  // Somebody has to lead, or to stand in.
  void PassOn() {
    if (followers_.empty()) {
      WakeStandIn();
    } else {
      followers_.front()->ready_.notify_one();
    }
  }

  template <class Done>
  bool Lead(std::unique_lock<std::mutex>* lock, std::chrono::steady_clock::time_point deadline,
            Done& done, bool* late) {
    for (;;) {
      int pieces = 0;
      do {
        if (done()) return true;
        // A peer that writes without end must not keep us beyond the deadline.
        if (++pieces % kPiecesPerClock == 0 && std::chrono::steady_clock::now() >= deadline) {
          *late = true;
        }
      } while (!*late && work_->DoWork());
      if (*late) return false;
      // Its own work may have ended its wait and found nothing more to do.
      if (std::exchange(leader_woken_, false)) continue;
      leader_sleeps_ = true;
      lock->unlock();
      const auto result = waiter_->Wait(deadline, [this](transport::Look look) {
        const std::lock_guard guard(*mutex_);
        return work_->HasWork(look);
      });
      lock->lock();
      leader_sleeps_ = false;
      *late = result == transport::WaitResult::kDeadline;
    }
  }

  template <class Until>
  void Follow(std::unique_lock<std::mutex>* lock, Member* me,
              std::chrono::steady_clock::time_point deadline, Until until) {
    followers_.push_back(me);
    me->ready_.wait_until(*lock, deadline, until);
    followers_.erase(std::find(followers_.begin(), followers_.end(), me));
  }

  std::mutex* const mutex_;
  Work* const work_;
  const std::unique_ptr<transport::Waiter> waiter_;

  StandIn* stand_in_ = nullptr;     // guarded by the mutex
  Member* leader_ = nullptr;        // guarded by the mutex
  bool leader_sleeps_ = false;      // guarded by the mutex: or is about to, or just woke up
  bool leader_woken_ = false;       // guarded by the mutex: since it last asked done()
  std::vector<Member*> followers_;  // guarded by the mutex
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_CREW_H_
