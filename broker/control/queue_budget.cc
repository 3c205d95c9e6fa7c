#include "broker/control/queue_budget.h"

#include <algorithm>
#include <utility>

namespace ivmq::control {

void QueueBudget::Account::Open(QueueBudget* budget, uint32_t peer, End end) {
  budget_ = budget;
  peer_ = peer;
  end_ = std::move(end);
}

void QueueBudget::Account::Set(size_t bytes) {
  QueueBudget* const budget = budget_;
  if (budget == nullptr || bytes == bytes_) return;
  budget->Change(this, bytes);
  while (budget->BytesOf(peer_) > budget->peer_bytes_) {
    budget->EndFullest(budget->machines_.at(peer_));
  }
  while (budget->bytes_ > budget->realm_bytes_) budget->EndFullest(budget->FullestMachine());
}

void QueueBudget::Account::Close() {
  if (budget_ != nullptr) budget_->Change(this, 0);
  budget_ = nullptr;
}

size_t QueueBudget::BytesOf(uint32_t peer) const {
  const auto found = machines_.find(peer);
  return found == machines_.end() ? 0 : found->second.bytes;
}

void QueueBudget::Change(Account* account, size_t bytes) {
  Machine& machine = machines_[account->peer_];
  machine.bytes += bytes - account->bytes_;  // modulo 2^64, as is the next
  bytes_ += bytes - account->bytes_;
  account->bytes_ = bytes;
  if (bytes > 0) {
    machine.accounts.insert(account);
    return;
  }
  machine.accounts.erase(account);
  if (machine.accounts.empty()) machines_.erase(account->peer_);
}

void QueueBudget::EndFullest(const Machine& machine) {
  Account* const fullest =
      *std::max_element(machine.accounts.begin(), machine.accounts.end(),
                        [](const Account* a, const Account* b) { return a->bytes_ < b->bytes_; });
  // First, so that what its owner says of it meanwhile changes nothing.
  fullest->Close();
  fullest->end_();
}

const QueueBudget::Machine& QueueBudget::FullestMachine() const {
  return std::max_element(
             machines_.begin(), machines_.end(),
             [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; })
      ->second;
}

}  // namespace ivmq::control
