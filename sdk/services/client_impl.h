#ifndef IVMQ_SDK_SERVICES_CLIENT_IMPL_H_
#define IVMQ_SDK_SERVICES_CLIENT_IMPL_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/client.h"
#include "sdk/node/endpoint.h"
#include "sdk/services/crew.h"
#include "sdk/services/request_wire.h"
#include "sdk/services/stand_in.h"
#include "transport/link_counters.h"
#include "transport/link_poller.h"
#include "transport/link_writer.h"

namespace ivmq::internal {

class NodeImpl;

// Behind BytesClient: the pairs of links to all servers of one service, and the open requests.
//
// Everything is guarded by mutex_, which is held for no longer than a copy of one message takes;
// Endpoint's gate is not used. Waiting is the crew's: whoever waits reads the replies of all; while
// nobody does and callbacks are due, the stand-in does.
class ClientImpl final : public Endpoint,
                         private Crew::Work,
                         private StandIn::Duty,
                         public std::enable_shared_from_this<ClientImpl> {
 public:
  using Clock = std::chrono::steady_clock;
  using Fill = BytesClient::Fill;
  using Take = BytesClient::Take;
  using Callback = BytesClient::Callback;

  // Checks what is given, makes one and registers it, in `timeout` at most. INVALID_ARGUMENT, and
  // what control says.
  static Result<std::shared_ptr<ClientImpl>> Create(
      const std::shared_ptr<NodeImpl>& node, std::string_view service, std::string_view query_type,
      std::string_view reply_type, const ClientOptions& options, std::chrono::nanoseconds timeout);
  ~ClientImpl() override;

  // As BytesClient's.
  Status Call(size_t bytes, const Fill& fill, std::chrono::nanoseconds timeout, const Take& take);
  Result<uint64_t> CallAsync(size_t bytes, const Fill& fill, std::chrono::nanoseconds timeout,
                             Callback callback);
  Result<uint64_t> CallStream(size_t bytes, const Fill& fill, std::chrono::nanoseconds timeout);
  Result<bool> NextOfStream(uint64_t id, std::chrono::nanoseconds timeout, const Take& take);
  void EndStream(uint64_t id);
  void Cancel(uint64_t id);
  Status WaitForServers(uint32_t count, std::chrono::nanoseconds timeout);
  uint32_t servers() const;
  size_t max_query_bytes() const { return ring_bytes_ / 8 - kRequestHeadBytes; }
  size_t ring_bytes() const { return ring_bytes_; }
  const std::string& service() const { return service_; }
  ClientCounters counters() const;
  void Close();

  void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) override;
  bool OnLinkReady(uint64_t link_id) override;
  bool OnLinkDown(const v1::LinkDown& down) override;
  bool OnLinkSuspect(const v1::LinkSuspect& suspect) override;
  void OnLinkRefused(const v1::LinkRefused& refused) override;
  void AddCounters(v1::Counters* counters) override;
  void AddLeft(std::vector<uint64_t>* link_ids) const override;
  void OnDisconnected() override {}
  // Gives up the requests with a callback that are past their deadline.
  Clock::time_point OnTimer(Clock::time_point now) override;

 private:
  struct Server {
    uint64_t request_link = 0;
    uint64_t reply_link = 0;
    std::unique_ptr<transport::LinkWriter> writer;  // null until its link is up
    transport::LinkReader* reader = nullptr;        // the poller's; null until its link is up
    std::string node;
    uint64_t node_id = 0;
    uint32_t peer = 0;
    uint32_t open = 0;
    bool matched = false;  // told
    bool leaving = false;
    std::deque<RequestHead> controls;  // that found no room: cancels and credits
    bool usable() const { return writer != nullptr && reader != nullptr && !leaving; }
  };
  // An open request. Stays in its slot and is used again, buffers and all.
  struct Request {
    enum class Kind : uint8_t { kCall, kAsync, kStream };
    enum class State : uint8_t { kFree, kQueued, kSent, kDone };
    uint64_t id = 0;
    Kind kind = Kind::kCall;
    State state = State::kFree;
    Server* server = nullptr;  // while kSent
    Clock::time_point deadline;
    std::vector<std::byte> record;  // while kQueued: what is to be sent
    std::vector<std::byte> reply;
    Status status;  // when kDone
    Callback callback;
    std::deque<std::vector<std::byte>> stream;  // came and was not asked for yet
    int64_t window_messages = 0;                // what the server may still write
    int64_t window_bytes = 0;
    Credit taken;  // since the last credit
    Crew::Member member;
  };

  // Checks the options and makes one that is not registered yet. INVALID_ARGUMENT.
  static Result<std::shared_ptr<ClientImpl>> Make(std::shared_ptr<NodeImpl> node,
                                                  std::string_view service,
                                                  const ClientOptions& options);
  ClientImpl(std::shared_ptr<NodeImpl> node, std::string_view service, const ClientOptions& options,
             std::unique_ptr<transport::Waiter> waiter);

  // A record with room for its head, filled.
  Status Build(size_t bytes, const Fill& fill, std::vector<std::byte>* record) const;

  // With mutex_ held, all below.
  Result<Request*> Begin(Request::Kind kind, std::chrono::nanoseconds timeout,
                         std::vector<std::byte>* record);
  Request* TakeSlot();
  void FreeSlot(Request* request);
  Request* Find(uint64_t id);
  // False: no server has room.
  bool TrySend(Request* request, std::vector<std::byte>* record);
  Server* Pick(size_t record_bytes);
  bool SendQueued();
  void LeaveCorrupt();
  void SendControl(Server* server, const RequestHead& head);
  void Finish(Request* request, Status status);
  // Ends it before its time; the server is told.
  void GiveUp(Request* request, Status status);
  void FailQueued(const Status& status);
  Status UnavailableStatus() const;
  Status ClosedStatus() const;
  Status LateStatus(const Request& request) const;

  bool HasWork(transport::Look look) override;
  bool DoWork() override;
  bool ReadReply();
  // False: nonsense.
  bool OnReply(Server* server, const ReplyHead& head, std::span<const std::byte> body);
  bool OnPiece(Request* request, std::span<const std::byte> body);
  void OnLast(Request* request, const ReplyHead& head, std::span<const std::byte> body);

  // Reads what is left, fails what is open, lets go of both links. `detail` if they hold nonsense.
  void Leave(Server* server, const Status& why, const std::string* detail);
  void TellLeft(const Server& server, const std::string* detail);
  void TellOf(Event::Kind kind, const Server& server, std::string detail);
  void CountServers();
  void Apply() override;
  void WakeCaller() override { crew_.Notify(); }

  // StandIn::Duty
  std::shared_ptr<void> Hold() override { return weak_from_this().lock(); }
  StandIn::Next TakeTurn(std::unique_lock<std::mutex>* lock) override;
  bool HasTurn(transport::Look look) override;
  void OnExecutorFailed(const std::string& what) override { TellCallbackFailed(what); }

  // Without mutex_.
  Status StartStandIn();
  // Runs callbacks that are due, unless a thread is at it; gives the mutex up meanwhile.
  void CallBack(std::unique_lock<std::mutex>* lock);
  void CallBackOne(Request* request, std::unique_lock<std::mutex>* lock);
  void CountAsync(int more);
  static void Destroy(ClientImpl* client);

  // Constant after construction.
  const std::shared_ptr<NodeImpl> node_;
  const std::string service_;
  const size_t ring_bytes_;
  const uint32_t max_open_;
  const Executor executor_;

  std::mutex start_mutex_;
  std::unique_ptr<StandIn> stand_in_;  // set once, guarded by start_mutex_

  // All guarded by mutex_.
  Crew crew_;
  transport::LinkPoller poller_;
  std::vector<std::unique_ptr<Server>> servers_;
  size_t turn_ = 0;  // where the search for a server starts
  std::vector<std::unique_ptr<Request>> slots_;
  std::vector<Request*> free_;
  std::deque<Request*> queue_;  // found no room
  size_t controls_ = 0;         // of all servers
  uint32_t open_ = 0;
  EndReason ended_ = EndReason::kNotEnded;
  uint32_t linked_ = 0;
  std::condition_variable servers_changed_;
  std::string last_refusal_;
  ClientCounters counted_;

  // Of requests with a callback.
  uint32_t async_open_ = 0;  // not called back as yet
  std::deque<Request*> completed_;
  Clock::time_point async_deadline_ = Clock::time_point::max();  // none ends earlier
  bool calling_back_ = false;                                    // a thread is in CallBack()
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_CLIENT_IMPL_H_
