// One side writes nonsense; the other must neither crash, hang nor leave the data area.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <initializer_list>
#include <thread>
#include <vector>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/ringbuf/guarded_ring.h"
#include "tests/ringbuf/self_checking_record.h"

namespace ivmq::ringbuf {
namespace {

constexpr uint64_t kCapacity = kMinCapacity;
constexpr uint64_t kMax = MaxInlineRecord(kCapacity);

void StoreWord(const RingView& ring, uint64_t offset, uint64_t value) {
  std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(ring.data + offset)).store(value);
}

bool InsideData(const RingView& ring, const std::byte* data, size_t size) {
  return data >= ring.data && size <= ring.capacity && data + size <= ring.data + ring.capacity;
}

class HostileProducerTest : public testing::Test {
 protected:
  ReadResult Read() { return consumer_.TryRead(&view_); }

  // What comes of a single header at the consumer's position.
  ReadResult ReadHeader(uint64_t header) {
    ring_.Reset();
    SpscConsumer<> consumer(ring_.view());
    StoreWord(ring_.view(), 0, header);
    const ReadResult result = consumer.TryRead(&view_);
    if (result == ReadResult::kOk) {
      EXPECT_TRUE(InsideData(ring_.view(), view_.data, view_.size));
    } else if (result == ReadResult::kCorrupt) {
      StoreWord(ring_.view(), 0, internal::MakeHeader(1, 0));
      EXPECT_EQ(consumer.TryRead(&view_), ReadResult::kCorrupt) << "once corrupt, always corrupt";
      EXPECT_TRUE(consumer.corrupt());
      EXPECT_FALSE(consumer.Arm());
    }
    return result;
  }

  GuardedRing ring_{kCapacity};
  SpscConsumer<> consumer_{ring_.view()};
  RecordView view_;
};

TEST_F(HostileProducerTest, LengthsUpToTheLargestAreReadAndNotOneMore) {
  EXPECT_EQ(ReadHeader(0), ReadResult::kEmpty);
  EXPECT_EQ(ReadHeader(internal::MakeHeader(0, 0)), ReadResult::kOk);
  EXPECT_EQ(ReadHeader(internal::MakeHeader(kMax, 0x7F)), ReadResult::kOk);
  EXPECT_EQ(ReadHeader(internal::MakeHeader(kMax + 1, 0)), ReadResult::kCorrupt);
  EXPECT_EQ(ReadHeader(internal::MakeHeader(0xFFFFFFFE, 0)), ReadResult::kCorrupt);
}

TEST_F(HostileProducerTest, HeadersThatNoProducerWritesAreRefused) {
  EXPECT_EQ(ReadHeader(uint64_t{1} << 32), ReadResult::kCorrupt) << "flags without a length";
  EXPECT_EQ(ReadHeader(uint64_t{1} << 63), ReadResult::kCorrupt);
  EXPECT_EQ(ReadHeader(internal::MakeHeader(8, 0) | uint64_t{1} << 41), ReadResult::kCorrupt);
  EXPECT_EQ(ReadHeader(internal::MakeHeader(8, kFlagPadding)), ReadResult::kCorrupt);
  EXPECT_EQ(ReadHeader(kPaddingHeader), ReadResult::kCorrupt) << "padding at offset 0";
  EXPECT_EQ(ReadHeader(~uint64_t{0}), ReadResult::kCorrupt);
}

TEST_F(HostileProducerTest, PaddingWithoutARecordIsRefused) {
  StoreWord(ring_.view(), 0, internal::MakeHeader(0, 0));
  ASSERT_EQ(Read(), ReadResult::kOk);
  StoreWord(ring_.view(), 0, 0);
  StoreWord(ring_.view(), 8, kPaddingHeader);
  EXPECT_EQ(Read(), ReadResult::kCorrupt);
}

TEST_F(HostileProducerTest, PaddingBehindPaddingIsRefused) {
  StoreWord(ring_.view(), 0, internal::MakeHeader(0, 0));
  ASSERT_EQ(Read(), ReadResult::kOk);
  StoreWord(ring_.view(), 8, kPaddingHeader);
  StoreWord(ring_.view(), 0, kPaddingHeader);
  EXPECT_EQ(Read(), ReadResult::kCorrupt);
}

TEST_F(HostileProducerTest, ARecordAcrossTheEndIsRefused) {
  for (uint64_t offset = 0; offset < kCapacity - 8; offset += 8) {
    StoreWord(ring_.view(), offset, internal::MakeHeader(0, 0));
    ASSERT_EQ(Read(), ReadResult::kOk);
  }
  // Its header is the last word of the data area.
  StoreWord(ring_.view(), kCapacity - 8, internal::MakeHeader(1, 0));
  EXPECT_EQ(Read(), ReadResult::kCorrupt);
}

TEST_F(HostileProducerTest, AnEmptyRecordInTheLastWordIsRead) {
  for (uint64_t offset = 0; offset < kCapacity; offset += 8) {
    StoreWord(ring_.view(), offset, internal::MakeHeader(0, 0));
    ASSERT_EQ(Read(), ReadResult::kOk);
    ASSERT_TRUE(InsideData(ring_.view(), view_.data, view_.size));
  }
}

TEST_F(HostileProducerTest, AlignedRecordsStayInsideWhateverTheOffset) {
  GuardedRing ring(32768);
  for (uint64_t offset = 0; offset < 32768; offset += 8) {
    ring.Reset();
    SpscConsumer<> consumer(ring.view());
    for (uint64_t before = 0; before < offset; before += 8) {
      StoreWord(ring.view(), before, internal::MakeHeader(0, 0));
      ASSERT_EQ(consumer.TryRead(&view_), ReadResult::kOk);
    }
    StoreWord(ring.view(), offset, internal::MakeHeader(4096, 0));
    if (consumer.TryRead(&view_) == ReadResult::kOk) {
      ASSERT_TRUE(InsideData(ring.view(), view_.data, view_.size)) << offset;
    }
    offset += offset < 28000 && offset > 256 ? 1000 : 0;  // both ends of the ring, less between
  }
}

TEST_F(HostileProducerTest, TailsThatCannotBeAreRefused) {
  // Far ahead, not a multiple of 8, ahead of an empty header; each on a fresh ring.
  for (const uint64_t tail :
       {kCapacity + 8, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{4}, uint64_t{8}, kCapacity}) {
    ring_.Reset();
    SpscConsumer<> consumer(ring_.view());
    ring_.view().descriptor->tail.store(tail);
    EXPECT_EQ(consumer.TryRead(&view_), ReadResult::kCorrupt) << tail;
    EXPECT_FALSE(consumer.Arm());
  }
}

TEST_F(HostileProducerTest, ATailThatGoesBackIsRefused) {
  StoreWord(ring_.view(), 0, internal::MakeHeader(0, 0));
  ring_.view().descriptor->tail.store(8);
  ASSERT_EQ(Read(), ReadResult::kOk);
  ring_.view().descriptor->tail.store(0);
  EXPECT_EQ(Read(), ReadResult::kCorrupt);
}

TEST_F(HostileProducerTest, AnyWaitForRoomIsOnlyAHint) {
  for (const uint64_t want : {uint64_t{0}, uint64_t{1}, uint64_t{8}, kCapacity, ~uint64_t{0}}) {
    ring_.view().descriptor->space_want.store(want);
    EXPECT_FALSE(consumer_.NeedsSpaceWake()) << "nothing was released";
  }
  EXPECT_EQ(Read(), ReadResult::kEmpty);
}

TEST(HostileConsumerTest, HeadsThatCannotBeAreRefused) {
  // Before the last one, beyond what is published, not a multiple of 8.
  for (const uint64_t head :
       {kCapacity, uint64_t{64} * 63 + 8, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{12}}) {
    GuardedRing ring(kCapacity);
    SpscProducer<> producer(ring.view());
    std::vector<std::byte> bytes(56);
    while (producer.TryWrite(bytes) == WriteResult::kOk) {
    }
    ring.view().descriptor->head.store(head);
    EXPECT_EQ(producer.TryWrite(bytes), WriteResult::kCorrupt) << head;
    EXPECT_TRUE(producer.corrupt());
    ring.view().descriptor->head.store(64);
    EXPECT_EQ(producer.TryWrite(bytes), WriteResult::kCorrupt) << "once corrupt, always corrupt";
    EXPECT_FALSE(producer.HasRoom(0));
    EXPECT_TRUE(producer.ArmSpace(0)) << "do not sleep: there is an answer";
  }
}

TEST(HostileConsumerTest, ANonsenseHeadThatAPublicationMeetsTakesNothingBack) {
  GuardedRing ring(kCapacity);
  SpscProducer<> producer(ring.view());
  std::byte* payload = nullptr;
  for (uint64_t i = 0; i < kBatchRecords; ++i) {
    ASSERT_EQ(producer.TryClaim(8, 0, &payload), WriteResult::kOk);
    std::memset(payload, static_cast<int>(i), 8);
    ring.view().descriptor->head.store(uint64_t{1} << 60);
    producer.Commit();  // the last one publishes, while its claim is open
  }
  EXPECT_TRUE(producer.corrupt());
  EXPECT_EQ(producer.published_records(), kBatchRecords);
  EXPECT_EQ(producer.TryClaim(8, 0, &payload), WriteResult::kCorrupt);
  EXPECT_TRUE(producer.ArmSpace(8)) << "nothing to sleep for";
  SpscConsumer<> consumer(ring.view());
  RecordView view;
  for (uint64_t i = 0; i < kBatchRecords; ++i) {
    ASSERT_EQ(consumer.TryRead(&view), ReadResult::kOk) << i;
    EXPECT_EQ(view.data[7], static_cast<std::byte>(i));
  }
  EXPECT_EQ(consumer.TryRead(&view), ReadResult::kEmpty);
}

TEST(HostileConsumerTest, AHeadThatGoesBackIsRefused) {
  GuardedRing ring(kCapacity);
  SpscProducer<> producer(ring.view());
  std::vector<std::byte> bytes(56);
  while (producer.TryWrite(bytes) == WriteResult::kOk) {
  }
  ring.view().descriptor->head.store(128);
  EXPECT_EQ(producer.TryWrite(bytes), WriteResult::kOk);
  ring.view().descriptor->head.store(64);
  EXPECT_EQ(producer.TryWrite(bytes), WriteResult::kOk) << "what is known to be free stays so";
  EXPECT_EQ(producer.TryWrite(bytes), WriteResult::kCorrupt);
}

TEST(HostileConsumerTest, WantsOutsideTheRingAreUnarmed) {
  GuardedRing ring(kCapacity);
  SpscProducer<> producer(ring.view());
  ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  producer.Publish();
  EXPECT_TRUE(producer.NeedsWake());
  for (const uint64_t want : {uint64_t{0}, uint64_t{16}, kCapacity, ~uint64_t{0}}) {
    ring.view().descriptor->want.store(want);
    ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
    producer.Publish();
    EXPECT_EQ(producer.NeedsWake(), want == 16) << want;
  }
}

// Values that are close to valid, which random words never are.
uint64_t NastyWord(uint64_t random, uint64_t near) {
  switch (random % 8) {
    case 0:
      return 0;
    case 1:
      return internal::MakeHeader((random >> 8) % (kMax + 2), 0);
    case 2:
      return kPaddingHeader;
    case 3:
      return near + 8 * ((random >> 8) % 16);
    case 4:
      return near - 8 * ((random >> 8) % 16);
    case 5:
      return near + kCapacity;
    case 6:
      return internal::MakeHeader((random >> 8) % kMax, 0x7F) |
             (random % 16 < 8 ? 0 : internal::kEndsOnPair);
    default:
      return random;
  }
}

// Overwrites one word that one of the two ends writes, or any word of the data area.
void CorruptOneWord(const RingView& ring, uint64_t random, uint64_t near) {
  const uint64_t value = NastyWord(random, near);
  RingDescriptor* descriptor = ring.descriptor;
  switch ((random >> 40) % 13) {
    case 0:
      return descriptor->tail.store(value);
    case 1:
      return descriptor->head.store(value);
    case 2:
      return descriptor->want.store(value);
    case 3:
      return descriptor->space_want.store(value);
    case 4:
      return descriptor->records_released.store(value);
    case 5:
      return descriptor->records_read.store(value);
    default:
      // Mostly where the next headers are.
      const uint64_t offset = (random >> 32) % 4 == 0 ? random >> 16 : near + 8 * (random % 8);
      return StoreWord(ring, (offset & (kCapacity - 1)) & ~uint64_t{7}, value);
  }
}

TEST(HostilePeerFuzzTest, RandomCorruptionBetweenCallsNeverLeavesTheRing) {
  constexpr uint64_t kSeed = 20240229;
  RecordProperty("seed", static_cast<int>(kSeed));
  GuardedRing ring(kCapacity);
  uint64_t random = kSeed;
  uint64_t corrupt = 0;
  uint64_t records = 0;
  const std::vector<std::byte> written(kMax);
  for (int round = 0; round < 3000; ++round) {
    ring.Reset();
    SpscProducer<> producer(ring.view());
    SpscConsumer<> consumer(ring.view());
    for (int step = 0; step < 400 && !producer.corrupt() && !consumer.corrupt(); ++step) {
      random = Mix(random);
      if (step > 100 && random % 16 == 0)
        CorruptOneWord(ring.view(), Mix(random), consumer.position());
      std::byte* payload = nullptr;
      const size_t size = (random >> 8) % (kMax + 1);
      if (step % 2 == 0) {
        (void)producer.TryWrite(std::span(written).first(size));
      } else if (producer.TryClaim(size, 0, &payload) == WriteResult::kOk) {
        ASSERT_TRUE(InsideData(ring.view(), payload, size));
        std::memset(payload, static_cast<int>(random), size);
        producer.Commit();
      } else {
        (void)producer.ArmSpace(size);
      }
      if (random % 3 == 0) producer.Publish();
      (void)producer.NeedsWake();
      RecordView view;
      while (consumer.TryRead(&view) == ReadResult::kOk && ++records % 7 != 0) {
        ASSERT_TRUE(InsideData(ring.view(), view.data, view.size));
        consumer.Release();
      }
      (void)consumer.NeedsSpaceWake();
      if (random % 5 == 0) (void)consumer.Arm();
    }
    corrupt += producer.corrupt() || consumer.corrupt();
    const RingCheck check = ValidateRing(ring.view());
    ASSERT_TRUE(check.ok()) << "an end wrote outside the data area; round " << round;
  }
  EXPECT_GT(corrupt, 1000u);
  EXPECT_GT(records, 100'000u);
}

TEST(HostilePeerFuzzTest, CorruptionWhileBothEndsRunNeverLeavesTheRing) {
#if defined(IVMQ_RINGBUF_TSAN)
  GTEST_SKIP() << "corrupting payloads while they are read is a race on purpose";
#endif
  GuardedRing ring(kCapacity);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> near{0};
  std::thread vandal([&] {
    for (uint64_t random = 7; !stop.load(); random = Mix(random)) {
      CorruptOneWord(ring.view(), random, near.load(std::memory_order_relaxed));
      for (uint64_t i = 0; i < random % 256; ++i) StdAtomics::Pause();
    }
  });
  uint64_t records = 0;
  for (int round = 0; round < 3000; ++round) {
    ring.Reset();
    std::atomic<bool> written{false};
    std::thread writer([&] {
      SpscProducer<> producer(ring.view());
      for (uint64_t i = 0; i < 500; ++i) {
        const size_t size = Mix(i) % (kMax + 1);
        std::byte* payload = nullptr;
        const WriteResult result = producer.TryClaim(size, 0, &payload);
        if (result == WriteResult::kCorrupt) break;
        if (result != WriteResult::kOk) continue;
        if (!InsideData(ring.view(), payload, size)) std::abort();
        std::memset(payload, 0x5A, size);
        producer.Commit();
        (void)producer.NeedsWake();
      }
      producer.Publish();
      written.store(true);
    });
    SpscConsumer<> consumer(ring.view());
    RecordView view;
    for (int i = 0; i < 500 || !written.load(); ++i) {
      const ReadResult result = consumer.TryRead(&view);
      if (result == ReadResult::kCorrupt) break;
      near.store(consumer.position(), std::memory_order_relaxed);
      if (result != ReadResult::kOk) continue;
      ++records;
      ASSERT_TRUE(InsideData(ring.view(), view.data, view.size));
      consumer.Release();
      (void)consumer.NeedsSpaceWake();
    }
    writer.join();
  }
  stop.store(true);
  vandal.join();
  EXPECT_GT(records, 0u);
}

}  // namespace
}  // namespace ivmq::ringbuf
