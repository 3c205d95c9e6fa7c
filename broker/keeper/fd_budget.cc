#include "broker/keeper/fd_budget.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "transport/unique_fd.h"

namespace ivmq::broker {
namespace {

constexpr uint64_t kSmallestClientLimit = 8;
constexpr uint64_t kLargestClientLimit = 256;
constexpr uint64_t kUsualMessageCost = 768;
constexpr std::chrono::milliseconds kRefreshInterval{5};

// What one 8-byte message costs in a send buffer, kernel's book-keeping included.
uint64_t MeasureMessageCost() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return kUsualMessageCost;
  const transport::UniqueFd ours(pair[0]);
  const transport::UniqueFd theirs(pair[1]);
  const uint64_t message = 0;
  int used = 0;
  if (send(ours.get(), &message, sizeof message, MSG_NOSIGNAL) != sizeof message ||
      ioctl(ours.get(), SIOCOUTQ, &used) != 0 || used <= 0) {
    return kUsualMessageCost;
  }
  return static_cast<uint64_t>(used);
}

}  // namespace

FdBudget::FdBudget(uint64_t open_file_limit)
    : message_cost_(MeasureMessageCost()),
      shared_(open_file_limit / 2),
      reserved_(open_file_limit / 4),
      client_limit_(std::clamp(open_file_limit / 16, kSmallestClientLimit, kLargestClientLimit)) {}

void FdBudget::RefreshAll() {
  // Asking the kernel about every socket is dear; what was true a moment ago will do.
  const auto now = std::chrono::steady_clock::now();
  if (now - refreshed_ < kRefreshInterval) return;
  refreshed_ = now;
  for (Account* account : accounts_) account->Refresh();
}

FdBudget::Account::~Account() {
  if (budget_ == nullptr) return;
  budget_->in_flight_ -= in_flight_;
  budget_->accounts_.erase(this);
}

void FdBudget::Account::Open(FdBudget* budget, int socket) {
  budget_ = budget;
  socket_ = socket;
  budget_->accounts_.insert(this);
  // The kernel doubles the value, and takes messages while less than that is used.
  const int bytes = static_cast<int>(budget->client_limit_ * budget->message_cost_ / 2);
  setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

bool FdBudget::Account::MaySend() {
  if (budget_->in_flight_ < budget_->shared_) return true;
  budget_->RefreshAll();
  if (budget_->in_flight_ < budget_->shared_) return true;
  Refresh();
  return in_flight_ < std::max<uint64_t>(1, budget_->reserved_ / budget_->accounts_.size());
}

void FdBudget::Account::Sent() {
  ++in_flight_;
  ++budget_->in_flight_;
}

void FdBudget::Account::Refresh() {
  int used = 0;
  if (ioctl(socket_, SIOCOUTQ, &used) != 0 || used < 0) return;
  const uint64_t unread =
      (static_cast<uint64_t>(used) + budget_->message_cost_ - 1) / budget_->message_cost_;
  budget_->in_flight_ = budget_->in_flight_ - in_flight_ + unread;
  in_flight_ = unread;
}

}  // namespace ivmq::broker
