#ifndef IVMQ_SDK_PUBSUB_PUBLISHER_IMPL_H_
#define IVMQ_SDK_PUBSUB_PUBLISHER_IMPL_H_

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/publisher.h"
#include "sdk/node/endpoint.h"
#include "sdk/pubsub/message_history.h"
#include "sdk/pubsub/outbound_link.h"
#include "transport/link_counters.h"
#include "transport/link_writer.h"
#include "transport/message_extension.h"
#include "transport/waiter.h"

namespace ivmq::internal {

class NodeImpl;

// Behind BytesPublisher: the writers of all links of one topic. The calls of BytesPublisher come
// from one thread at a time, those of Endpoint from the session's.
class PublisherImpl final : public Endpoint {
 public:
  // Checks what is given, makes one and registers it. INVALID_ARGUMENT, and what control says.
  static Result<std::unique_ptr<PublisherImpl>> Create(const std::shared_ptr<NodeImpl>& node,
                                                       std::string_view topic,
                                                       std::string_view type_name,
                                                       const PublisherOptions& options);
  ~PublisherImpl() override;

  // As BytesPublisher's.
  Result<Published> Write(std::span<const std::byte> message, bool flush);
  Result<Published> WriteInPlace(size_t bytes, const BytesPublisher::Fill& fill, bool flush);
  Result<Published> WriteNoted(std::span<const std::byte> message, const PublishOptions& options,
                               bool flush);
  Result<Published> WriteNotedInPlace(size_t bytes, const BytesPublisher::Fill& fill,
                                      const PublishOptions& options, bool flush);
  void Flush();
  Status Drain(std::chrono::nanoseconds timeout);
  Status WaitForSubscribers(uint32_t count, std::chrono::nanoseconds timeout);
  uint32_t subscribers() const;
  size_t max_message_bytes() const { return max_message_bytes_; }
  const std::string& topic() const { return topic_; }
  PublisherCounters counters() const;
  std::vector<PublisherLink> links() const;
  void Close();

  // What its registration says.
  const v1::Qos& offer() const { return offer_; }

  void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) override;
  bool OnLinkReady(uint64_t link_id) override;
  bool OnLinkDown(const v1::LinkDown& down) override;
  bool OnLinkSuspect(const v1::LinkSuspect& suspect) override;
  void OnLinkRefused(const v1::LinkRefused& refused) override;
  void AddCounters(v1::Counters* counters) override;
  void AddLeft(std::vector<uint64_t>* link_ids) const override;
  void OnDisconnected() override;

 private:
  using Link = OutboundLink;
  static constexpr uint64_t kNamedLeftBehind = 8;
  // Up to here a message that is to be seen at once, and finds room, is built apart and copied. In
  // place it would be written piece by piece into the very line that its reader keeps looking at,
  // and waited for again after each look.
  static constexpr size_t kBuiltApart = 512;
  static constexpr size_t kAlignedTo = 64;

  // Checks the options and makes one that is not registered yet. INVALID_ARGUMENT.
  static Result<std::unique_ptr<PublisherImpl>> Make(std::shared_ptr<NodeImpl> node,
                                                     std::string_view topic,
                                                     const PublisherOptions& options);
  PublisherImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                const PublisherOptions& options, v1::Qos offer,
                std::unique_ptr<transport::Waiter> waiter);

  void Apply() override;
  void WakeCaller() override;
  // With mutex_ held.
  Link* Find(uint64_t link_id);
  void TellOf(Event::Kind kind, const Link& link, std::string detail);
  void LeaveAll();
  void Introduce(Link* link);
  void TellClosed(const Link& link);
  void Retire(const Link& link);
  static std::string UntakenText(const Link& link);
  void LeaveBehind(const Link& link, uint64_t untaken);
  void CountLinks();

  // Inside a call:
  bool Admits(const Call& call, size_t bytes) const {
    return call.entered() && ended_ == EndReason::kNotEnded && bytes <= max_message_bytes();
  }
  // Why it does not.
  Status RefusedStatus(const Call& call, size_t bytes) const;
  Status AbandonedStatus() const;
  // Room for a record of that size on every reliable link, or FULL, or CLOSED.
  Status WaitForRoom(size_t bytes);
  // Null if all reliable links have it. Takes links out whose other side wrote nonsense.
  Link* FirstWithoutRoom(size_t bytes);
  Status FullStatus(size_t bytes);
  void Quarantine(size_t index);
  Status PrepareToWait();
  // The first link whose subscriber has not taken all; null: none.
  Link* FirstLagging();
  // What the subscribers that left since the last call had not taken.
  Status TakeLeftBehind();
  // Ends the text about a message that is too large.
  std::string HowMoreText() const;
  Status UndrainedStatus(std::chrono::nanoseconds timeout);
  // The extension of the next message, at the beginning of scratch_. Bytes of it.
  Result<size_t> BuildNotes(size_t message_bytes, const PublishOptions& options);
  std::optional<transport::PublishTime> PublishTimeNow();
  // Writes to every link and keeps it for latecomers.
  Result<Published> WriteRecord(std::span<const std::byte> record, uint8_t flags, bool flush);
  // The same with room secured beforehand: on all links or on none.
  Result<Published> WriteToAll(std::span<const std::byte> record, uint8_t flags, bool flush);
  // To all of them; how many that is now.
  uint32_t WriteToReliable(std::span<const std::byte> record, uint8_t flags);
  // What has been done when `written` links have it already.
  Published OfferToLossy(std::span<const std::byte> record, uint8_t flags, uint32_t written);
  Published Finish(Published published, bool flush);
  // To the only link, which BuildsInPlace().
  Published WrittenToOne(transport::LinkWriter* writer, bool flush);
  // Where there is more than one link, or no room, or a history.
  Result<Published> WriteInPlaceSlowly(size_t bytes, const BytesPublisher::Fill& fill, bool flush);
  void FlushAll();
  // Whether a message can be built where it will be read.
  bool BuildsInPlace() const {
    return links_.size() == 1 && reliable_links_ == 1 && !history_.keeps();
  }

  // Constant after construction.
  const std::shared_ptr<NodeImpl> node_;
  const std::string topic_;
  const v1::Qos offer_;
  const size_t max_message_bytes_;
  const std::chrono::nanoseconds patience_;
  const bool timestamps_;
  const bool waits_for_room_;

  // Whoever the gate admits; changed with mutex_ held, so under mutex_ anyone may look.
  std::unique_ptr<transport::Waiter> waiter_;  // null: has never had to wait
  std::vector<std::unique_ptr<Link>> links_;   // the reliable ones first
  size_t reliable_links_ = 0;
  MessageHistory history_;
  std::vector<std::byte> scratch_;  // a message that is built once for several links
  // A short message for one link. Ours alone: what a fill leaves out must not be another's.
  alignas(kAlignedTo) std::array<std::byte, kBuiltApart> small_{};
  std::vector<std::byte> telling_scratch_;  // the same with what was dropped before it
  EndReason ended_ = EndReason::kNotEnded;

  // Guarded by mutex_.
  std::vector<std::unique_ptr<Link>> added_;
  std::string last_refusal_;
  std::condition_variable links_changed_;
  uint64_t retired_doorbells_ = 0;
  uint64_t retired_dropped_ = 0;
  uint64_t retired_overwritten_ = 0;
  uint64_t retired_untaken_ = 0;
  // Which subscribers left messages behind since the last Drain; the first of them are named.
  std::string left_behind_;
  uint64_t left_behind_count_ = 0;
  uint32_t linked_ = 0;
  EndReason ended_for_all_ = EndReason::kNotEnded;  // ended_, for those outside the gate

  // Written inside calls.
  transport::Counter messages_;
  transport::Counter written_;
  transport::Counter full_;
  transport::Counter corrupt_links_;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBSUB_PUBLISHER_IMPL_H_
