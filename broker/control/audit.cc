#include "broker/control/audit.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "broker/control/describe.h"
#include "ringbuf/ring_layout.h"

namespace ivmq::control {
namespace {

// Between these, both included.
struct Amount {
  uint64_t least = 0;
  uint64_t most = 0;

  bool exact() const { return least == most; }
};

uint64_t Less(uint64_t from, uint64_t what) { return from > what ? from - what : 0; }
uint64_t Sum(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() - b ? std::numeric_limits<uint64_t>::max()
                                                      : a + b;
}
Amount Minus(const Amount& from, const Amount& what) {
  return {Less(from.least, what.most), Less(from.most, what.least)};
}
Amount Plus(const Amount& a, const Amount& b) {
  return {Sum(a.least, b.least), Sum(a.most, b.most)};
}
// Bounds that a liar crossed are put in order, so that they can be shown.
Amount Between(uint64_t least, uint64_t most) { return {least, std::max(least, most)}; }

void Write(const Amount& amount, v1::Amount* out) {
  out->set_least(amount.least);
  out->set_most(amount.most);
}

// What one side said of those that it lost: so many, from the first to the last.
struct Told {
  uint64_t count = 0;
  uint64_t first = 0;
  uint64_t last = 0;
};

void AddDrop(v1::Drop::Reason reason, const Amount& count, const Amount& range_end,
             const Told& told, v1::Account* account) {
  if (count.most == 0) return;
  v1::Drop* drop = account->add_drops();
  drop->set_reason(reason);
  Write(count, drop->mutable_count());
  // What was lost later than it said is not before the first, nor after all that there is. Nor is
  // anything else, whatever a liar says.
  const uint64_t end = Less(range_end.most, 1);
  const uint64_t first = std::min(told.first, Less(range_end.most, count.most));
  const bool whole =
      told.count >= count.most && told.last <= end && told.last >= first + (count.most - 1);
  drop->set_first_sequence(first);
  drop->set_last_sequence(std::max(first, whole ? told.last : end));
}

// Such a side touches the link no more; of one that is lost or evicted nobody knows.
bool HasLetGo(const LinkSide& side) {
  return side.left == SideEvent::kClosed || side.left == SideEvent::kCorrupt ||
         side.left == SideEvent::kDied;
}

// What one that has left said while it was there is not its last word, unless it called it that.
bool IsKnown(const LinkSide& side, bool answered) {
  return side.counted || (answered && side.left == SideEvent::kAttached);
}

// All that is known of a link.
struct Facts {
  bool publisher_left = false;    // nothing is published any more
  bool subscriber_left = false;   // nothing is delivered any more, so nothing is in flight
  bool publisher_known = false;   // it answered both times, or has told its last counters
  bool subscriber_known = false;  // the same
  bool still = true;              // nothing moved in the ring between the looks
  Amount published;               // by counters
  Amount delivered;
  Amount full;
  Amount overwritten;
  bool ring_known = false;
  Amount entered;  // by the ring
  Amount read;
  Amount ring_dropped;
  Amount ring_overwritten;
  Amount in_ring;
  std::string trouble;  // of the ring
  Told full_told;
  Told overwritten_told;
};

Facts Gather(const Link& link, const LinkLook& first, const LinkLook& second) {
  const v1::LinkCounters& was = first.counters;
  const v1::LinkCounters& is = second.counters;
  Facts facts;
  facts.publisher_left = HasLetGo(link.publisher);
  facts.subscriber_left = HasLetGo(link.subscriber);
  facts.publisher_known =
      IsKnown(link.publisher, was.publisher_answered() && is.publisher_answered());
  facts.subscriber_known =
      IsKnown(link.subscriber, was.subscriber_answered() && is.subscriber_answered());
  facts.published = Between(was.published(), is.published());
  facts.delivered = Between(was.delivered(), is.delivered());
  facts.full = Between(was.dropped_full(), is.dropped_full());
  facts.overwritten = Between(was.overwritten(), is.overwritten());
  facts.full_told = {is.dropped_full(), is.first_dropped_full(), is.last_dropped_full()};
  facts.overwritten_told = {is.overwritten(), is.first_overwritten(), is.last_overwritten()};
  const RingReading& before = first.ring;
  const RingReading& now = second.ring;
  facts.ring_known = before.sound() && now.sound();
  facts.trouble = now.sound() ? before.trouble : now.trouble;
  facts.still = before == now && now.still;
  if (facts.ring_known) {
    facts.entered = Between(before.published_least, now.published_most);
    facts.read = Between(before.read, now.read);
    facts.ring_dropped = Between(before.dropped, now.dropped);
    facts.ring_overwritten = Between(before.overwritten_least, now.overwritten_most);
    facts.in_ring = facts.still ? Between(now.in_ring, now.in_ring)
                                : Minus(Minus(facts.entered, facts.read), facts.ring_overwritten);
  }
  return facts;
}

// Of a side that said nothing the ring knows more than its last word.
bool Complete(Facts* facts) {
  if (!facts->ring_known) return false;
  const bool recounted = !facts->publisher_known;
  if (recounted) {
    facts->full = Between(std::max(facts->full.least, facts->ring_dropped.least),
                          std::max(facts->full.most, facts->ring_dropped.most));
    const Amount by_ring = Plus(facts->entered, facts->full);
    // Died: what is in the ring is all that there is. Silent: it may have more in hand.
    const uint64_t in_hand = facts->publisher_left ? 0 : ringbuf::kBatchRecords;
    facts->published = Between(std::max(facts->published.least, by_ring.least),
                               Sum(std::max(facts->published.most, by_ring.most), in_hand));
  }
  if (!facts->subscriber_known) {
    const Amount& gone = facts->ring_overwritten;
    facts->delivered = Between(std::max(facts->delivered.least, facts->read.least),
                               std::max(facts->delivered.most, facts->read.most));
    facts->overwritten = Between(std::max(facts->overwritten.least, gone.least),
                                 std::max(facts->overwritten.most, gone.most));
  }
  return recounted;
}

// What does not add up although nothing moved; empty if all does.
std::string WrongIn(const Facts& facts) {
  const uint64_t published = facts.published.most;
  const uint64_t delivered = facts.delivered.most;
  const uint64_t dropped = Sum(facts.full.most, facts.overwritten.most);
  const bool both = facts.publisher_known && facts.subscriber_known;
  if (both && Sum(delivered, dropped) > published) {
    return fmt::format("{} were delivered and {} dropped, but only {} published", delivered,
                       dropped, published);
  }
  if (!facts.ring_known) return "";
  if (facts.publisher_known) {
    // It tells the ring and counts, one after the other.
    const uint64_t in_hand = facts.publisher_left ? 0 : 1;
    if (Sum(facts.full.most, in_hand) < facts.ring_dropped.most ||
        Sum(facts.ring_dropped.most, in_hand) < facts.full.most) {
      return fmt::format("the publisher counted {} without room, the ring says {}", facts.full.most,
                         facts.ring_dropped.most);
    }
    // What is committed and not flushed as yet is not in the ring.
    const uint64_t staged = facts.publisher_left ? 0 : ringbuf::kBatchRecords - 1;
    const uint64_t wrote = Less(published, facts.full.most);
    if (facts.entered.least > wrote || Sum(facts.entered.most, staged) < wrote) {
      return fmt::format("the publisher counted {} into the ring, the ring holds {}", wrote,
                         facts.entered.most);
    }
  }
  if (!facts.entered.exact() && both) {
    return fmt::format("the ring's head says that {} were published, its tail {}",
                       facts.entered.least, facts.entered.most);
  }
  // It tells the ring and counts, one after the other.
  const uint64_t in_hand = facts.subscriber_left ? 0 : 1;
  if (facts.subscriber_known &&
      (Sum(delivered, in_hand) < facts.read.most || delivered > facts.read.most)) {
    return fmt::format("the subscriber counted {} delivered, the ring says {}", delivered,
                       facts.read.most);
  }
  return "";
}

v1::Drop::Reason LeftoverReason(const Link& link) {
  if (link.progress.quarantined) return v1::Drop::CORRUPT;
  return link.subscriber.left == SideEvent::kClosed ? v1::Drop::SUBSCRIBER_CLOSED
                                                    : v1::Drop::SUBSCRIBER_DIED;
}

void WriteAccounts(const Link& link, const Facts& facts, v1::LinkAudit* audit) {
  const bool over = facts.subscriber_left;
  v1::Account* counters = audit->mutable_counters();
  Write(facts.published, counters->mutable_published());
  Write(facts.delivered, counters->mutable_delivered());
  AddDrop(v1::Drop::FULL, facts.full, facts.published, facts.full_told, counters);
  AddDrop(v1::Drop::OVERWRITTEN, facts.overwritten, facts.published, facts.overwritten_told,
          counters);
  const Amount rest =
      Minus(Minus(Minus(facts.published, facts.delivered), facts.full), facts.overwritten);
  Write(over ? Amount{} : rest, counters->mutable_in_flight());
  if (over) {
    AddDrop(LeftoverReason(link), rest, facts.published, {.first = facts.delivered.least},
            counters);
  }
  if (!facts.ring_known) return;
  v1::Account* ring = audit->mutable_ring();
  const Amount handed = Plus(facts.entered, facts.ring_dropped);
  Write(handed, ring->mutable_published());
  Write(facts.read, ring->mutable_delivered());
  AddDrop(v1::Drop::FULL, facts.ring_dropped, handed, facts.full_told, ring);
  AddDrop(v1::Drop::OVERWRITTEN, facts.ring_overwritten, handed, facts.overwritten_told, ring);
  Write(over ? Amount{} : facts.in_ring, ring->mutable_in_flight());
  if (over) {
    AddDrop(LeftoverReason(link), facts.in_ring, handed, {.first = facts.read.least}, ring);
  }
}

}  // namespace

v1::LinkAudit AuditOf(const Link& link, const std::string& realm, const LinkLook& first,
                      const LinkLook& second) {
  v1::LinkAudit audit;
  *audit.mutable_link() = DescribeLink(link, realm);
  *audit.mutable_link()->mutable_counters() = second.counters;
  Facts facts = Gather(link, first, second);
  // A publisher that is lost may write on, but nobody reads it.
  const bool ended = facts.subscriber_left && link.publisher.left != SideEvent::kAttached;
  audit.set_ended(ended);
  const bool recounted = Complete(&facts);
  audit.set_published_recounted(recounted && facts.publisher_left);
  WriteAccounts(link, facts, &audit);
  const bool quiescent = facts.still && first.counters.published() == second.counters.published() &&
                         first.counters.delivered() == second.counters.delivered() &&
                         first.counters.dropped_full() == second.counters.dropped_full() &&
                         first.counters.overwritten() == second.counters.overwritten();
  const bool known = facts.ring_known || (facts.publisher_known && facts.subscriber_known);
  const bool exact = known && facts.published.exact() && facts.delivered.exact();
  audit.set_verdict(quiescent && exact ? v1::LinkAudit::EXACT : v1::LinkAudit::BOUNDS);
  if (!quiescent) {
    audit.set_detail("messages passed between two readings");
  } else if (const std::string wrong = WrongIn(facts); !wrong.empty()) {
    audit.set_verdict(v1::LinkAudit::WRONG);
    audit.set_detail(wrong);
  } else if (!exact) {
    const bool neither = !facts.publisher_known && !facts.subscriber_known;
    audit.set_detail(fmt::format("{} {}",
                                 neither                  ? "each side"
                                 : facts.subscriber_known ? "the publisher"
                                                          : "the subscriber",
                                 ended ? "did not tell its last figures" : "does not answer"));
  }
  if (!facts.trouble.empty()) {
    // A quarantined link is known to hold nonsense, and accounted for.
    if (!link.progress.quarantined) audit.set_verdict(v1::LinkAudit::WRONG);
    audit.set_detail("the ring holds nonsense: " + facts.trouble);
  }
  return audit;
}

}  // namespace ivmq::control
