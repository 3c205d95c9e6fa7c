#ifndef IVMQ_SDK_PUBLISHER_IMPL_H_
#define IVMQ_SDK_PUBLISHER_IMPL_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/publisher.h"
#include "sdk/endpoint.h"
#include "transport/link_counters.h"
#include "transport/link_writer.h"
#include "transport/waiter.h"

namespace ivmq::internal {

class NodeImpl;

// Behind BytesPublisher: the writers of all links of one topic. The calls of BytesPublisher come
// from one thread at a time, those of Endpoint from the session's.
class PublisherImpl final : public Endpoint {
 public:
  // Checks the options and makes one that is not registered yet. INVALID_ARGUMENT.
  static Result<std::unique_ptr<PublisherImpl>> Make(std::shared_ptr<NodeImpl> node,
                                                     std::string_view topic,
                                                     const PublisherOptions& options);
  ~PublisherImpl() override;

  // As BytesPublisher's.
  Result<Published> Write(std::span<const std::byte> message, bool flush);
  Result<Published> WriteInPlace(size_t bytes, const BytesPublisher::Fill& fill, bool flush);
  void Flush();
  Status WaitForSubscribers(uint32_t count, std::chrono::nanoseconds timeout);
  uint32_t subscribers() const;
  size_t max_message_bytes() const { return ring_bytes_ / 8; }
  const std::string& topic() const { return topic_; }
  PublisherCounters counters() const;
  void Close();

  bool forked() const;
  // Data bytes of the smallest ring that a link of this publisher can have: a subscriber's wish
  // only makes it larger.
  size_t ring_bytes() const { return ring_bytes_; }

  void OnRegistered(uint64_t id) override;
  void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) override;
  bool OnLinkReady(uint64_t link_id) override;
  bool OnLinkDown(uint64_t link_id) override;
  void OnLinkRefused(const v1::LinkRefused& refused) override;
  void AddCounters(v1::Counters* counters) override;
  void OnDisconnected() override;

 private:
  struct Link {
    transport::LinkWriter writer;
    std::string node;         // at the other end
    transport::Counter full;  // publishes that found it without room
    bool down = false;        // guarded by mutex_: the other side is gone
  };

  PublisherImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                const PublisherOptions& options, std::unique_ptr<transport::Waiter> waiter);

  void Apply() override;
  void WakeCaller() override;
  // With mutex_ held.
  void LeaveAll();
  void TellClosed(const Link& link);
  v1::LinkCounters CountersOf(const Link& link) const;
  void Retire(const Link& link);
  void CountLinks();

  // Inside a call:
  Status Admit(const Call& call, size_t bytes) const;
  // Room for a message of that size on every link, or FULL, or CLOSED.
  Status SecureRoom(size_t bytes);
  Status WaitForRoom(size_t bytes);
  // Null if all have it. Takes links out whose other side wrote nonsense.
  Link* FirstWithoutRoom(size_t bytes);
  Status FullStatus(size_t bytes);
  void Quarantine(size_t index);
  Published WriteToAll(std::span<const std::byte> message);
  Published Finish(uint32_t links, bool flush);
  void FlushAll();

  // Constant after construction.
  const std::shared_ptr<NodeImpl> node_;
  const std::string topic_;
  const size_t ring_bytes_;
  const std::chrono::nanoseconds patience_;
  const std::unique_ptr<transport::Waiter> waiter_;  // null: never waits

  // Whoever the gate admits; changed with mutex_ held, so under mutex_ anyone may look.
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<std::byte> scratch_;  // a message that is built once for several links
  EndReason ended_ = EndReason::kNotEnded;

  // Guarded by mutex_.
  uint64_t id_ = 0;
  std::vector<std::unique_ptr<Link>> added_;
  std::string last_refusal_;
  std::condition_variable links_changed_;
  uint64_t retired_doorbells_ = 0;
  uint32_t linked_ = 0;
  EndReason ended_for_all_ = EndReason::kNotEnded;  // ended_, for those outside the gate

  // Written inside calls.
  transport::Counter messages_;
  transport::Counter written_;
  transport::Counter full_;
  transport::Counter corrupt_links_;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBLISHER_IMPL_H_
