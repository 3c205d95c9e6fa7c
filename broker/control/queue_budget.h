#ifndef IVMQ_BROKER_CONTROL_QUEUE_BUDGET_H_
#define IVMQ_BROKER_CONTROL_QUEUE_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>

namespace ivmq::control {

// What waits in control's memory for the processes of one realm that do not read, and what those of
// the host have sent of requests that they do not complete. Each session has a limit of its own;
// this bounds their sum, for a machine and for the realm. Where it would be exceeded, the session
// with most waiting ends, of the machine with most waiting: whoever reads, and sends whole
// requests, has next to nothing waiting, and so is not the one. One thread.
class QueueBudget {
 public:
  static constexpr size_t kPeerBytes = 32 << 20;
  static constexpr size_t kRealmBytes = 128 << 20;

  // One session's share. Neither copied nor moved; the budget must outlive it.
  class Account {
   public:
    // Called at most once, within a Set() of this or another account. Must drop all that waits, and
    // must not destroy an account.
    using End = std::function<void()>;

    Account() = default;
    ~Account() { Close(); }
    Account(const Account&) = delete;
    Account& operator=(const Account&) = delete;

    // REQUIRES: not opened before.
    void Open(QueueBudget* budget, uint32_t peer, End end);
    // So many bytes wait now. Ends sessions until the rest fits; this one may be among them.
    void Set(size_t bytes);
    // Nothing waits any more, nor will.
    void Close();

   private:
    friend class QueueBudget;
    QueueBudget* budget_ = nullptr;  // null before Open(), and from its end on
    uint32_t peer_ = 0;
    size_t bytes_ = 0;
    End end_;
  };

  explicit QueueBudget(size_t peer_bytes = kPeerBytes, size_t realm_bytes = kRealmBytes)
      : peer_bytes_(peer_bytes), realm_bytes_(realm_bytes) {}
  QueueBudget(const QueueBudget&) = delete;
  QueueBudget& operator=(const QueueBudget&) = delete;

  size_t BytesOf(uint32_t peer) const;
  size_t bytes() const { return bytes_; }

 private:
  // Those of one machine who have anything waiting.
  struct Machine {
    size_t bytes = 0;
    std::set<Account*> accounts;
  };
  void Change(Account* account, size_t bytes);
  void EndFullest(const Machine& machine);
  const Machine& FullestMachine() const;

  const size_t peer_bytes_;
  const size_t realm_bytes_;
  size_t bytes_ = 0;
  std::map<uint32_t, Machine> machines_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_QUEUE_BUDGET_H_
