#include "broker/control/ring_reading.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"

namespace ivmq::control {
namespace {

using ringbuf::ReadResult;
using ringbuf::RecordView;
using ringbuf::WriteResult;
using testing::HasSubstr;

constexpr uint64_t kOffset = 8192;
constexpr uint64_t kCapacity = 4096;

// A region with one ring.
struct Yard {
  Yard() { ringbuf::InitializeRing(memory(), kCapacity); }
  std::byte* memory() { return region.get() + kOffset; }
  ringbuf::RingView ring() { return ringbuf::RingAt(memory(), kCapacity); }
  RingReading Read() { return ReadRing({region.get(), kBytes}, kOffset, kCapacity); }
  ReadingProgress Progress() { return ReadProgress({region.get(), kBytes}, kOffset, kCapacity); }
  void Store(size_t offset, uint64_t word) { std::memcpy(memory() + offset, &word, 8); }

  static constexpr size_t kBytes = kOffset + ringbuf::RingBytes(kCapacity);
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> region{
      static_cast<std::byte*>(std::aligned_alloc(4096, (kBytes + 4095) / 4096 * 4096))};
};

TEST(RingReadingTest, CountsWhatLiesBetweenHeadAndEndThroughManyLaps) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  Yard yard;
  ringbuf::SpscProducer<> producer(yard.ring());
  ringbuf::SpscConsumer<> consumer(yard.ring(), {.publish_every_release = true});
  uint64_t read = 0;
  for (int step = 0; step < 20'000; ++step) {
    const std::vector<std::byte> payload(random() % 512);
    if (random() % 2 == 0) {
      if (producer.TryWrite(payload) == WriteResult::kOk && random() % 4 != 0) producer.Publish();
    } else {
      RecordView record;
      if (consumer.TryRead(&record) == ReadResult::kOk) ++read;
      consumer.Release();
    }
    const RingReading reading = yard.Read();
    ASSERT_EQ(reading.trouble, "");
    ASSERT_TRUE(reading.still);
    ASSERT_EQ(reading.published_least, producer.published_records());
    ASSERT_EQ(reading.published_most, producer.published_records());
    ASSERT_EQ(reading.read, read);
    ASSERT_EQ(reading.in_ring, producer.published_records() - read);
  }
}

TEST(RingReadingTest, DoesNotCountWhatIsStagedAndCountsWhatTheTailDoesNotTellYet) {
  Yard yard;
  ringbuf::SpscProducer<> producer(yard.ring());
  EXPECT_EQ(yard.Read().published_most, 0u);
  ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  EXPECT_EQ(yard.Read().published_most, 0u);
  producer.Publish();
  EXPECT_EQ(yard.Read().published_least, 1u);
  EXPECT_EQ(yard.ring().descriptor->tail.load(), 0u);
}

TEST(RingReadingTest, KnowsWhetherMoreIsThereForItsReader) {
  Yard yard;
  ringbuf::SpscProducer<> producer(yard.ring());
  ringbuf::SpscConsumer<> consumer(yard.ring(), {.publish_every_release = true});
  ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  EXPECT_FALSE(yard.Progress().unread) << "it is staged";
  producer.Publish();
  producer.MirrorCounters();
  EXPECT_TRUE(yard.Progress().unread);
  RecordView record;
  ASSERT_EQ(consumer.TryRead(&record), ReadResult::kOk);
  consumer.Release();
  EXPECT_FALSE(yard.Progress().unread);
  EXPECT_EQ(yard.Progress().read, 1u);
}

TEST(RingReadingTest, GivesBoundsWhereTheTwoEndsDisagree) {
  Yard yard;
  ringbuf::SpscProducer<> producer(yard.ring());
  for (int i = 0; i < 10; ++i) ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  producer.Publish();
  producer.MirrorCounters();
  yard.Store(136, 8);  // as of a publisher that died between its two words
  const RingReading reading = yard.Read();
  EXPECT_EQ(reading.trouble, "");
  EXPECT_EQ(reading.published_least, 8u);
  EXPECT_EQ(reading.published_most, 10u);
}

TEST(RingReadingTest, SaysWhatIsWrong) {
  struct Case {
    size_t offset;
    uint64_t word;
    const char* what;
  };
  const Case cases[] = {
      {0, 1, "magic"},
      {8, 77, "version"},
      {16, 8192, "capacity"},
      {256, 4, "head 4"},
      {128, 12, "tail 12"},
      {128, 1 << 20, "further apart"},
      {256, 1 << 20, "further apart"},
      {256, ~uint64_t{7}, "further apart"},
      {264, 1000, "1000 records were released"},
      {264, 1, "0 records were read, of 1 released"},
      {384, 2, "2 records were read, of 0 released to 1 published"},
      {136, 1000, "1000 records were published"},
      {512, 5000, "at position 0 is none"},
      {512, uint64_t{0x81} << 32 | 1, "at position 0 is none"},
      {512, ~uint64_t{0}, "at position 0 is none"},
      {128, 8, "no record ends at its tail 8"},
  };
  for (const Case& each : cases) {
    Yard yard;
    ringbuf::SpscProducer<> producer(yard.ring());
    const std::byte payload[16] = {};
    ASSERT_EQ(producer.TryWrite(payload), WriteResult::kOk);
    producer.Publish();
    yard.Store(each.offset, each.word);
    const RingReading reading = yard.Read();
    EXPECT_THAT(reading.trouble, HasSubstr(each.what)) << each.offset << " " << each.word;
  }
  Yard yard;
  for (uint64_t at = 0; at < kCapacity; at += 8) yard.Store(512 + at, 1);  // empty records all over
  EXPECT_THAT(yard.Read().trouble, HasSubstr("no end comes within a lap"));
  const std::span<std::byte> region{yard.region.get(), Yard::kBytes};
  EXPECT_FALSE(ReadRing(region, kOffset + 64, kCapacity).sound());
  EXPECT_FALSE(ReadRing(region, ~uint64_t{63}, kCapacity).sound());
  EXPECT_FALSE(ReadRing(region, kOffset, 12288).sound());
}

TEST(RingReadingTest, EndsWhateverIsThere) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937_64 random(seed);
  Yard yard;
  int sound = 0;
  for (int round = 0; round < 20'000; ++round) {
    for (int i = 0; i < 4; ++i) {
      const size_t word = random() % 2 == 0 ? random() % 64 : 64 + random() % (kCapacity / 8);
      uint64_t value = random();
      if (random() % 4 != 0) value %= uint64_t{1} << (random() % 40);
      if (random() % 2 == 0) value &= ~uint64_t{7};
      if (word > 2) yard.Store(word * 8, value);
    }
    const RingReading reading = yard.Read();
    sound += reading.sound() ? 1 : 0;
    EXPECT_LE(reading.published_least, reading.published_most);
  }
  std::printf("%d of 20000 could be a ring\n", sound);
}

TEST(RingReadingTest, GivesTrueBoundsWhileBothEndsAreBusy) {
  Yard yard;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> written{0};
  std::atomic<uint64_t> consumed{0};
  std::thread writer([&] {
    ringbuf::SpscProducer<> producer(yard.ring());
    while (!stop) {
      if (producer.TryWrite({}) != WriteResult::kOk) continue;
      written.fetch_add(1);  // before it is visible
      producer.Publish();
    }
  });
  std::thread reader([&] {
    ringbuf::SpscConsumer<> consumer(yard.ring());
    RecordView record;
    while (!stop) {
      if (consumer.TryRead(&record) != ReadResult::kOk) continue;
      consumed.fetch_add(1);  // before it is reported
      consumer.Release();
    }
  });
  while (consumed < 10'000) std::this_thread::yield();
  for (int i = 0; i < 2000; ++i) {
    const uint64_t least = consumed.load();
    const RingReading reading = yard.Read();
    ASSERT_EQ(reading.trouble, "");
    ASSERT_LE(reading.published_least, written.load());
    ASSERT_LE(reading.read, consumed.load());
    // A record is published before it is consumed, and reported at least every 32.
    ASSERT_GE(reading.published_most + 64, least);
  }
  stop = true;
  writer.join();
  reader.join();
}

}  // namespace
}  // namespace ivmq::control
