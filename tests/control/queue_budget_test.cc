#include "broker/control/queue_budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace ivmq::control {
namespace {

using Account = QueueBudget::Account;

class QueueBudgetTest : public testing::Test {
 protected:
  Account* Open(uint32_t peer) {
    accounts_.push_back(std::make_unique<Account>());
    const size_t index = accounts_.size() - 1;
    accounts_.back()->Open(&budget_, peer, [this, index] { ended_.push_back(index); });
    return accounts_.back().get();
  }

  QueueBudget budget_{100, 150};
  std::vector<std::unique_ptr<Account>> accounts_;
  std::vector<size_t> ended_;
};

TEST_F(QueueBudgetTest, LetsAMachineHaveAllThatItMay) {
  Account* a = Open(1);
  Account* b = Open(1);
  a->Set(60);
  b->Set(40);
  EXPECT_EQ(budget_.BytesOf(1), 100u);
  a->Set(10);
  b->Set(90);
  EXPECT_TRUE(ended_.empty());
}

TEST_F(QueueBudgetTest, EndsTheSessionWithMostWaitingWhoeverAsksForMore) {
  Open(1)->Set(60);
  Account* reader = Open(1);
  reader->Set(40);
  reader->Set(41);
  EXPECT_EQ(ended_, std::vector<size_t>{0});
  EXPECT_EQ(budget_.BytesOf(1), 41u);
}

TEST_F(QueueBudgetTest, TheOneThatAsksMayBeTheOneThatEnds) {
  Account* only = Open(1);
  only->Set(101);
  EXPECT_EQ(ended_, std::vector<size_t>{0});
  only->Set(70);  // what its owner says on its way out
  EXPECT_EQ(budget_.bytes(), 0u);
}

TEST_F(QueueBudgetTest, WhereTheRealmIsFullTheMachineWithMostWaitingPays) {
  Open(1)->Set(50);
  Open(1)->Set(30);
  Open(2)->Set(60);
  Account* another = Open(3);
  another->Set(10);
  EXPECT_TRUE(ended_.empty());
  another->Set(11);
  EXPECT_EQ(ended_, std::vector<size_t>{0});
  EXPECT_EQ(budget_.bytes(), 30u + 60u + 11u);
}

TEST_F(QueueBudgetTest, ASessionThatIsOverGivesItsShareBack) {
  Open(1)->Set(100);
  accounts_.clear();
  EXPECT_EQ(budget_.bytes(), 0u);
  EXPECT_EQ(budget_.BytesOf(1), 0u);
}

}  // namespace
}  // namespace ivmq::control
