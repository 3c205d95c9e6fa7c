#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "broker/control/ring_reading.h"
#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/keep_last_producer.h"

namespace ivmq::control {
namespace {

using ringbuf::ReadResult;
using ringbuf::WriteResult;
using testing::HasSubstr;

constexpr uint64_t kOffset = 8192;
constexpr uint64_t kDepth = 4;
constexpr uint64_t kMessageBytes = 40;
constexpr size_t kSlotBytes = ringbuf::SlotBytes(kMessageBytes);

// A region with one slot ring.
struct Yard {
  Yard() { ringbuf::InitializeKeepLast(memory(), kDepth, kMessageBytes); }
  std::byte* memory() { return region.get() + kOffset; }
  ringbuf::KeepLastView ring() { return ringbuf::KeepLastAt(memory(), kDepth, kMessageBytes); }
  RingReading Read() {
    return ReadKeepLast({region.get(), kBytes}, kOffset, kDepth, kMessageBytes);
  }
  ReadingProgress Progress() {
    return ReadKeepLastProgress({region.get(), kBytes}, kOffset, kDepth, kMessageBytes);
  }
  void Store(size_t offset, uint64_t word) { std::memcpy(memory() + offset, &word, 8); }

  static constexpr size_t kBytes = kOffset + ringbuf::KeepLastBytes(kDepth, kMessageBytes);
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> region{
      static_cast<std::byte*>(std::aligned_alloc(4096, (kBytes + 4095) / 4096 * 4096))};
};

TEST(KeepLastReadingTest, CountsWhatWasOverwrittenWhetherNoticedOrNot) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  Yard yard;
  ringbuf::KeepLastProducer<> producer(yard.ring());
  ringbuf::KeepLastConsumer<> consumer(yard.ring());
  std::vector<uint64_t> copy(consumer.CopyWords());
  uint64_t written = 0;
  uint64_t read = 0;
  uint64_t lost = 0;
  for (int step = 0; step < 20'000; ++step) {
    for (uint64_t burst = random() % 8; burst > 0; --burst, ++written) {
      ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
    }
    ringbuf::KeptMessage message;
    for (uint64_t take = random() % 6; take > 0; --take) {
      if (consumer.TryRead(copy.data(), &message) != ReadResult::kOk) break;
      ++read;
      lost += message.lost;
      consumer.Release();
    }
    const RingReading reading = yard.Read();
    ASSERT_EQ(reading.trouble, "");
    ASSERT_TRUE(reading.still);
    ASSERT_EQ(reading.published_least, written);
    ASSERT_EQ(reading.published_most, written);
    ASSERT_EQ(reading.read, read);
    ASSERT_EQ(reading.read + reading.overwritten_most + reading.in_ring, written);
    ASSERT_GE(reading.overwritten_least, lost);
    ASSERT_LE(reading.in_ring, kDepth);
    const ReadingProgress progress = yard.Progress();
    ASSERT_EQ(progress.read, read);
    ASSERT_EQ(progress.unread, written > read + lost);
  }
}

TEST(KeepLastReadingTest, CountsAMessageWhosePublisherDiedBeforeItCountedIt) {
  Yard yard;
  ringbuf::KeepLastProducer<> producer(yard.ring());
  for (int i = 0; i < 7; ++i) ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
  yard.Store(128, 6);
  EXPECT_EQ(yard.Read().published_least, 7u);
  EXPECT_EQ(yard.Read().trouble, "");
}

TEST(KeepLastReadingTest, SaysWhatIsWrong) {
  struct Case {
    size_t offset;
    uint64_t word;
    const char* what;
  };
  const Case cases[] = {
      {0, 1, "magic number"},
      {16, 5, "another depth"},
      {128, 8, "8 were published, its newest slot 7"},
      {128, 5, "5 were published, its newest slot 7"},
      {128, ~uint64_t{0}, "its newest slot 7"},
      {256, 8, "8 released"},
      {272, 8, "8 were read"},
      {264, ~uint64_t{0}, "lost of 7"},
      {384, 4, "slot 0 says that it holds message 1"},
      {384 + kSlotBytes, ~uint64_t{0}, "slot 1 says"},
  };
  for (const Case& each : cases) {
    Yard yard;
    ringbuf::KeepLastProducer<> producer(yard.ring());
    for (int i = 0; i < 7; ++i) ASSERT_EQ(producer.TryWrite({}), WriteResult::kOk);
    yard.Store(each.offset, each.word);
    EXPECT_THAT(yard.Read().trouble, HasSubstr(each.what)) << each.offset << " " << each.word;
  }
  Yard yard;
  const std::span<std::byte> region{yard.region.get(), Yard::kBytes};
  EXPECT_FALSE(ReadKeepLast(region, kOffset + 64, kDepth, kMessageBytes).sound());
  EXPECT_FALSE(ReadKeepLast(region, kOffset, kDepth + 1, kMessageBytes).sound());
  EXPECT_FALSE(ReadKeepLast(region, kOffset, 0, kMessageBytes).sound());
  EXPECT_FALSE(ReadKeepLast(region, ~uint64_t{63}, kDepth, kMessageBytes).sound());
}

TEST(KeepLastReadingTest, EndsWhateverIsThere) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937_64 random(seed);
  Yard yard;
  for (int round = 0; round < 20'000; ++round) {
    const size_t words = (Yard::kBytes - kOffset) / 8;
    for (int i = 0; i < 4; ++i) {
      const size_t word = 4 + random() % (words - 4);
      yard.Store(word * 8, random() >> (random() % 64));
    }
    const RingReading reading = yard.Read();
    EXPECT_LE(reading.published_least, reading.published_most);
    EXPECT_LE(reading.overwritten_least, reading.overwritten_most);
  }
}

}  // namespace
}  // namespace ivmq::control
