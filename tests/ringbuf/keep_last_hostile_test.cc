// One side of a slot ring writes nonsense; the other must neither crash, hang nor leave its slots.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/keep_last_producer.h"
#include "tests/ringbuf/guarded_keep_last.h"
#include "tests/ringbuf/self_checking_record.h"

namespace ivmq::ringbuf {
namespace {

constexpr uint64_t kDepth = 4;
constexpr uint64_t kMax = 200;

void StoreWord(const KeepLastView& view, uint64_t slot, uint64_t offset, uint64_t value) {
  StdAtomics::StoreWord(view.slots, slot * SlotBytes(view.max_message_bytes) + offset, value);
}

class HostileKeepLastProducerTest : public testing::Test {
 protected:
  // What comes of a slot 0 with this sequence and header, and of a count.
  ReadResult Read(uint64_t sequence, uint64_t header, uint64_t published) {
    slots_.Reset();
    StoreWord(slots_.view(), 0, 0, sequence);
    StoreWord(slots_.view(), 0, 8, header);
    slots_.view().descriptor->published.store(published);
    CopyingConsumer reader(slots_.view());
    const ReadResult result = reader.Read();
    size_ = reader.message.size;
    if (result == ReadResult::kCorrupt) {
      slots_.Reset();
      EXPECT_EQ(reader.Read(), ReadResult::kCorrupt) << "once corrupt, always corrupt";
      EXPECT_TRUE(reader.consumer.corrupt());
      EXPECT_TRUE(reader.consumer.HasNext());
      EXPECT_FALSE(reader.consumer.Arm()) << "nobody sleeps on a corrupt link";
    }
    return result;
  }

  GuardedKeepLast slots_{kDepth, kMax};
  uint64_t size_ = 0;
};

TEST_F(HostileKeepLastProducerTest, LengthsUpToTheLargestAreReadAndNotOneMore) {
  EXPECT_EQ(Read(2, 0, 1), ReadResult::kOk);
  EXPECT_EQ(size_, 0u);
  EXPECT_EQ(Read(2, kMax, 1), ReadResult::kOk);
  EXPECT_EQ(size_, kMax);
  for (const uint64_t length : {kMax + 1, uint64_t{0x7FFFFFFF}, uint64_t{0xFFFFFFFF}}) {
    EXPECT_EQ(Read(2, length, 1), ReadResult::kCorrupt) << length;
  }
}

TEST_F(HostileKeepLastProducerTest, HeadersThatNoProducerWritesAreRefused) {
  EXPECT_EQ(Read(2, internal::MakeSlotHeader(8, 0x7F), 1), ReadResult::kOk);
  EXPECT_EQ(Read(2, internal::MakeSlotHeader(8, 0x80), 1), ReadResult::kCorrupt);
  EXPECT_EQ(Read(2, uint64_t{1} << 40 | 8, 1), ReadResult::kCorrupt);
  EXPECT_EQ(Read(2, ~uint64_t{0}, 1), ReadResult::kCorrupt);
}

TEST_F(HostileKeepLastProducerTest, SequencesThatNoProducerWritesAreRefused) {
  EXPECT_EQ(Read(0, 0, 0), ReadResult::kEmpty);
  EXPECT_EQ(Read(1, 0, 0), ReadResult::kEmpty) << "being written";
  // Ahead of a count that would explain it.
  for (const uint64_t sequence :
       {uint64_t{3}, uint64_t{4}, uint64_t{12}, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(Read(sequence, 0, 1), ReadResult::kCorrupt) << sequence;
    EXPECT_EQ(Read(sequence, 0, kDepth), ReadResult::kCorrupt) << sequence;
  }
}

TEST_F(HostileKeepLastProducerTest, CountsThatCannotBeAreRefused) {
  for (const uint64_t published : {uint64_t{0}, uint64_t{8}, uint64_t{1000}, uint64_t{1} << 62,
                                   uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(Read(WholeSequence(kDepth + 1), 0, published), ReadResult::kCorrupt) << published;
  }
}

TEST_F(HostileKeepLastProducerTest, ASequenceOrACountThatGoesBackIsRefused) {
  KeepLastProducer<> producer(slots_.view());
  CopyingConsumer reader(slots_.view());
  for (int i = 0; i < 20; ++i) ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  ASSERT_EQ(reader.Read(), ReadResult::kOk);
  ASSERT_EQ(reader.message.sequence, 16u);
  ASSERT_EQ(reader.Read(), ReadResult::kOk);
  StoreWord(slots_.view(), 18 % (kDepth + 1), 0, WholeSequence(13));
  EXPECT_EQ(reader.Read(), ReadResult::kCorrupt) << "below the count that we know";

  slots_.Reset();
  KeepLastProducer<> another(slots_.view());
  CopyingConsumer second(slots_.view());
  for (int i = 0; i < 20; ++i) ASSERT_EQ(another.TryWrite({}), WriteResult::kOk);
  ASSERT_EQ(second.Read(), ReadResult::kOk);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(another.TryWrite({}), WriteResult::kOk);
  slots_.view().descriptor->published.store(19);
  EXPECT_EQ(second.Read(), ReadResult::kCorrupt);
}

TEST(HostileKeepLastConsumerTest, NothingItWritesHoldsUpOrMisleadsAWriter) {
  for (const uint64_t value :
       {uint64_t{0}, uint64_t{1}, uint64_t{50}, uint64_t{101}, uint64_t{1} << 63, ~uint64_t{0}}) {
    GuardedKeepLast slots(kDepth, kMax);
    KeepLastProducer<> producer(slots.view());
    KeepLastDescriptor& words = *slots.view().descriptor;
    for (int i = 0; i < 100; ++i) {
      words.want.store(value);
      words.released.store(value);
      words.lost.store(value);
      ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
      (void)producer.NeedsWake();
    }
    EXPECT_EQ(producer.published(), 100u);
    const uint64_t in_flight = producer.InFlight();
    EXPECT_EQ(producer.corrupt(), value > 50) << value;
    EXPECT_EQ(in_flight, value > 50 ? 0 : 100 - 2 * value);
    EXPECT_EQ(producer.TryWrite({}), WriteResult::kOk) << "writing goes on";
  }
}

TEST(HostileKeepLastConsumerTest, CountsThatGoBackAreRefused) {
  GuardedKeepLast slots(kDepth, kMax);
  KeepLastProducer<> producer(slots.view());
  for (int i = 0; i < 10; ++i) ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  slots.view().descriptor->released.store(5);
  EXPECT_EQ(producer.InFlight(), 5u);
  slots.view().descriptor->released.store(4);
  EXPECT_TRUE(producer.AllConsumed()) << "nobody waits for a corrupt consumer";
  EXPECT_TRUE(producer.corrupt());
}

// Nonsense that is near the truth, where checks go wrong.
uint64_t NastyWord(std::mt19937_64* random, uint64_t near) {
  switch ((*random)() % 7) {
    case 0:
      return 0;
    case 1:
      return near + (*random)() % 24;
    case 2:
      return near - (*random)() % 24;
    case 3:
      return WholeSequence(near) + (*random)() % 40 - 20;
    case 4:
      return internal::MakeSlotHeader((*random)() % (kMax + 8), static_cast<uint8_t>((*random)()));
    case 5:
      return uint64_t{1} << ((*random)() % 64);
    default:
      return (*random)();
  }
}

// Overwrites a word that moves, or of a slot; mostly its first two.
void CorruptOneWord(const KeepLastView& view, std::mt19937_64* random, uint64_t near) {
  KeepLastDescriptor* words = view.descriptor;
  std::atomic<uint64_t>* const moving[] = {&words->want, &words->published, &words->released,
                                           &words->lost};
  const uint64_t value = NastyWord(random, near);
  const uint64_t which = (*random)() % 8;
  if (which < std::size(moving)) return moving[which]->store(value);
  const uint64_t words_in_slot = which == 7 ? SlotBytes(kMax) / 8 : 2;
  StoreWord(view, (*random)() % (kDepth + 1), 8 * ((*random)() % words_in_slot), value);
}

TEST(HostileKeepLastFuzzTest, RandomCorruptionBetweenCallsNeverLeavesTheSlots) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  std::mt19937_64 random(seed);
  GuardedKeepLast slots(kDepth, kMax);
  uint64_t corrupt = 0;
  uint64_t messages = 0;
  for (int round = 0; round < 3000; ++round) {
    slots.Reset();
    KeepLastProducer<> producer(slots.view());
    CopyingConsumer reader(slots.view());
    for (int step = 0; step < 200 && !reader.consumer.corrupt(); ++step) {
      if (step > 50 && random() % 16 == 0) {
        CorruptOneWord(slots.view(), &random, reader.consumer.position());
      }
      const std::vector<std::byte> payload(random() % (kMax + 1));
      for (uint64_t i = random() % 8; i > 0; --i) {
        ASSERT_EQ(producer.TryWrite(payload), WriteResult::kOk);
      }
      (void)producer.NeedsWake();
      (void)producer.InFlight();
      for (uint64_t i = random() % 8; i > 0 && reader.Read() == ReadResult::kOk; --i) {
        ASSERT_LE(reader.message.size, kMax);
        reader.consumer.Release();
        ++messages;
      }
      if (random() % 4 == 0) (void)reader.consumer.Arm();
    }
    corrupt += reader.consumer.corrupt();
    ASSERT_TRUE(ValidateKeepLast(slots.view()).ok()) << "wrote outside; round " << round;
  }
  EXPECT_GT(corrupt, 300u);
  EXPECT_GT(messages, 100'000u);
}

TEST(HostileKeepLastFuzzTest, CorruptionWhileBothEndsRunNeverLeavesTheSlots) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  GuardedKeepLast slots(kDepth, kMax);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 500; ++round) {
    slots.Reset();
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> near{0};
    std::thread vandal([&] {
      while (!stop.load()) {
        CorruptOneWord(slots.view(), &random, near.load(std::memory_order_relaxed));
        for (uint64_t i = random() % 256; i > 0; --i) StdAtomics::Pause();
      }
    });
    std::thread writer([&] {
      KeepLastProducer<> producer(slots.view());
      const std::vector<std::byte> payload(kMax);
      for (uint64_t i = 0; i < 2000; ++i) {
        if (producer.TryWrite(std::span(payload).first(Mix(i) % (kMax + 1))) != WriteResult::kOk) {
          std::abort();
        }
        (void)producer.NeedsWake();
      }
    });
    CopyingConsumer reader(slots.view());
    for (int i = 0; i < 1000; ++i) {
      const ReadResult result = reader.Read();
      near.store(reader.consumer.position(), std::memory_order_relaxed);
      if (result == ReadResult::kCorrupt) break;
      if (result != ReadResult::kOk) continue;
      ASSERT_LE(reader.message.size, kMax);
      reader.consumer.Release();
    }
    writer.join();
    stop.store(true);
    vandal.join();
    ASSERT_TRUE(ValidateKeepLast(slots.view()).ok()) << "wrote outside; round " << round;
  }
}

}  // namespace
}  // namespace ivmq::ringbuf
