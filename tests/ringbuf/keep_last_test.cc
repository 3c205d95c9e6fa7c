#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/keep_last_layout.h"
#include "ringbuf/keep_last_producer.h"
#include "tests/ringbuf/guarded_keep_last.h"

namespace ivmq::ringbuf {
namespace {

constexpr uint64_t kMax = 100;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class KeepLastTest : public testing::TestWithParam<uint64_t> {
 protected:
  void Write(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_EQ(producer_.TryWrite(Bytes(std::to_string(producer_.published()))), WriteResult::kOk);
    }
  }
  // Reads one message, which must be `number`, with `lost` of them overwritten before it.
  void Expect(uint64_t number, uint64_t lost) {
    ASSERT_EQ(reader_.Read(), ReadResult::kOk) << number;
    const RecordView record = reader_.record();
    EXPECT_EQ(record.sequence, number);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(record.data), record.size),
              std::to_string(number));
    EXPECT_EQ(reader_.message.lost, lost) << number;
    reader_.consumer.Release();
  }

  const uint64_t depth_ = GetParam();
  GuardedKeepLast slots_{depth_, kMax};
  KeepLastProducer<> producer_{slots_.view()};
  CopyingConsumer reader_{slots_.view()};
};

TEST_P(KeepLastTest, CarriesMessagesInOrder) {
  EXPECT_EQ(reader_.Read(), ReadResult::kEmpty);
  for (uint64_t i = 0; i < 5 * depth_ + 3; ++i) {
    Write(1);
    Expect(i, 0);
    EXPECT_EQ(reader_.Read(), ReadResult::kEmpty);
  }
  EXPECT_EQ(reader_.consumer.lost(), 0u);
}

TEST_P(KeepLastTest, KeepsExactlyTheLastOnes) {
  for (const uint64_t count : {uint64_t{1}, depth_, depth_ + 1, depth_ + 2, 2 * depth_,
                               2 * depth_ + 1, 2 * depth_ + 2, 10 * depth_ + 3}) {
    const uint64_t before = producer_.published();
    Write(count);
    const uint64_t lost = count > depth_ ? count - depth_ : 0;
    for (uint64_t i = lost; i < count; ++i) Expect(before + i, i == lost ? lost : 0);
    EXPECT_EQ(reader_.Read(), ReadResult::kEmpty) << count;
    EXPECT_TRUE(producer_.AllConsumed());
  }
}

TEST_P(KeepLastTest, MessagesReadInBetweenAreNotCountedAsLost) {
  Write(1);
  Expect(0, 0);
  Write(depth_ + 2);
  Expect(3, 2);
}

TEST_P(KeepLastTest, AddsUp) {
  Write(3 * depth_ + 1);
  EXPECT_EQ(producer_.InFlight(), 3 * depth_ + 1);
  Expect(2 * depth_ + 1, 2 * depth_ + 1);
  EXPECT_EQ(reader_.consumer.lost(), 2 * depth_ + 1);
  EXPECT_EQ(reader_.consumer.read(), 1u);
  EXPECT_EQ(reader_.consumer.released(), 1u);
  EXPECT_EQ(reader_.consumer.position(), 2 * depth_ + 2);
  EXPECT_EQ(producer_.InFlight(), depth_ - 1);
  EXPECT_EQ(producer_.AllConsumed(), depth_ == 1);
  const KeepLastDescriptor& words = *slots_.view().descriptor;
  EXPECT_EQ(words.published.load(), 3 * depth_ + 1);
  EXPECT_EQ(words.released.load(), 1u);
  EXPECT_EQ(words.lost.load(), 2 * depth_ + 1);
}

TEST_P(KeepLastTest, AMessageThatIsReadIsInFlightUntilItIsReleased) {
  Write(1);
  ASSERT_EQ(reader_.Read(), ReadResult::kOk);
  EXPECT_FALSE(producer_.AllConsumed());
  reader_.consumer.Release();
  EXPECT_TRUE(producer_.AllConsumed());
}

TEST_P(KeepLastTest, AWriterThatDiesOverAMessageLeavesTheLastOnesWhole) {
  Write(2 * depth_ + 1);
  // The next one was begun: its slot is that of the message before the last `depth`.
  const uint64_t next = producer_.published();
  const uint64_t offset = next % (depth_ + 1) * SlotBytes(kMax);
  StdAtomics::StoreHeader(slots_.view().slots, offset, WritingSequence(next));
  std::memset(slots_.view().slots + offset + 8, 0xFF, SlotBytes(kMax) - 8);
  for (uint64_t i = 0; i < depth_; ++i) Expect(depth_ + 1 + i, i == 0 ? depth_ + 1 : 0);
  EXPECT_EQ(reader_.Read(), ReadResult::kEmpty);
  EXPECT_TRUE(reader_.consumer.Arm());
}

TEST_P(KeepLastTest, WakesOncePerArming) {
  Write(1);
  EXPECT_TRUE(producer_.NeedsWake()) << "fresh memory counts as armed";
  EXPECT_FALSE(producer_.NeedsWake());
  Write(depth_ + 1);
  EXPECT_FALSE(producer_.NeedsWake());
  EXPECT_FALSE(reader_.consumer.Arm()) << "there is something to read";
  while (reader_.Read() == ReadResult::kOk) reader_.consumer.Release();
  EXPECT_FALSE(reader_.consumer.HasNext());
  EXPECT_TRUE(reader_.consumer.Arm());
  Write(3 * depth_ + 5);
  EXPECT_TRUE(producer_.NeedsWake());
  EXPECT_TRUE(reader_.consumer.HasNext());
}

INSTANTIATE_TEST_SUITE_P(Depths, KeepLastTest, testing::Values(1, 2, 3, 8, 63, 64));

TEST(KeepLastSizesTest, CarriesEveryLengthUpToTheLargestWithAnyFlags) {
  for (const uint64_t max : {1, 7, 8, 9, 48, 49, 300}) {
    GuardedKeepLast slots(2, max);
    KeepLastProducer<> producer(slots.view());
    CopyingConsumer reader(slots.view());
    for (uint64_t size = 0; size <= max; ++size) {
      std::vector<std::byte> payload(size);
      for (uint64_t i = 0; i < size; ++i) payload[i] = static_cast<std::byte>(size + i);
      ASSERT_EQ(producer.TryWrite(payload, static_cast<uint8_t>(size)), WriteResult::kOk);
      ASSERT_EQ(reader.Read(), ReadResult::kOk);
      ASSERT_EQ(reader.message.size, size);
      EXPECT_EQ(reader.message.flags, size & 0x7F) << "the bit of the ring itself is masked off";
      ASSERT_EQ(std::vector<std::byte>(reader.data(), reader.data() + size), payload);
    }
    const std::vector<std::byte> too_large(max + 1);
    EXPECT_EQ(producer.TryWrite(too_large), WriteResult::kTooLarge);
    EXPECT_EQ(reader.Read(), ReadResult::kEmpty) << "nothing was touched";
  }
}

TEST(KeepLastSizesTest, WorksAtBothEndsOfBothBounds) {
  for (const auto& [depth, max] : std::vector<std::pair<uint64_t, uint64_t>>{
           {1, 1}, {kMaxDepth, 1}, {1, kMaxSlotMessageBytes}}) {
    GuardedKeepLast slots(depth, max);
    ASSERT_TRUE(ValidateKeepLast(slots.view()).ok());
    KeepLastProducer<> producer(slots.view());
    CopyingConsumer reader(slots.view());
    std::vector<std::byte> payload(max);
    for (uint64_t i = 0; i < 2 * depth + 3; ++i) {
      std::memset(payload.data(), static_cast<int>(i), max);
      ASSERT_EQ(producer.TryWrite(payload), WriteResult::kOk);
    }
    for (uint64_t i = depth + 3; i < 2 * depth + 3; ++i) {
      ASSERT_EQ(reader.Read(), ReadResult::kOk);
      std::memset(payload.data(), static_cast<int>(i), max);
      ASSERT_EQ(reader.message.sequence, i);
      ASSERT_EQ(std::memcmp(reader.data(), payload.data(), max), 0);
    }
    EXPECT_EQ(reader.Read(), ReadResult::kEmpty);
    EXPECT_EQ(reader.consumer.lost(), depth + 3);
  }
}

TEST(KeepLastLayoutTest, KnowsWhatIsValid) {
  EXPECT_FALSE(IsValidKeepLast(0, 64));
  EXPECT_TRUE(IsValidKeepLast(1, 64));
  EXPECT_TRUE(IsValidKeepLast(65536, 64));
  EXPECT_FALSE(IsValidKeepLast(65537, 64));
  EXPECT_FALSE(IsValidKeepLast(~uint64_t{0}, 64));
  EXPECT_FALSE(IsValidKeepLast(1, 0));
  EXPECT_TRUE(IsValidKeepLast(1, 1));
  EXPECT_TRUE(IsValidKeepLast(1, kMaxSlotMessageBytes));
  EXPECT_FALSE(IsValidKeepLast(1, kMaxSlotMessageBytes + 1));
  EXPECT_FALSE(IsValidKeepLast(1, ~uint64_t{0}));
}

TEST(KeepLastLayoutTest, TakesOneSlotMoreThanItKeeps) {
  EXPECT_EQ(SlotBytes(1), 64u);
  EXPECT_EQ(SlotBytes(48), 64u);
  EXPECT_EQ(SlotBytes(49), 128u);
  EXPECT_EQ(KeepLastBytes(1, 48), 384u + 2 * 64);
  EXPECT_EQ(KeepLastBytes(65536, 64), 384u + 65537 * 128);
}

TEST(KeepLastLayoutTest, RefusesWhatIsNotWhatWasAgreedOn) {
  GuardedKeepLast slots(4, 64);
  KeepLastView view = slots.view();
  EXPECT_TRUE(ValidateKeepLast(view).ok());
  view.depth = 5;
  EXPECT_EQ(ValidateKeepLast(view).error, KeepLastError::kBadDepth);
  EXPECT_EQ(ValidateKeepLast(view).expected, 5u);
  EXPECT_EQ(ValidateKeepLast(view).found, 4u);
  view = slots.view();
  view.max_message_bytes = 65;
  EXPECT_EQ(ValidateKeepLast(view).error, KeepLastError::kBadSize);
  view = slots.view();
  view.descriptor->depth.store(0);
  view.depth = 0;
  EXPECT_EQ(ValidateKeepLast(view).error, KeepLastError::kBadDepth);
  slots.Reset();
  view = slots.view();
  view.descriptor->layout_version.store(kKeepLastLayoutVersion + 1);
  EXPECT_EQ(ValidateKeepLast(view).error, KeepLastError::kBadVersion);
  view.descriptor->magic.store(kRingMagic);
  EXPECT_EQ(ValidateKeepLast(view).error, KeepLastError::kBadMagic);
  view = KeepLastAt(slots.memory() + 8, 4, 64);
  EXPECT_EQ(ValidateKeepLast(view).error, KeepLastError::kMisaligned);
}

TEST(KeepLastLayoutDeathTest, RefusesToMakeWhatMayNotBe) {
  GuardedKeepLast slots(4, 64);
  EXPECT_DEATH(InitializeKeepLast(slots.memory(), 0, 64), "");
  EXPECT_DEATH(InitializeKeepLast(slots.memory(), 65537, 64), "");
  EXPECT_DEATH(InitializeKeepLast(slots.memory(), 4, 0), "");
  EXPECT_DEATH(InitializeKeepLast(slots.memory() + 8, 1, 1), "");
}

}  // namespace
}  // namespace ivmq::ringbuf
