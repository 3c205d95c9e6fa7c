// Both ends of a slot ring at full speed: the writer never waits, the reader takes what it can get,
// and all of it adds up. Two threads; two processes with unrelated mappings; and wake-ups.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <memory>
#include <thread>
#include <vector>

#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/keep_last_producer.h"
#include "tests/ringbuf/guarded_keep_last.h"
#include "tests/ringbuf/self_checking_record.h"

namespace ivmq::ringbuf {
namespace {

constexpr uint64_t kSeed = 0x51075;
constexpr uint64_t kMax = 1000;

#if defined(IVMQ_RINGBUF_TSAN) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kMessages = 40'000;
#else
constexpr uint64_t kMessages = 400'000;
#endif

// Writes `count` messages, resting now and then so that a reader gets some in a row.
void Produce(const KeepLastView& view, uint64_t count) {
  KeepLastProducer<> producer(view);
  std::vector<std::byte> payload(kMax);
  for (uint64_t i = 0; i < count; ++i) {
    const SelfCheckingRecord record(kSeed, i, kMax);
    record.Fill(payload.data());
    if (producer.TryWrite(std::span(payload).first(record.size()), record.flags()) !=
        WriteResult::kOk) {
      std::abort();
    }
    if (Mix(i) % 64 == 0) std::this_thread::yield();
    for (uint64_t pauses = Mix(i) >> 8 & 0x3F; pauses > 0; --pauses) StdAtomics::Pause();
  }
}

// Reads and checks until message `count - 1`, which is never overwritten. Returns how many came, or
// 0 if one was wrong or not accounted for.
uint64_t Consume(const KeepLastView& view, uint64_t count) {
  CopyingConsumer reader(view);
  uint64_t next = 0;
  uint64_t came = 0;
  while (next < count) {
    const ReadResult result = reader.Read();
    if (result == ReadResult::kCorrupt) return 0;
    if (result == ReadResult::kEmpty) {
      std::this_thread::yield();
      continue;
    }
    if (reader.message.sequence != next + reader.message.lost) return 0;
    next = reader.message.sequence + 1;
    if (!SelfCheckingRecord(kSeed, next - 1, kMax).Matches(reader.record())) return 0;
    ++came;
    reader.consumer.Release();
  }
  return came + reader.consumer.lost() == count ? came : 0;
}

class KeepLastTwoSidesTest : public testing::TestWithParam<uint64_t> {};

TEST_P(KeepLastTwoSidesTest, TwoThreadsNeverMeetHalfAMessage) {
  GuardedKeepLast slots(GetParam(), kMax);
  std::thread writer([&] { Produce(slots.view(), kMessages); });
  const uint64_t came = Consume(slots.view(), kMessages);
  writer.join();
  EXPECT_GT(came, 0u);
  std::printf("%lu of %lu came\n", static_cast<unsigned long>(came),
              static_cast<unsigned long>(kMessages));
  EXPECT_EQ(slots.view().descriptor->published.load(), kMessages);
  EXPECT_EQ(slots.view().descriptor->released.load(), came);
  EXPECT_EQ(slots.view().descriptor->lost.load(), kMessages - came);
}

TEST_P(KeepLastTwoSidesTest, TwoProcessesWithUnrelatedMappingsNeverMeetHalfAMessage) {
  const uint64_t depth = GetParam();
  MemoryFile file(KeepLastBytes(depth, kMax));
  auto mapping = std::make_unique<GuardedSlots>(file.fd(), depth, kMax);
  InitializeKeepLast(mapping->memory(), depth, kMax);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // A mapping of its own, at another address than the parent's, which goes.
    GuardedSlots own(file.fd(), depth, kMax);
    if (own.memory() == mapping->memory()) _exit(3);
    mapping.reset();
    if (!ValidateKeepLast(own.view()).ok()) _exit(2);
    Produce(own.view(), kMessages);
    _exit(0);
  }
  EXPECT_GT(Consume(mapping->view(), kMessages), 0u);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(KeepLastTwoSidesTest, NoWakeUpIsLost) {
  constexpr uint64_t kCount = kMessages / 20;
  GuardedKeepLast slots(GetParam(), kMax);
  const int bell = eventfd(0, EFD_CLOEXEC);
  uint64_t rings = 0;
  std::thread writer([&] {
    KeepLastProducer<> producer(slots.view());
    for (uint64_t i = 0; i < kCount; ++i) {
      if (producer.TryWrite(std::as_bytes(std::span(&i, 1))) != WriteResult::kOk) std::abort();
      if (Mix(i) % 4 == 0 && i + 1 != kCount) continue;
      if (producer.NeedsWake()) {
        ++rings;
        if (eventfd_write(bell, 1) != 0) std::abort();
      }
      for (uint64_t pauses = Mix(i) >> 16 & 0x3FF; pauses > 0; --pauses) StdAtomics::Pause();
    }
  });
  CopyingConsumer reader(slots.view());
  uint64_t arms = 0;
  while (reader.consumer.position() < kCount) {
    const ReadResult result = reader.Read();
    ASSERT_NE(result, ReadResult::kCorrupt);
    if (result == ReadResult::kOk) {
      reader.consumer.Release();
      continue;
    }
    ++arms;
    if (!reader.consumer.Arm()) continue;
    pollfd entry{bell, POLLIN, 0};
    ASSERT_EQ(poll(&entry, 1, 60'000), 1) << "a wake-up was lost";
    eventfd_t value = 0;
    ASSERT_EQ(eventfd_read(bell, &value), 0);
  }
  writer.join();
  close(bell);
  EXPECT_LE(rings, arms + 1) << "one doorbell an arming at most; it starts out armed";
}

INSTANTIATE_TEST_SUITE_P(Depths, KeepLastTwoSidesTest, testing::Values(1, 2, 7, 64, 1024));

}  // namespace
}  // namespace ivmq::ringbuf
