#ifndef IVMQ_SDK_SERVICES_SERVER_IMPL_H_
#define IVMQ_SDK_SERVICES_SERVER_IMPL_H_

#include <atomic>
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

#include "ivmq/server.h"
#include "sdk/node/endpoint.h"
#include "sdk/services/crew.h"
#include "sdk/services/request_wire.h"
#include "sdk/services/stand_in.h"
#include "transport/link_poller.h"
#include "transport/link_writer.h"

namespace ivmq::internal {

class NodeImpl;
struct ServerClient;

// What a client's links say of it.
struct ServerClientNames {
  std::string node;
  std::string query_type;
};

// A request in the server's hands. Used again, buffers and all.
struct ServerJob {
  uint64_t id = 0;
  ServerClient* client = nullptr;  // null: gone
  std::shared_ptr<const ServerClientNames> from;
  std::chrono::steady_clock::time_point deadline;
  size_t reply_bytes_max = 0;
  std::vector<std::byte> query;   // the handler's while it runs
  std::vector<std::byte> record;  // the handler's while it runs: what it answers
  bool replied = false;           // the handler's while it runs
  Status failed_write;            // the handler's while it runs: its first one
  int64_t credit_messages = 0;
  int64_t credit_bytes = 0;
  bool blocked = false;  // waits in Write()
  Crew::Member member;
  std::atomic<bool> cancelled{false};  // written with the server's mutex held
};

// A client as its server sees it: a pair of links.
struct ServerClient {
  uint64_t request_link = 0;
  uint64_t reply_link = 0;
  transport::LinkReader* reader = nullptr;        // null until its link is up
  std::unique_ptr<transport::LinkReader> parked;  // the reader, while nothing is to be read
  std::unique_ptr<transport::LinkWriter> writer;  // null until its link is up
  std::shared_ptr<const ServerClientNames> names;
  std::deque<ServerJob*> waiting;
  size_t waiting_bytes = 0;
  uint32_t peer = 0;
  bool matched = false;  // told
  bool in_turns = false;
  std::vector<ServerJob*> running;
  std::deque<std::vector<std::byte>> outbox;  // replies that found no room
  size_t wanted_bytes = 0;                    // room that someone waits for; 0: nobody
  uint32_t blocked = 0;                       // of those running, in Write()
  bool leaving = false;
  bool usable() const { return writer != nullptr && reader != nullptr && !leaving; }
};

// Behind BytesServer: the pairs of links to all clients of one service, and their requests.
//
// Everything is guarded by mutex_, which is held for no longer than a copy of one message takes,
// never while the handler runs; Endpoint's gate is not used. Waiting is the crew's, or the
// stand-in's where the server serves by itself.
class ServerImpl final : public Endpoint,
                         private Crew::Work,
                         private StandIn::Duty,
                         public std::enable_shared_from_this<ServerImpl> {
 public:
  using Clock = std::chrono::steady_clock;
  using Job = ServerJob;
  using Client = ServerClient;

  // Checks what is given, makes one and registers it. INVALID_ARGUMENT, and what control says.
  static Result<std::shared_ptr<ServerImpl>> Create(
      const std::shared_ptr<NodeImpl>& node, std::string_view service, std::string_view query_type,
      std::string_view reply_type, BytesServer::Handler handler, const ServerOptions& options,
      bool serves_itself);
  ~ServerImpl() override;

  // Once registered: one that serves itself does so from now on.
  Status Start();

  // As BytesServer's.
  Status RunOnce(std::chrono::nanoseconds timeout);
  // `at_a_time`: how long one of its waits takes; it goes on with the next.
  Status Run(std::chrono::nanoseconds at_a_time = std::chrono::hours(24));
  void Interrupt();
  uint32_t clients() const;
  size_t ring_bytes() const { return ring_bytes_; }
  const std::string& service() const { return service_; }
  ServerCounters counters() const;
  void Close();

  // As BytesServerCall's.
  bool Cancelled(Job* job);
  Status Reply(Job* job, size_t bytes, const BytesServerCall::Fill& fill);
  Status Write(Job* job, size_t bytes, const BytesServerCall::Fill& fill);

  void OnLinkUp(const v1::LinkUp& link, transport::Doorbell doorbell) override;
  bool OnLinkReady(uint64_t link_id) override;
  bool OnLinkDown(const v1::LinkDown& down) override;
  bool OnLinkSuspect(const v1::LinkSuspect& suspect) override;
  void OnLinkRefused(const v1::LinkRefused& refused) override;
  void AddCounters(v1::Counters* counters) override;
  void AddLeft(std::vector<uint64_t>* link_ids) const override;
  void OnDisconnected() override {}

 private:
  // Checks the options and makes one that is not registered yet. INVALID_ARGUMENT.
  static Result<std::shared_ptr<ServerImpl>> Make(std::shared_ptr<NodeImpl> node,
                                                  std::string_view service,
                                                  BytesServer::Handler handler,
                                                  const ServerOptions& options, bool serves_itself);
  ServerImpl(std::shared_ptr<NodeImpl> node, std::string_view service, BytesServer::Handler handler,
             const ServerOptions& options, bool serves_itself,
             std::unique_ptr<transport::Waiter> waiter);

  // StandIn::Duty
  std::shared_ptr<void> Hold() override { return weak_from_this().lock(); }
  StandIn::Next TakeTurn(std::unique_lock<std::mutex>* lock) override;
  bool HasTurn(transport::Look look) override;
  // Never: it has no executor, only the handlers have.
  void OnExecutorFailed(const std::string& what) override { TellCallbackFailed(what); }

  // RunOnce(), and whether it was Interrupt() that made it say TIMEOUT.
  Status ServeOne(std::chrono::nanoseconds timeout, bool* interrupted);
  void Post(Job* job);
  void CountException(const std::string& what);
  // Runs the handler and answers.
  void Execute(Job* job);
  // As Execute() for a job that is not to run any more, or was never begun.
  void Drop(Job* job);
  bool Begin(Job* job);
  Status Serve(Job* job);
  Status WritePiece(Job* job, size_t bytes, const BytesServerCall::Fill& fill);
  Status Build(Job* job, size_t bytes, const BytesServerCall::Fill& fill, ReplyHead::Kind kind);

  // With mutex_ held, all below.
  bool MayBegin() const { return ended_ == EndReason::kNotEnded && posted_ < max_concurrent_; }
  // One that was posted.
  void OnOver();
  Job* TakeJob();
  void FreeJob(Job* job);
  // The next request to be served, or null. Reads ahead, so that what was cancelled is not begun.
  Job* NextJob();
  void Answer(Job* job, const Status& returned);
  void Send(Client* client, std::span<const std::byte> record);
  void SendFailure(Client* client, uint64_t id, const Status& status);
  bool TryWritePiece(Job* job);

  bool HasWork(transport::Look look) override;
  bool DoWork() override;
  bool ReadOne();
  void OnRequest(Client* client, const RequestHead& head, std::span<const std::byte> body);
  void OnCancel(Client* client, uint64_t id);
  void OnCredit(Client* client, const RequestHead& head);
  bool UseRoom();
  void WantRoom(Client* client, size_t bytes);
  // Whether its requests are to be read, and to be served: brings both up to date. Leaves a client
  // whose link cannot be read beside the others.
  void Settle(Client* client);

  void Leave(Client* client, const std::string* detail);
  void TellOf(Event::Kind kind, const Client& client, std::string detail);
  void DropRequestsOf(Client* client);
  void Apply() override;
  void WakeCaller() override { crew_.Notify(); }
  Status ClosedStatus() const;
  static void Destroy(ServerImpl* server);

  // Constant after construction.
  const std::shared_ptr<NodeImpl> node_;
  const std::string service_;
  const BytesServer::Handler handler_;
  const Executor executor_;
  const size_t ring_bytes_;
  const uint32_t max_concurrent_;
  const std::chrono::nanoseconds write_timeout_;
  const bool serves_itself_;

  std::unique_ptr<StandIn> stand_in_;  // written by Start(), before the application has the server

  // All guarded by mutex_.
  Crew crew_;
  transport::LinkPoller poller_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> departed_;  // the one that Leave() took out last
  std::deque<Client*> turns_;  // whose requests wait, in the order in which they are served
  size_t wanting_ = 0;         // clients with wanted_bytes
  std::vector<std::unique_ptr<Job>> jobs_;
  std::vector<Job*> free_;
  uint32_t posted_ = 0;   // given to the executor and not over
  uint32_t running_ = 0;  // handlers
  std::condition_variable idle_;
  EndReason ended_ = EndReason::kNotEnded;
  bool interrupted_ = false;
  ServerCounters counted_;
};

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_SERVER_IMPL_H_
