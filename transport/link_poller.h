#ifndef IVMQ_TRANSPORT_LINK_POLLER_H_
#define IVMQ_TRANSPORT_LINK_POLLER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/link_reader.h"
#include "transport/waiter.h"

namespace ivmq::transport {

// The links that one thread reads: polls busy ones directly and looks at idle ones only through
// their ready bytes, eight at a time, so that a thousand idle links cost next to nothing.
//
//   while (poller.Next(&reader, &record)) { use it; reader->Release(); }
//   waiter->Wait(deadline, [&](Look look) { return poller.HasWork(look); });
//
// Round robin, at most `burst` records from a link before it is the next one's turn. A link whose
// producer wrote nonsense is taken out of the round and reported by TakeCorrupt(); the others go
// on. One thread at a time. Owns the readers. Add(), Remove() and TakeCorrupt()
// allocate, the rest does not.
class LinkPoller {
 public:
  struct Options {
    uint32_t burst = 16;
    // How many looks in a row find a busy link empty before it counts as idle.
    uint32_t idle_after = 64;
  };
  struct CorruptLink {
    uint64_t link_id = 0;
    LinkReader* reader = nullptr;  // still owned by the poller, until Remove()
  };

  LinkPoller();
  explicit LinkPoller(Options options);
  ~LinkPoller();
  LinkPoller(const LinkPoller&) = delete;
  LinkPoller& operator=(const LinkPoller&) = delete;

  // Takes a link into the round. ALREADY_EXISTS if its id or its ready byte is there,
  // INVALID_ARGUMENT if it is on another device than the others; the reader stays the caller's
  // then.
  Status Add(std::unique_ptr<LinkReader>&& reader);
  // Takes it out and hands it back; null if unknown. Records that it holds stay borrowed from it.
  std::unique_ptr<LinkReader> Remove(uint64_t link_id);
  LinkReader* Find(uint64_t link_id);  // null if unknown
  size_t size() const { return links_.size(); }

  // The next record of any link: false if there is none now. The record is borrowed until
  // (*reader)->Release(), which is the caller's to call. Bounded work: each busy link is looked at
  // twice at most, and each ready byte once.
  bool Next(LinkReader** reader, RecordView* record);

  // The next record of the link that Next() gave one from last, while it is still its turn; costs
  // less than Next(). False: ask Next(), there may be one all the same.
  // REQUIRES: no link was added or removed since.
  [[nodiscard]] bool More(LinkReader* last, RecordView* record) {
    if (until_scan_ == 0 || taken_ >= options_.burst) return false;
    if (last->TryRead(record) != ReadResult::kOk) return false;
    ++taken_;
    --until_scan_;
    return true;
  }

  // For who looks again and again after Next() found nothing: the next record of the one busy link
  // there is, as soon as it comes, as far as that costs nothing else. False: look again, or Next().
  [[nodiscard]] bool Again(LinkReader** reader, RecordView* record) {
    if (hot_.size() != 1) return false;
    Link* const only = hot_.front();
    if (!More(only->reader.get(), record)) return false;
    only->empty_looks = 0;
    *reader = only->reader.get();
    return true;
  }

  // For a Waiter. True also while TakeCorrupt() has something to say.
  bool HasWork(Look look);
  // HasWork(Look::kSleep) the other way round. True: all links are armed and nothing is there, so
  // it is safe to sleep on the ready bytes.
  bool ArmAll() { return !HasWork(Look::kSleep); }

  // The links that turned out corrupt since the last call.
  std::vector<CorruptLink> TakeCorrupt();
  bool has_corrupt() const { return !corrupt_.empty(); }

 private:
  enum class State : uint8_t { kHot, kArmed, kCorrupt };
  struct Link {
    std::unique_ptr<LinkReader> reader;
    State state = State::kHot;
    uint32_t empty_looks = 0;
    size_t hot_index = 0;    // where it is in hot_, if kHot
    size_t word = SIZE_MAX;  // where its ready byte is in words_
  };
  using Links = std::vector<std::unique_ptr<Link>>;
  // Eight ready bytes that lie together: one load tells whether any armed link has work.
  struct Word {
    std::byte* place = nullptr;  // in the region, a multiple of 8
    uint64_t mask = 0;           // 0xff for each byte that belongs to an armed link of ours
    size_t links_begin = 0;      // whose bytes they are, in links_
    size_t links_end = 0;
  };

  Links::iterator Locate(uint64_t link_id);
  void LayWords();
  static uint64_t LoadReady(const Word& word);
  void MakeHot(Link* link);
  void LeaveHot(Link* link, State state);
  void Quarantine(Link* link);
  void Advance();
  // Makes every link hot whose ready byte is set.
  void CollectReady();
  bool AnyReady() const;
  bool TryHot(LinkReader** reader, RecordView* record);
  // Makes every busy link idle that has nothing to read.
  void ArmHot();
  // Makes every idle link hot whose ring has something to read, whatever its ready byte says.
  void PeekAll();

  const Options options_;
  Links links_;  // by their ready bytes
  std::vector<Word> words_;
  std::vector<Link*> hot_;            // room for all links, so that it never grows while polling
  std::vector<CorruptLink> corrupt_;  // room for all links
  size_t turn_ = 0;                   // whose turn it is in hot_
  uint32_t taken_ = 0;                // records in a row from that one
  uint32_t until_scan_ = 0;           // records until the ready bytes are looked at again
  uint32_t scans_ = 0;
  size_t peek_turn_ = 0;  // whose turn it is in links_ to be looked at while idle
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_LINK_POLLER_H_
