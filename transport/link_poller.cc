#include "transport/link_poller.h"

#include <algorithm>
#include <atomic>
#include <span>
#include <utility>

namespace ivmq::transport {
namespace {

// Between two looks at the ready bytes of idle links while others are busy.
constexpr uint32_t kRecordsPerScan = 64;
// Between two looks at the ring of one idle link while others are busy: its ready byte may have
// been wiped, and without sleeps there is no thorough look.
constexpr uint32_t kScansPerPeek = 16;

constexpr uint64_t kWordBytes = sizeof(uint64_t);

// Little-endian: the byte at offset 0 of a word is its lowest.
uint64_t ByteMask(uint64_t ready_offset) {
  return uint64_t{0xff} << (8 * (ready_offset % kWordBytes));
}

}  // namespace

LinkPoller::LinkPoller() : LinkPoller(Options()) {}
LinkPoller::LinkPoller(Options options) : options_(options) {}
LinkPoller::~LinkPoller() = default;

Status LinkPoller::Add(std::unique_ptr<LinkReader>&& reader) {
  const uint64_t link_id = reader->link_id();
  if (!links_.empty() && reader->device() != links_.front()->reader->device()) {
    return Status(Code::kInvalidArgument,
                  "link " + std::to_string(link_id) + " is on another device than the others");
  }
  for (const std::unique_ptr<Link>& link : links_) {
    if (link->reader->link_id() == link_id ||
        link->reader->ready_offset() == reader->ready_offset()) {
      return Status(Code::kAlreadyExists, "link " + std::to_string(link_id) +
                                              " has the id or the ready byte of link " +
                                              std::to_string(link->reader->link_id()));
    }
  }
  auto link = std::make_unique<Link>();
  link->reader = std::move(reader);
  // Ordered by their ready bytes, so that those of a word lie together.
  const auto place = std::upper_bound(
      links_.begin(), links_.end(), link->reader->ready_offset(),
      [](uint64_t offset, const auto& other) { return offset < other->reader->ready_offset(); });
  Link* added = links_.insert(place, std::move(link))->get();
  hot_.reserve(links_.size());
  corrupt_.reserve(links_.size());
  MakeHot(added);
  LayWords();
  return Status();
}

std::unique_ptr<LinkReader> LinkPoller::Remove(uint64_t link_id) {
  const auto place = Locate(link_id);
  if (place == links_.end()) return nullptr;
  const std::unique_ptr<Link> link = std::move(*place);
  if (link->state == State::kHot) LeaveHot(link.get(), State::kCorrupt);
  links_.erase(place);
  std::erase_if(corrupt_, [&](const CorruptLink& one) { return one.link_id == link_id; });
  peek_turn_ = 0;
  LayWords();
  return std::move(link->reader);
}

LinkReader* LinkPoller::Find(uint64_t link_id) {
  const auto place = Locate(link_id);
  return place == links_.end() ? nullptr : (*place)->reader.get();
}

LinkPoller::Links::iterator LinkPoller::Locate(uint64_t link_id) {
  return std::find_if(links_.begin(), links_.end(),
                      [&](const auto& link) { return link->reader->link_id() == link_id; });
}

// Cuts the ready bytes of all links into words. Only those of armed links count: the byte of a
// busy link is of no interest, and may stay set.
void LinkPoller::LayWords() {
  words_.clear();
  for (size_t i = 0; i < links_.size(); ++i) {
    Link* link = links_[i].get();
    const uint64_t offset = link->reader->ready_offset();
    const uint64_t word_offset = offset - offset % kWordBytes;
    // The region is whole pages, so an aligned word that starts in it ends in it.
    std::byte* place = link->reader->device()->region().data() + word_offset;
    if (words_.empty() || words_.back().place != place) words_.push_back({place, 0, i, i});
    Word& word = words_.back();
    word.links_end = i + 1;
    link->word = words_.size() - 1;
    if (link->state == State::kArmed) word.mask |= ByteMask(offset);
  }
}

uint64_t LinkPoller::LoadReady(const Word& word) {
  // seq_cst, as a look after BeginSleep(). Pairs with the stores in WakeTarget::Wake(), each to
  // one byte of this word: on x86-64 a load sees what a narrower store to its bytes made visible.
  const std::atomic_ref<uint64_t> bytes(*reinterpret_cast<uint64_t*>(word.place));
  return bytes.load(std::memory_order_seq_cst) & word.mask;
}

bool LinkPoller::Next(LinkReader** reader, RecordView* record) {
  if (until_scan_ > 0) {
    if (TryHot(reader, record)) {
      --until_scan_;
      return true;
    }
  }
  CollectReady();
  until_scan_ = kRecordsPerScan;
  return TryHot(reader, record);
}

bool LinkPoller::TryHot(LinkReader** reader, RecordView* record) {
  for (size_t left = hot_.size(); left > 0; --left) {
    if (taken_ >= options_.burst) Advance();
    Link* link = hot_[turn_];
    switch (link->reader->TryRead(record)) {
      case ReadResult::kOk:
        ++taken_;
        link->empty_looks = 0;
        *reader = link->reader.get();
        return true;
      case ReadResult::kCorrupt:
        Quarantine(link);  // and another has its place and turn
        break;
      case ReadResult::kEmpty:
        if (++link->empty_looks >= options_.idle_after && link->reader->Arm()) {
          LeaveHot(link, State::kArmed);
        } else {
          Advance();
        }
    }
  }
  return false;
}

void LinkPoller::Advance() {
  taken_ = 0;
  if (++turn_ >= hot_.size()) turn_ = 0;
}

bool LinkPoller::HasWork(Look look) {
  if (!corrupt_.empty()) return true;
  if (look == Look::kSpin) {
    for (const Link* link : hot_) {
      if (link->reader->Peek()) return true;
    }
    return AnyReady();
  }
  ArmHot();
  if (look == Look::kThorough) PeekAll();
  return !hot_.empty() || AnyReady();
}

void LinkPoller::ArmHot() {
  for (size_t i = hot_.size(); i-- > 0;) {  // backwards: LeaveHot() moves the last one up
    if (hot_[i]->reader->Arm()) LeaveHot(hot_[i], State::kArmed);
  }
}

void LinkPoller::PeekAll() {
  for (const std::unique_ptr<Link>& link : links_) {
    if (link->state == State::kArmed && link->reader->Peek()) MakeHot(link.get());
  }
}

bool LinkPoller::AnyReady() const {
  return std::any_of(words_.begin(), words_.end(),
                     [](const Word& word) { return LoadReady(word) != 0; });
}

void LinkPoller::CollectReady() {
  for (const Word& word : words_) {
    const uint64_t ready = LoadReady(word);
    if (ready == 0) [[likely]]
      continue;
    for (size_t i = word.links_begin; i < word.links_end; ++i) {
      Link* link = links_[i].get();
      if (link->state == State::kArmed && (ready & ByteMask(link->reader->ready_offset())) != 0) {
        MakeHot(link);
      }
    }
  }
  if (++scans_ % kScansPerPeek != 0 || links_.empty()) return;
  if (peek_turn_ >= links_.size()) peek_turn_ = 0;
  Link* link = links_[peek_turn_++].get();
  if (link->state == State::kArmed && link->reader->Peek()) MakeHot(link);
}

void LinkPoller::MakeHot(Link* link) {
  link->state = State::kHot;
  link->empty_looks = 0;
  link->hot_index = hot_.size();
  hot_.push_back(link);
  if (link->word < words_.size()) {
    words_[link->word].mask &= ~ByteMask(link->reader->ready_offset());
  }
}

void LinkPoller::LeaveHot(Link* link, State state) {
  const size_t index = link->hot_index;
  if (index == turn_) taken_ = 0;
  hot_[index] = hot_.back();
  hot_[index]->hot_index = index;
  hot_.pop_back();
  if (turn_ >= hot_.size()) turn_ = 0;
  link->state = state;
  if (state == State::kArmed) {
    words_[link->word].mask |= ByteMask(link->reader->ready_offset());
  }
}

void LinkPoller::Quarantine(Link* link) {
  LeaveHot(link, State::kCorrupt);
  corrupt_.push_back({link->reader->link_id(), link->reader.get()});
}

std::vector<LinkPoller::CorruptLink> LinkPoller::TakeCorrupt() {
  std::vector<CorruptLink> taken;
  taken.reserve(links_.size());
  taken.swap(corrupt_);  // so that corrupt_ keeps room for all links
  return taken;
}

}  // namespace ivmq::transport
