#ifndef IVMQ_SDK_SUBSCRIBER_IMPL_H_
#define IVMQ_SDK_SUBSCRIBER_IMPL_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/subscriber.h"
#include "sdk/endpoint.h"
#include "transport/link_counters.h"
#include "transport/link_poller.h"
#include "transport/link_reader.h"
#include "transport/waiter.h"

namespace ivmq::internal {

class NodeImpl;

// Behind BytesSubscriber: the readers of all links of one topic. The calls of BytesSubscriber come
// from one thread at a time (Interrupt from any), those of Endpoint from the session's.
class SubscriberImpl final : public Endpoint {
 public:
  // Checks the options and makes one that is not registered yet. INVALID_ARGUMENT.
  static Result<std::unique_ptr<SubscriberImpl>> Make(std::shared_ptr<NodeImpl> node,
                                                      std::string_view topic,
                                                      const SubscriberOptions& options);
  ~SubscriberImpl() override;

  // Waits until the publishers of all links that came with the registration have attached or gone.
  // DEADLINE_EXCEEDED names those that have not; UNAVAILABLE: the daemon went away.
  Status WaitJoined(std::chrono::nanoseconds timeout);

  // As BytesSubscriber's.
  Result<BytesMessage> Receive(std::chrono::nanoseconds timeout);
  Result<size_t> Poll(size_t limit, const BytesSubscriber::Handler& handler);
  int fd();
  void Interrupt();
  uint32_t publishers() const;
  const std::string& topic() const { return topic_; }
  SubscriberCounters counters() const;
  void CountUndecodable() { undecodable_.Add(1); }
  void Close();

  bool forked() const;

  void OnRegistered(uint64_t id) override;
  void OnAnswered() override;
  void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) override;
  bool OnLinkReady(uint64_t link_id) override;
  bool OnLinkDown(uint64_t link_id) override;
  void OnLinkRefused(const v1::LinkRefused&) override {}
  void AddCounters(v1::Counters* counters) override;
  void OnDisconnected() override;

 private:
  struct Link {
    uint64_t id = 0;
    transport::LinkReader* reader = nullptr;  // the poller's
    bool down = false;  // the other side is gone: read what is left, then let go
  };

  SubscriberImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                 std::unique_ptr<transport::Waiter> waiter);

  void Apply() override;
  void WakeCaller() override;
  // With mutex_ held and nobody else at the links.
  void LeaveAll();
  void LetGoOfDrained();
  void AddReader(std::unique_ptr<transport::LinkReader> reader);
  void Detach(size_t index, v1::NodeRequest* farewell);
  void CountLinks();
  static v1::LinkCounters CountersOf(const transport::LinkReader& reader);
  bool StopJoining(uint64_t link_id);

  // Inside a call:
  bool Next(BytesMessage* message);
  void Take(transport::LinkReader* reader, const transport::RecordView& record,
            BytesMessage* message);
  void OnNothingThere();
  void Quarantine(uint64_t link_id, const std::string& detail);
  bool TakeInterrupt();
  // Closed, and nothing is left to read.
  bool exhausted() const { return ended_ != EndReason::kNotEnded && links_.empty(); }
  bool HasWork(transport::Look look) { return pending() || poller_.HasWork(look); }
  void Rearm();

  // Constant after construction.
  const std::shared_ptr<NodeImpl> node_;
  const std::string topic_;
  const std::unique_ptr<transport::Waiter> waiter_;

  // Whoever the gate admits; changed with mutex_ held, so under mutex_ anyone may look.
  transport::LinkPoller poller_;
  std::vector<Link> links_;
  size_t down_links_ = 0;
  EndReason ended_ = EndReason::kNotEnded;
  bool fd_in_use_ = false;

  // The calling thread's.
  std::vector<std::byte> buffer_;  // the message that was handed out last
  uint32_t until_let_go_ = 0;      // messages until drained links are looked for again

  // Guarded by mutex_.
  uint64_t id_ = 0;
  std::vector<std::unique_ptr<transport::LinkReader>> added_;
  std::vector<uint64_t> downed_;
  bool collecting_ = true;                   // links that come now are waited for
  std::map<uint64_t, std::string> joining_;  // link to node, of publishers not attached yet
  bool disconnected_ = false;
  std::condition_variable joining_changed_;
  uint32_t linked_ = 0;
  bool ended_told_ = false;

  // Written inside calls.
  transport::Counter messages_;
  transport::Counter undecodable_;
  transport::Counter corrupt_links_;

  // Any thread.
  std::atomic<bool> interrupted_{false};
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SUBSCRIBER_IMPL_H_
