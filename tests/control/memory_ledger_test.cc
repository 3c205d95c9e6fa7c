#include "broker/control/memory_ledger.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "broker/control/ready_bytes.h"

namespace ivmq::control {
namespace {

constexpr MemoryLedger::Holder kPublisher = 1;
constexpr MemoryLedger::Holder kSubscriber = 2;

class MemoryLedgerTest : public testing::Test {
 protected:
  uint64_t used() const { return ledger_.arena().used_bytes(); }

  MemoryLedger ledger_{Arena(64, 64 << 10)};
};

TEST_F(MemoryLedgerTest, FreesAnExtentWhenTheLastHolderLetsGo) {
  const uint64_t offset = ledger_.Allocate(4096, 64, kPublisher).value();
  ledger_.Hold(offset, kSubscriber);
  ledger_.Release(offset, kPublisher);
  EXPECT_EQ(used(), 4096u);
  ledger_.Release(offset, kPublisher);  // a second time is harmless
  EXPECT_EQ(used(), 4096u);
  ledger_.Release(offset, kSubscriber);
  EXPECT_EQ(used(), 0u);
}

TEST_F(MemoryLedgerTest, CountsHowOftenAHolderWasTold) {
  const uint64_t offset = ledger_.Allocate(64, 64, kPublisher).value();
  ledger_.Hold(offset, kPublisher);
  ledger_.Release(offset, kPublisher);
  EXPECT_TRUE(ledger_.Holds(offset, kPublisher));
  ledger_.Release(offset, kPublisher);
  EXPECT_FALSE(ledger_.Holds(offset, kPublisher));
  EXPECT_EQ(used(), 0u);
}

TEST_F(MemoryLedgerTest, TheDeadLetGoOfEverything) {
  const uint64_t shared = ledger_.Allocate(64, 64, kPublisher).value();
  ledger_.Hold(shared, kSubscriber);
  ASSERT_TRUE(ledger_.Allocate(128, 64, kPublisher).ok());
  ledger_.ReleaseAll(kPublisher);
  EXPECT_EQ(used(), 64u);
  ledger_.ReleaseAll(kSubscriber);
  EXPECT_EQ(used(), 0u);
}

TEST_F(MemoryLedgerTest, QuarantinesWhatIsFreeAndWhatOthersUseMeanwhile) {
  const uint64_t offset = ledger_.Allocate(4096, 64, kPublisher).value();
  const std::vector<MemoryLedger::Extent> knew = ledger_.HeldBy(kPublisher);
  ASSERT_EQ(knew.size(), 1u);
  EXPECT_EQ(knew[0].offset, offset);
  EXPECT_EQ(knew[0].bytes, 4096u);
  ledger_.ReleaseAll(kPublisher);
  EXPECT_TRUE(ledger_.HeldBy(kPublisher).empty());
  // The first half has another user now, whose extent also ends elsewhere.
  const uint64_t reused = ledger_.Allocate(1024, 64, kSubscriber).value();
  ASSERT_EQ(reused, offset);
  ledger_.Quarantine(knew[0]);
  ledger_.Quarantine(knew[0]);
  EXPECT_EQ(used(), 4096u);
  EXPECT_EQ(ledger_.arena().orphaned_bytes(), 4096u);
  ledger_.ReleaseAll(kSubscriber);
  EXPECT_EQ(used(), 4096u);
  ledger_.arena().CheckConsistency();
}

class ReadyBytesTest : public MemoryLedgerTest {
 protected:
  std::vector<std::byte> memory_ = std::vector<std::byte>((64 << 10) + 128);
  ReadyBytes ready_{&ledger_, std::span(memory_)};
};

TEST_F(ReadyBytesTest, OneLineHasOneNodeThatSets) {
  const ReadyPlace first = ready_.Acquire(kSubscriber, kPublisher).value();
  const ReadyPlace second = ready_.Acquire(kSubscriber, kPublisher).value();
  const ReadyPlace other_way = ready_.Acquire(kPublisher, kSubscriber).value();
  const ReadyPlace third_node = ready_.Acquire(kSubscriber, 3).value();
  EXPECT_EQ(first.line, second.line);
  EXPECT_NE(first.offset, second.offset);
  EXPECT_NE(first.line, other_way.line);
  EXPECT_NE(first.line, third_node.line);
}

TEST_F(ReadyBytesTest, ASixtyFifthByteOpensAnotherLine) {
  std::set<uint64_t> lines;
  std::set<uint64_t> offsets;
  for (int i = 0; i < 65; ++i) {
    const ReadyPlace place = ready_.Acquire(kSubscriber, kPublisher).value();
    lines.insert(place.line);
    EXPECT_TRUE(offsets.insert(place.offset).second);
  }
  EXPECT_EQ(lines.size(), 2u);
}

TEST_F(ReadyBytesTest, AByteIsReusedAndALineFreedOnlyAfterBothLetGo) {
  const ReadyPlace first = ready_.Acquire(kSubscriber, kPublisher).value();
  const ReadyPlace second = ready_.Acquire(kSubscriber, kPublisher).value();
  const auto let_go = [&](const ReadyPlace& place) {
    ledger_.Release(place.line, kPublisher);
    ledger_.Release(place.line, kSubscriber);
    ready_.Free(kSubscriber, kPublisher, place);
  };
  let_go(first);
  EXPECT_EQ(used(), 64u);
  EXPECT_EQ(ready_.Acquire(kSubscriber, kPublisher).value().offset, first.offset);
  let_go(first);
  let_go(second);
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(ready_.lines(), 0u);
}

}  // namespace
}  // namespace ivmq::control
