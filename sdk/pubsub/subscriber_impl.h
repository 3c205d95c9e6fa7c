#ifndef IVMQ_SDK_PUBSUB_SUBSCRIBER_IMPL_H_
#define IVMQ_SDK_PUBSUB_SUBSCRIBER_IMPL_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/subscriber.h"
#include "sdk/node/endpoint.h"
#include "sdk/pubsub/inbound_notes.h"
#include "sdk/threads/callback_thread.h"
#include "transport/link_counters.h"
#include "transport/link_poller.h"
#include "transport/link_reader.h"
#include "transport/waiter.h"

namespace ivmq::internal {

class NodeImpl;

// Behind BytesSubscriber: the readers of all links of one topic. The calls of BytesSubscriber come
// from one thread at a time (Interrupt from any), those of Endpoint from the session's.
class SubscriberImpl final : public Endpoint,
                             private CallbackThread::Source,
                             public std::enable_shared_from_this<SubscriberImpl> {
 public:
  // Checks what is given, makes one and registers it. INVALID_ARGUMENT, and what control says.
  static Result<std::shared_ptr<SubscriberImpl>> Create(const std::shared_ptr<NodeImpl>& node,
                                                        std::string_view topic,
                                                        std::string_view type_name,
                                                        const SubscriberOptions& options);
  ~SubscriberImpl() override;

  // Waits until the publishers of all links that came with the registration have attached or gone.
  // DEADLINE_EXCEEDED names those that have not; UNAVAILABLE: the daemon went away.
  Status WaitJoined(std::chrono::nanoseconds timeout);

  // Has messages given to options.on_message from now on, if there is one.
  Status StartCallbacks();

  // As BytesSubscriber's.
  Result<BytesMessage> Receive(std::chrono::nanoseconds timeout);
  Result<size_t> Poll(size_t limit, const BytesSubscriber::Handler& handler);
  // A message in place; no other call but ReturnBorrowed() may follow while it is out.
  Result<BytesMessage> Borrow(std::chrono::nanoseconds timeout);
  void ReturnBorrowed();
  int fd() override;
  void Interrupt();
  uint32_t publishers() const;
  const std::string& topic() const { return topic_; }
  SubscriberCounters counters() const;
  void CountUndecodable() { undecodable_.Add(1); }
  void Close();

  void OnAnswered() override;
  void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) override;
  bool OnLinkReady(uint64_t link_id) override;
  bool OnLinkDown(const v1::LinkDown& down) override;
  bool OnLinkSuspect(const v1::LinkSuspect& suspect) override;
  void OnLinkRefused(const v1::LinkRefused& refused) override;
  std::chrono::steady_clock::time_point OnTimer(std::chrono::steady_clock::time_point now) override;
  void AddCounters(v1::Counters* counters) override;
  void AddLeft(std::vector<uint64_t>* link_ids) const override;
  void OnDisconnected() override;

 private:
  // For deadlines; guarded by mutex_.
  struct Activity {
    uint64_t messages = 0;  // when last looked
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();
    bool silent = false;  // told
  };
  // What messages of a link refer to.
  struct Names {
    std::string topic;
    std::string type;
  };
  // One link as this side knows it; the reader's context.
  struct Link {
    uint64_t id = 0;
    std::unique_ptr<transport::LinkReader> added;  // until it is the poller's
    transport::LinkReader* reader = nullptr;
    std::shared_ptr<const Names> names;
    std::string_view topic;             // in names
    const std::string* type = nullptr;  // in names: of what is published
    std::string node;                   // at the other end
    uint32_t peer = 0;                  // its
    bool keeps_last = false;
    bool may_drop = false;  // as agreed
    size_t record_bytes_max = 0;
    uint64_t dropped = 0;  // that the publisher told of
    bool down = false;     // the other side is gone: read what is left, then let go
    // Of the answers to control; guarded by mutex_.
    uint64_t answered = 0;                              // messages when last asked
    std::chrono::steady_clock::time_point answered_at;  // when that was last another count
    Activity activity;
  };

  // Checks the options and makes one that is not registered yet. INVALID_ARGUMENT.
  static Result<std::shared_ptr<SubscriberImpl>> Make(std::shared_ptr<NodeImpl> node,
                                                      std::string_view topic,
                                                      const SubscriberOptions& options);
  SubscriberImpl(std::shared_ptr<NodeImpl> node, std::string_view topic,
                 const SubscriberOptions& options, std::unique_ptr<transport::Waiter> waiter);

  // CallbackThread::Source
  std::shared_ptr<void> Hold() override { return weak_from_this().lock(); }
  bool Run() override;
  void OnExecutorFailed(const std::string& what) override;
  void GiveToCallback(const BytesMessage& message);

  void Apply() override;
  void WakeCaller() override;
  // With mutex_ held and nobody else at the links.
  void LeaveAll();
  void LetGoOfDrained();
  Link* Find(uint64_t link_id);
  void TellOf(Event::Kind kind, const Link& link, std::string detail);
  // Whether it is silent now; tells it the first time.
  bool LookForSilence(std::chrono::steady_clock::time_point now, uint64_t messages, bool unread,
                      Activity* activity) const;
  void AddLink(std::unique_ptr<Link> link);
  // What control is to hear of a link that cannot be read; tells the application and counts it.
  v1::NodeRequest RefusalOf(const Link& link, const std::string& detail);
  void Detach(size_t index, const v1::NodeRequest& farewell);
  void KeepNamesOf(const Link& link);
  void CountLinks();
  static v1::LinkCounters CountersOf(const Link& link);
  bool StopJoining(uint64_t link_id);

  // Inside a call:
  // The next message of any link; the call takes no more after it. Looks again `looks` times.
  bool Next(BytesMessage* message, int looks);
  // Copies a record out and gives its room back. False: the link is quarantined.
  bool TakeRecord(transport::LinkReader* reader, const transport::RecordView& record,
                  BytesMessage* message);
  // The next record of the link that gave the last one; null: there is none.
  bool MoreOf(transport::LinkReader* reader, transport::RecordView* record);
  // The next one, waiting for it. `take`: Next() or NextInPlace().
  template <class Take>
  Status Await(std::chrono::nanoseconds timeout, const Take& take);
  Status Admit(const Call& call) const;
  // Of a subscriber with callbacks: its calls are the callback thread's.
  Status TakenStatus() const;
  Result<size_t> PollInside(size_t limit, const BytesSubscriber::Handler& handler);
  bool NextInPlace(BytesMessage* message, int looks);
  static Link* LinkOf(const transport::LinkReader& reader) {
    return static_cast<Link*>(reader.context());
  }
  bool NextRecord(transport::LinkReader** reader, transport::RecordView* record, int looks);
  // Says where a record comes from and takes its extension, which is read from `checked`, a private
  // copy of the record's beginning. False: the link is quarantined.
  bool Describe(transport::LinkReader* reader, const transport::RecordView& record,
                std::span<const std::byte> checked, BytesMessage* message);
  bool ReadNotes(Link* link, uint8_t flags, std::span<const std::byte> checked,
                 BytesMessage* message);
  // Lets go of links whose other side is gone, now and then. True: it did.
  bool MindDrained();
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
  const std::chrono::nanoseconds deadline_;  // 0: none
  const BytesSubscriber::Handler on_message_;
  const Executor executor_;

  // Whoever the gate admits; changed with mutex_ held, so under mutex_ anyone may look.
  transport::LinkPoller poller_;
  std::vector<std::unique_ptr<Link>> links_;
  size_t down_links_ = 0;
  EndReason ended_ = EndReason::kNotEnded;
  bool fd_in_use_ = false;

  // Whoever the gate admits. Of the message that was handed out last: its link, or, once that has
  // gone, what the message refers to.
  const Link* last_link_ = nullptr;
  std::shared_ptr<const Names> last_names_;

  // The calling thread's.
  std::vector<std::byte> buffer_;  // the message that was handed out last
  InboundNotes notes_;             // and what is said about it
  transport::LinkReader* borrowed_from_ = nullptr;
  std::unique_ptr<Call> borrowing_;  // the call that lasts until what it gave out is back
  uint32_t until_let_go_ = 0;        // messages until drained links are looked for again

  // Guarded by mutex_.
  std::vector<std::unique_ptr<Link>> added_;
  std::vector<uint64_t> downed_;
  bool collecting_ = true;                   // links that come now are waited for
  std::map<uint64_t, std::string> joining_;  // link to node, of publishers not attached yet
  bool disconnected_ = false;
  std::condition_variable joining_changed_;
  uint32_t linked_ = 0;
  bool ended_told_ = false;
  Activity activity_;  // of a subscriber without links

  // Written inside calls.
  transport::Counter messages_;
  transport::Counter undecodable_;
  transport::Counter dropped_full_;
  transport::Counter overwritten_;
  transport::Counter corrupt_links_;

  // Any thread.
  std::atomic<bool> interrupted_{false};
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBSUB_SUBSCRIBER_IMPL_H_
