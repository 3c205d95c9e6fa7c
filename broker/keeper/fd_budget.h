#ifndef IVMQ_BROKER_KEEPER_FD_BUDGET_H_
#define IVMQ_BROKER_KEEPER_FD_BUDGET_H_

#include <chrono>
#include <cstdint>
#include <unordered_set>

namespace ivmq::broker {

// Shares out the file descriptors that may be in flight: sent, but not yet received. The kernel
// limits them per user (to RLIMIT_NOFILE) and fails every further send with ETOOMANYREFS, so a few
// clients that stopped reading could silence the server for all others.
//
// Two bounds hold. A client has at most client_limit() messages in its socket, which the size of
// its send buffer enforces. Half of the process's limit is shared, first come first served; once
// it is used up, each client still gets an equal share of another quarter. The rest is left to
// everything else that sends fds under the same user.
//
// One thread.
class FdBudget {
 public:
  // What one client has in flight: a number of messages, all taken to carry an fd.
  class Account {
   public:
    Account() = default;
    Account(const Account&) = delete;
    Account& operator=(const Account&) = delete;
    ~Account();

    // Starts counting, and limits the socket's send buffer. The socket is borrowed.
    void Open(FdBudget* budget, int socket);
    // Whether one more message may go out now.
    bool MaySend();
    void Sent();

   private:
    friend class FdBudget;
    void Refresh();

    FdBudget* budget_ = nullptr;
    int socket_ = -1;
    uint64_t in_flight_ = 0;  // an upper bound, exact after Refresh()
  };

  // `open_file_limit`: the soft RLIMIT_NOFILE.
  explicit FdBudget(uint64_t open_file_limit);
  FdBudget(const FdBudget&) = delete;
  FdBudget& operator=(const FdBudget&) = delete;

  uint64_t client_limit() const { return client_limit_; }
  uint64_t in_flight() const { return in_flight_; }

 private:
  void RefreshAll();

  const uint64_t message_cost_;  // bytes of send buffer that the kernel charges for one message
  const uint64_t shared_;
  const uint64_t reserved_;
  const uint64_t client_limit_;
  uint64_t in_flight_ = 0;
  std::unordered_set<Account*> accounts_;
  std::chrono::steady_clock::time_point refreshed_{};
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_FD_BUDGET_H_
