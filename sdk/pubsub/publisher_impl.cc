// The data path of a publisher; its links' life is in publisher_links.cc.

#include "sdk/pubsub/publisher_impl.h"

#include <cstring>
#include <utility>

#include "ringbuf/ring_layout.h"
#include "sdk/node/convert.h"
#include "sdk/node/node_impl.h"
#include "sdk/threads/handler_scope.h"

namespace ivmq::internal {

using transport::Look;
using transport::WriteResult;

inline Published PublisherImpl::WrittenToOne(transport::LinkWriter* writer, bool flush) {
  messages_.Add(1);
  written_.Add(1);
  if (flush) writer->Flush();
  return Published{.links = 1};
}

Result<Published> PublisherImpl::Write(std::span<const std::byte> message, bool flush) {
  if (timestamps_) return WriteNoted(message, {}, flush);
  if (forked()) return ForkedStatus();
  const Call call(this);
  if (!Admits(call, message.size())) [[unlikely]]
    return RefusedStatus(call, message.size());
  return WriteRecord(message, 0, flush);
}

Result<Published> PublisherImpl::WriteRecord(std::span<const std::byte> record, uint8_t flags,
                                             bool flush) {
  // Written to one link or not at all: no need to look for room beforehand.
  if (BuildsInPlace()) [[likely]] {
    transport::LinkWriter& writer = links_.front()->writer;
    if (writer.TryWrite(record, flags) == WriteResult::kOk) [[likely]]
      return WrittenToOne(&writer, flush);
  }
  return WriteToAll(record, flags, flush);
}

Result<Published> PublisherImpl::WriteToAll(std::span<const std::byte> record, uint8_t flags,
                                            bool flush) {
  if (FirstWithoutRoom(record.size()) != nullptr) [[unlikely]] {
    if (Status status = WaitForRoom(record.size()); !status.ok()) return status;
  }
  Published published{.links = WriteToReliable(record, flags)};
  if (reliable_links_ < links_.size()) published = OfferToLossy(record, flags, published.links);
  if (history_.keeps()) history_.Push(record, flags);
  return Finish(published, flush);
}

Result<Published> PublisherImpl::WriteInPlace(size_t bytes, const BytesPublisher::Fill& fill,
                                              bool flush) {
  if (timestamps_) return WriteNotedInPlace(bytes, fill, {}, flush);
  if (forked()) return ForkedStatus();
  const Call call(this);
  if (!Admits(call, bytes)) [[unlikely]]
    return RefusedStatus(call, bytes);
  if (BuildsInPlace()) [[likely]] {
    transport::LinkWriter& writer = links_.front()->writer;
    if (flush && bytes <= kBuiltApart && writer.HasRoom(bytes)) {
      const std::span<std::byte> message(small_.data(), bytes);
      if (!fill(message)) return AbandonedStatus();
      return WriteRecord(message, 0, flush);
    }
    std::byte* payload = nullptr;
    if (writer.TryClaim(bytes, 0, &payload) == WriteResult::kOk) [[likely]] {
      // If `fill` throws or gives up, the claim has never been made.
      if (!fill({payload, bytes})) return AbandonedStatus();
      writer.Commit();
      return WrittenToOne(&writer, flush);
    }
  }
  return WriteInPlaceSlowly(bytes, fill, flush);
}

Result<Published> PublisherImpl::WriteInPlaceSlowly(size_t bytes, const BytesPublisher::Fill& fill,
                                                    bool flush) {
  if (FirstWithoutRoom(bytes) != nullptr) [[unlikely]] {
    if (Status status = WaitForRoom(bytes); !status.ok()) return status;
  }
  if (!BuildsInPlace()) {
    if (links_.empty() && !history_.keeps()) return Finish({}, flush);
    // Built apart from the region: a subscriber could change it between two copies.
    if (scratch_.empty()) scratch_.resize(max_message_bytes());
    const std::span<std::byte> message(scratch_.data(), bytes);
    if (!fill(message)) return AbandonedStatus();
    return WriteRecord(message, 0, flush);
  }
  std::byte* payload = nullptr;
  if (links_[0]->writer.TryClaim(bytes, 0, &payload) != WriteResult::kOk) [[unlikely]] {
    Quarantine(0);
    return Finish({}, flush);
  }
  if (!fill({payload, bytes})) return AbandonedStatus();
  links_[0]->writer.Commit();
  return WrittenToOne(&links_[0]->writer, flush);
}

Status PublisherImpl::RefusedStatus(const Call& call, size_t bytes) const {
  if (!call.entered()) return ReenteredStatus();
  if (ended_ != EndReason::kNotEnded) return EndedStatus(ended_, topic_);
  return {Code::kInvalidArgument, "a message of " + std::to_string(bytes) + " bytes on topic '" +
                                      topic_ + "': at most " + std::to_string(max_message_bytes()) +
                                      " are allowed" + HowMoreText()};
}

std::string PublisherImpl::HowMoreText() const {
  return max_message_bytes() < ringbuf::MaxMessage(ringbuf::kMaxCapacity)
             ? "; set PublisherOptions::max_message_bytes for more"
             : ", an eighth of the largest ring";
}

Status PublisherImpl::AbandonedStatus() const {
  return {Code::kAborted, "topic '" + topic_ + "': the message was given up while it was built"};
}

Status PublisherImpl::WaitForRoom(size_t bytes) {
  const bool may_wait = waits_for_room_ && !HandlerScope::Inside(node_.get());
  // Consumers may have caught up on what is staged and wait for it, while we wait for them.
  FlushAll();
  const auto deadline = DeadlineAfter(patience_);
  bool late = !may_wait;
  for (;;) {
    if (pending()) TakePending();
    if (ended_ != EndReason::kNotEnded) return EndedStatus(ended_, topic_);
    Link* const lacking = FirstWithoutRoom(bytes);
    if (lacking == nullptr) return {};
    if (late) {
      full_.Add(1);
      lacking->full.Add(1);
      return FullStatus(bytes);
    }
    const auto result = waiter_->Wait(deadline, [this, lacking, bytes](Look look) {
      if (pending()) return true;
      if (look != Look::kSpin) return lacking->writer.ArmSpace(bytes);
      return lacking->writer.HasRoom(bytes) || lacking->writer.corrupt();
    });
    // One more look: room on one link says nothing about the others.
    late =
        result == transport::WaitResult::kDeadline || std::chrono::steady_clock::now() >= deadline;
  }
}

PublisherImpl::Link* PublisherImpl::FirstWithoutRoom(size_t bytes) {
  for (size_t i = 0; i < reliable_links_;) {
    if (links_[i]->writer.HasRoom(bytes)) [[likely]] {
      ++i;
    } else if (links_[i]->writer.corrupt()) {
      Quarantine(i);
    } else {
      return links_[i].get();
    }
  }
  return nullptr;
}

Status PublisherImpl::FullStatus(size_t bytes) {
  Link* fullest = nullptr;
  double fullest_share = -1;
  uint64_t fullest_used = 0;
  for (size_t i = 0; i < reliable_links_; ++i) {
    Link* const link = links_[i].get();
    const uint64_t used = link->writer.BytesInFlight();
    const double share = static_cast<double>(used) / static_cast<double>(link->writer.capacity());
    if (share > fullest_share) {
      fullest = link;
      fullest_share = share;
      fullest_used = used;
    }
  }
  if (fullest == nullptr) return {Code::kFull, "topic '" + topic_ + "': no room"};
  std::string text = "topic '" + topic_ + "': no room for " + std::to_string(bytes) +
                     " bytes; fullest is the link to node '" + fullest->node + "' with " +
                     std::to_string(fullest_used) + " of " +
                     std::to_string(fullest->writer.capacity()) + " bytes in use";
  if (patience_.count() > 0) {
    text += HandlerScope::Inside(node_.get()) ? " (never waits inside a handler)"
                                              : " after " + DurationText(patience_);
  }
  return {Code::kFull, std::move(text)};
}

// Counts in a register. Published holds two words of half the size: built in memory word by word
// and then read as a whole, it would be waited for until the store buffer has drained, the record's
// own lines included.
uint32_t PublisherImpl::WriteToReliable(std::span<const std::byte> record, uint8_t flags) {
  uint32_t written = 0;
  while (written < reliable_links_) {
    if (links_[written]->writer.TryWrite(record, flags) == WriteResult::kOk) [[likely]] {
      ++written;
    } else {
      Quarantine(written);  // Room was there: only nonsense from the other side takes it away.
    }
  }
  return written;
}

Published PublisherImpl::OfferToLossy(std::span<const std::byte> record, uint8_t flags,
                                      uint32_t written) {
  Published published{.links = written};
  for (size_t i = reliable_links_; i < links_.size();) {
    switch (links_[i]->Offer(record, flags, telling_scratch_)) {
      case Link::Outcome::kWritten:
        ++published.links;
        break;
      case Link::Outcome::kDropped:
        ++published.dropped;
        break;
      case Link::Outcome::kCorrupt:
        Quarantine(i);  // and another has its place
        continue;
    }
    ++i;
  }
  return published;
}

Published PublisherImpl::Finish(Published published, bool flush) {
  messages_.Add(1);
  written_.Add(published.links);
  if (flush) FlushAll();
  return published;
}

void PublisherImpl::Flush() {
  if (forked()) return;
  const Call call(this);
  if (call.entered()) FlushAll();
}

void PublisherImpl::FlushAll() {
  for (auto& link : links_) link->writer.Flush();
}

}  // namespace ivmq::internal
