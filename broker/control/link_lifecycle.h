#ifndef IVMQ_BROKER_CONTROL_LINK_LIFECYCLE_H_
#define IVMQ_BROKER_CONTROL_LINK_LIFECYCLE_H_

#include <cstdint>
#include <string_view>

#include "ivmq/v1/control.pb.h"
#include "ivmq/v1/discovery.pb.h"

// What happens to a link when one of its sides does something, or something happens to it. Pure
// rules; who acts on them is LinkTable.
//
// Each side on its own:
//
//   kTold ──attached──► kAttached                       it knows the offsets and may use them
//     └──────┬──────────────┘
//            ├─ closed, corrupt, died ──► kSettled      it will never touch them again
//            └─ lost, evicted ──► kLost                 nobody knows
//                                   └─ died ──► kSettled      proven dead after all
//
// When one side leaves kTold or kAttached the other is told, once. When both are settled the link
// is over and its memory is free. The links of a client and a server share their fate: when a side
// leaves the one, both are told that the other is down.

namespace ivmq::control {

enum class SideState : uint8_t { kTold, kAttached, kSettled, kLost };

enum class SideEvent : uint8_t {
  kAttached,  // the side said that it uses the link
  kClosed,    // it said that it does not touch it any more
  kCorrupt,   // the same, because it found nonsense
  kDied,      // its process or machine is proven dead
  kLost,      // its session ended, which proves nothing
  kEvicted,   // an operator ended its session, which proves nothing either
};

struct LinkProgress {
  SideState publisher = SideState::kTold;
  SideState subscriber = SideState::kTold;
  bool quarantined = false;
  v1::LinkDown::Reason down = v1::LinkDown::REASON_UNSPECIFIED;  // why the first side left
  bool both_told = false;  // that it is down, for the sake of the link it is a pair with
};

// What is to be done after an event.
struct LinkActions {
  bool tell_ready = false;       // LinkReady to the subscriber
  bool tell_other_down = false;  // LinkDown, with LinkProgress::down, to the other side
  bool release_side = false;     // the side lets go of the link's memory
  bool over = false;             // both sides are settled: forget the link
};

inline bool IsActive(SideState side) {
  return side == SideState::kTold || side == SideState::kAttached;
}

// Applies the event to one side. Events that make no sense in a state (a second LinkClosed, a late
// LinkAttached) change nothing.
LinkActions Apply(SideEvent event, bool to_publisher, LinkProgress* progress);

// The link it is a pair with went down by that event: so does this one, and those of its sides that
// are active are to be told. False if it was down before.
bool ApplyOfPair(SideEvent event, LinkProgress* progress);

v1::Link::State StateOf(const LinkProgress& progress);
// For people; empty while the link is up.
std::string_view ReasonOf(const LinkProgress& progress);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_LINK_LIFECYCLE_H_
