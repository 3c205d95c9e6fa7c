// Both ends in one thread: the bounds of records, batches, room and releases.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/ringbuf/guarded_ring.h"
#include "tests/ringbuf/self_checking_record.h"
#include "tests/ringbuf/spsc_ring_fixture.h"

namespace ivmq::ringbuf {
namespace {

TEST_F(SpscRingTest, StartsEmpty) {
  EXPECT_EQ(Read(), "(empty)");
  EXPECT_TRUE(producer_.AllConsumed());
  EXPECT_EQ(producer_.records(), 0u);
}

TEST_F(SpscRingTest, CarriesRecordsInOrderWithFlagsAndSequence) {
  ASSERT_EQ(Write("one", kFlagExtension), WriteResult::kOk);
  ASSERT_EQ(Write("", 0x7E), WriteResult::kOk);
  RecordView view;
  ASSERT_EQ(consumer_.TryRead(&view), ReadResult::kOk);
  EXPECT_EQ(view.size, 3u);
  EXPECT_EQ(view.flags, kFlagExtension);
  EXPECT_EQ(view.sequence, 0u);
  ASSERT_EQ(consumer_.TryRead(&view), ReadResult::kOk);
  EXPECT_EQ(view.size, 0u);
  EXPECT_EQ(view.flags, 0x7E);
  EXPECT_EQ(view.sequence, 1u);
  EXPECT_EQ(consumer_.TryRead(&view), ReadResult::kEmpty);
}

TEST_F(SpscRingTest, MasksTheFlagThatIsItsOwn) {
  ASSERT_EQ(Write("x", 0xFF), WriteResult::kOk);
  RecordView view;
  ASSERT_EQ(consumer_.TryRead(&view), ReadResult::kOk);
  EXPECT_EQ(view.flags, 0x7F);
}

TEST_F(SpscRingTest, AcceptsTheLargestRecordAndRefusesOneByteMore) {
  const uint64_t max = MaxInlineRecord(kCapacity);
  EXPECT_EQ(Write(std::string(max, 'a')), WriteResult::kOk);
  EXPECT_EQ(Write(std::string(max + 1, 'a')), WriteResult::kTooLarge);
  EXPECT_FALSE(producer_.HasRoom(max + 1));
  EXPECT_TRUE(producer_.ArmSpace(max + 1));
  EXPECT_EQ(Read(), std::string(max, 'a'));
  EXPECT_EQ(Read(), "(empty)");
}

TEST_F(SpscRingTest, TheLargestRecordFitsWhateverThePositionAfterADrain) {
  for (uint64_t capacity : {kMinCapacity, uint64_t{32768}, uint64_t{65536}}) {
    GuardedRing ring(capacity);
    SpscProducer<> producer(ring.view());
    SpscConsumer<> consumer(ring.view());
    const std::string largest(MaxInlineRecord(capacity), 'L');
    RecordView view;
    for (uint64_t step = 0; step < capacity / 8 + 8; ++step) {
      ASSERT_EQ(producer.TryWrite({}, 0), WriteResult::kOk);
      ASSERT_EQ(producer.TryWrite(Bytes(largest)), WriteResult::kOk);
      producer.Publish();
      ASSERT_EQ(consumer.TryRead(&view), ReadResult::kOk);
      ASSERT_EQ(consumer.TryRead(&view), ReadResult::kOk);
      ASSERT_EQ(view.size, largest.size());
      ASSERT_EQ(std::memcmp(view.data, largest.data(), largest.size()), 0);
      consumer.Release();
      ASSERT_EQ(consumer.TryRead(&view), ReadResult::kEmpty);
    }
  }
}

TEST_F(SpscRingTest, AlignsPayloadsOf4KiBAndMoreToACacheLine) {
  GuardedRing ring(65536);
  SpscProducer<> producer(ring.view());
  SpscConsumer<> consumer(ring.view());
  RecordView view;
  for (int i = 0; i < 200; ++i) {
    const size_t size = i % 2 == 0 ? kAlignedPayloadBytes - 1 : kAlignedPayloadBytes + 3;
    std::byte* payload = nullptr;
    ASSERT_EQ(producer.TryClaim(size, 0, &payload), WriteResult::kOk);
    const uintptr_t alignment = i % 2 == 0 ? 8 : kCacheLineBytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(payload) % alignment, 0u);
    payload[0] = payload[size - 1] = std::byte{7};
    producer.Commit();
    producer.Publish();
    ASSERT_EQ(consumer.TryRead(&view), ReadResult::kOk);
    EXPECT_EQ(view.data, payload);
    EXPECT_EQ(view.size, size);
    consumer.Release();
  }
}

TEST_F(SpscRingTest, LoneRecordsOfAConsumerThatKeepsUpStartOnALinePair) {
  const auto write_and_read = [&] {
    const uint64_t began = producer_.position();
    EXPECT_EQ(Write("ten bytes!"), WriteResult::kOk);
    EXPECT_EQ(Read(), "ten bytes!");
    EXPECT_EQ(Read(), "(empty)");
    EXPECT_EQ(consumer_.position(), producer_.position());
    return producer_.position() - began;
  };
  while (producer_.position() < BatchBytes(kCapacity)) EXPECT_EQ(write_and_read(), 24u);
  (void)write_and_read();  // whose end is on a pair
  for (int i = 0; i < 100; ++i) EXPECT_EQ(write_and_read(), kLinePairBytes) << i;
  // In a batch only the first.
  const uint64_t began = producer_.position();
  ASSERT_EQ(producer_.TryWrite(Bytes("1")), WriteResult::kOk);
  ASSERT_EQ(Write("2"), WriteResult::kOk);
  EXPECT_EQ(producer_.position() - began, kLinePairBytes + 16);
}

TEST_F(SpscRingTest, LoneRecordsOfAnySizeAreCopiedWhole) {
  for (uint64_t i = 0; i < 3'000; ++i) {
    const uint64_t max = MaxInlineRecord(kCapacity);
    constexpr std::array<uint64_t, 10> kSizes{0, 1, 55, 56, 57, 64, 119, 120, 121, 4096};
    std::string text(std::min(kSizes[i % kSizes.size()], max), ' ');
    for (uint64_t k = 0; k < text.size(); ++k) text[k] = static_cast<char>(Mix(i) + k / 8 + k % 8);
    ASSERT_EQ(Write(text), WriteResult::kOk) << i;
    ASSERT_EQ(Read(), text) << i;
    ASSERT_EQ(Read(), "(empty)") << i;
  }
  EXPECT_GT(producer_.position(), 4 * kCapacity) << "it has to wrap";
}

TEST_F(SpscRingTest, LoneRecordsLieCloseOnceTheConsumerFallsBehind) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(Write("x"), WriteResult::kOk);
    ASSERT_EQ(Read(), "x");
    ASSERT_EQ(Read(), "(empty)");
  }
  // At most the eighth of the ring up to the next look lies apart.
  EXPECT_GE(Fill(1), static_cast<int>(kCapacity * 7 / 8 / 16 - 1));
  const uint64_t room = kCapacity - producer_.BytesInFlight();
  EXPECT_LT(room, 16 + kHeaderBytes);
}

TEST_F(SpscRingTest, RejectsAWriteWhenFullAndTakesItAfterARelease) {
  // 56 bytes and a header are 64; 8 bytes stay free, so the last slot cannot be used.
  EXPECT_EQ(Fill(56), static_cast<int>(kCapacity / 64) - 1);
  EXPECT_FALSE(producer_.HasRoom(56));
  EXPECT_TRUE(producer_.HasRoom(48));  // 56 with its header, and the 8 that stay free
  EXPECT_EQ(Read(), std::string(56, 'x'));
  EXPECT_FALSE(producer_.HasRoom(56)) << "a release is reported in steps of an eighth";
  consumer_.PublishHead();
  EXPECT_TRUE(producer_.HasRoom(56));
  EXPECT_EQ(Write(std::string(56, 'y')), WriteResult::kOk);
  EXPECT_EQ(Write(std::string(56, 'z')), WriteResult::kFull);
}

TEST_F(SpscRingTest, HasRoomNeverPromisesWhatAClaimRefuses) {
  uint64_t random = 42;
  for (int i = 0; i < 200'000; ++i) {
    random = Mix(random);
    const size_t size = random % (MaxInlineRecord(kCapacity) + 1);
    const bool room = producer_.HasRoom(size);
    std::byte* payload = nullptr;
    ASSERT_EQ(producer_.TryClaim(size, 0, &payload) == WriteResult::kOk, room) << i;
    if (room) {
      if ((random >> 40) % 4 == 0) {
        producer_.Abort();
      } else {
        producer_.Commit();
      }
    } else {
      const std::string drained = Read();
      ASSERT_NE(drained, "(corrupt)");
      if (drained == "(empty)") {
        ASSERT_TRUE(producer_.HasRoom(size)) << i;
      }
    }
  }
}

TEST_F(SpscRingTest, StagedRecordsAppearTogetherAtPublish) {
  ASSERT_EQ(producer_.TryWrite(Bytes("a")), WriteResult::kOk);
  ASSERT_EQ(producer_.TryWrite(Bytes("b")), WriteResult::kOk);
  EXPECT_EQ(Read(), "(empty)");
  EXPECT_EQ(producer_.records(), 2u);
  EXPECT_EQ(producer_.published_records(), 0u);
  producer_.Publish();
  EXPECT_EQ(Read(), "a");
  EXPECT_EQ(Read(), "b");
  EXPECT_EQ(Read(), "(empty)");
}

TEST_F(SpscRingTest, ABatchPublishesItselfAtItsBounds) {
  GuardedRing ring(65536);
  SpscProducer<> producer(ring.view());
  for (uint64_t i = 1; i < kBatchRecords; ++i) {
    ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
    ASSERT_EQ(producer.published_records(), 0u);
  }
  ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  EXPECT_EQ(producer.published_records(), kBatchRecords);
  const std::string half(kBatchBytes / 2, 'h');
  ASSERT_EQ(producer.TryWrite(Bytes(half)), WriteResult::kOk);
  EXPECT_EQ(producer.published_records(), kBatchRecords);
  ASSERT_EQ(producer.TryWrite(Bytes(half)), WriteResult::kOk);
  EXPECT_EQ(producer.published_records(), kBatchRecords + 2);
}

TEST_F(SpscRingTest, AnAbortedClaimLeavesNoTrace) {
  std::byte* payload = nullptr;
  ASSERT_EQ(producer_.TryClaim(100, 0, &payload), WriteResult::kOk);
  std::memset(payload, 0xFF, 100);
  producer_.Abort();
  producer_.Publish();
  EXPECT_EQ(Read(), "(empty)");
  ASSERT_EQ(Write("next"), WriteResult::kOk);
  EXPECT_EQ(Read(), "next");
  EXPECT_EQ(producer_.records(), 1u);
}

TEST_F(SpscRingTest, PublishingWhileAClaimIsOpenLeavesItsPayloadAlone) {
  ASSERT_EQ(producer_.TryWrite(Bytes("before")), WriteResult::kOk);
  const std::string text(500, 'c');
  std::byte* payload = nullptr;
  ASSERT_EQ(producer_.TryClaim(text.size(), 0, &payload), WriteResult::kOk);
  std::memcpy(payload, text.data(), text.size());
  producer_.Publish();
  producer_.Commit();
  producer_.Publish();
  EXPECT_EQ(Read(), "before");
  EXPECT_EQ(Read(), text);
  EXPECT_EQ(Read(), "(empty)");
}

TEST_F(SpscRingTest, WhatWasPublishedIsReadAfterTheProducerDiesInAClaim) {
  {
    SpscProducer<> producer(ring_.view());
    for (int i = 0; i < 5; ++i) ASSERT_EQ(producer.TryWrite(Bytes("kept")), WriteResult::kOk);
    producer.Publish();
    ASSERT_EQ(producer.TryWrite(Bytes("staged")), WriteResult::kOk);
    std::byte* payload = nullptr;
    ASSERT_EQ(producer.TryClaim(200, 0, &payload), WriteResult::kOk);
    std::memset(payload, 0xFF, 200);
  }
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Read(), "kept");
  EXPECT_EQ(Read(), "(empty)");
}

TEST_F(SpscRingTest, ReportsReleasesByTheEighthAndWhenEmpty) {
  Fill(56);
  const auto head = [&] { return ring_.view().descriptor->head.load(); };
  for (uint64_t i = 1; i < kCapacity / 64 / 8; ++i) {
    Read();
    EXPECT_EQ(head(), 0u);
  }
  Read();
  EXPECT_EQ(head(), kCapacity / 8);
  while (Read() != "(empty)") {
  }
  EXPECT_EQ(head(), producer_.published_position());
  EXPECT_EQ(ring_.view().descriptor->records_released.load(), producer_.records());
}

TEST_F(SpscRingTest, ReportsEveryReleaseIfAskedTo) {
  SpscConsumer<> consumer(ring_.view(), {.publish_every_release = true});
  ASSERT_EQ(Write("a"), WriteResult::kOk);
  ASSERT_EQ(Write("b"), WriteResult::kOk);
  RecordView view;
  ASSERT_EQ(consumer.TryRead(&view), ReadResult::kOk);
  EXPECT_EQ(producer_.BytesInFlight(), 32u);
  consumer.Release();
  EXPECT_EQ(producer_.BytesInFlight(), 16u);
}

TEST_F(SpscRingTest, NeverSaysLessThanWhatMayNotBeReleasedWhateverTheConsumerWrites) {
  SpscConsumer<> consumer(ring_.view(), {.publish_every_release = true});
  for (const char* record : {"a", "b", "c"}) ASSERT_EQ(Write(record), WriteResult::kOk);
  EXPECT_EQ(producer_.UnreleasedAtMost(), 3u);
  RecordView view;
  ASSERT_EQ(consumer.TryRead(&view), ReadResult::kOk);
  consumer.Release();
  EXPECT_EQ(producer_.UnreleasedAtMost(), 3u) << "nobody has looked";
  EXPECT_FALSE(producer_.AllConsumed());
  EXPECT_EQ(producer_.UnreleasedAtMost(), 2u);
  auto* descriptor = ring_.view().descriptor;
  for (const uint64_t nonsense : {uint64_t{4}, UINT64_MAX, uint64_t{0}}) {
    descriptor->records_released.store(nonsense);
    EXPECT_FALSE(producer_.AllConsumed());
    EXPECT_EQ(producer_.UnreleasedAtMost(), 2u) << nonsense;
  }
  // A head beyond all that was published: what is said together with it counts for nothing.
  descriptor->records_released.store(3);
  descriptor->head.store(1 << 20);
  EXPECT_TRUE(producer_.AllConsumed());
  EXPECT_TRUE(producer_.corrupt());
  EXPECT_EQ(producer_.UnreleasedAtMost(), 2u);
}

TEST_F(SpscRingTest, UnreleasedRecordsStayUntouched) {
  ASSERT_EQ(Write(std::string(56, 'k')), WriteResult::kOk);
  RecordView kept;
  ASSERT_EQ(consumer_.TryRead(&kept), ReadResult::kOk);
  Fill(56);
  RecordView view;
  while (consumer_.TryRead(&view) == ReadResult::kOk) {
  }
  EXPECT_FALSE(producer_.HasRoom(56));
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(kept.data), kept.size),
            std::string(56, 'k'));
  consumer_.Release();
  EXPECT_EQ(Read(), "(empty)");
  EXPECT_TRUE(producer_.AllConsumed());
}

TEST_F(SpscRingTest, MirrorsTheCountersOnDemand) {
  ASSERT_EQ(Write("a"), WriteResult::kOk);
  EXPECT_EQ(ring_.view().descriptor->records_published.load(), 0u);
  producer_.MirrorCounters();
  EXPECT_EQ(ring_.view().descriptor->records_published.load(), 1u);
  EXPECT_EQ(ring_.view().descriptor->tail.load(), producer_.published_position());
  EXPECT_EQ(Read(), "a");
}

TEST_F(SpscRingTest, CarriesAllSizesThroughManyLaps) {
  const uint64_t max = MaxInlineRecord(kCapacity);
  std::vector<std::byte> buffer(max);
  uint64_t written = 0;
  uint64_t read = 0;
  RecordView view;
  while (read < 100'000) {
    const SelfCheckingRecord record(1, written, max);
    record.Fill(buffer.data());
    if (producer_.TryWrite({buffer.data(), record.size()}, record.flags()) == WriteResult::kOk) {
      ++written;
      continue;
    }
    while (consumer_.TryRead(&view) == ReadResult::kOk) {
      ASSERT_EQ(view.sequence, read);
      ASSERT_TRUE(SelfCheckingRecord(1, read, max).Matches(view)) << read;
      ++read;
      consumer_.Release();
    }
  }
  EXPECT_FALSE(producer_.corrupt());
  EXPECT_FALSE(consumer_.corrupt());
}

}  // namespace
}  // namespace ivmq::ringbuf
