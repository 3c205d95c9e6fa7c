// Both ends at full speed: two threads here, two processes with unrelated mappings further down;
// and the wake-ups of both, of which none may be lost.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/ringbuf/guarded_ring.h"
#include "tests/ringbuf/self_checking_record.h"

namespace ivmq::ringbuf {
namespace {

constexpr uint64_t kSeed = 0x1DEA;

#if defined(IVMQ_RINGBUF_TSAN) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kManyRecords = 2'000'000;
constexpr uint64_t kSleepyRecords = 100'000;
#else
constexpr uint64_t kManyRecords = 100'000'000;
constexpr uint64_t kSleepyRecords = 1'000'000;
#endif

// IVMQ_RING_RECORDS overrides how many records the long tests carry.
uint64_t RecordCount() {
  const char* text = std::getenv("IVMQ_RING_RECORDS");  // NOLINT(concurrency-mt-unsafe): no setenv
  return text != nullptr ? std::strtoull(text, nullptr, 10) : kManyRecords;
}

// Spins a little, then lets others have the processor.
class Backoff {
 public:
  void Wait() {
    if (++spins_ % 64 == 0) std::this_thread::yield();
    StdAtomics::Pause();
  }

 private:
  uint32_t spins_ = 0;
};

// Writes `count` records in batches of random length, in stretches each one alone, and every second
// one by TryWrite. False if the ring is corrupt or its consumer gave up.
bool Produce(const RingView& ring, uint64_t count, const std::atomic<bool>& gave_up) {
  SpscProducer<> producer(ring);
  const uint64_t max = MaxInlineRecord(ring.capacity);
  std::vector<std::byte> apart(max);
  Backoff backoff;
  uint64_t batch_ends = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const SelfCheckingRecord record(kSeed, i, max);
    const bool copies = i % 2 == 0;
    if (copies) record.Fill(apart.data());
    std::byte* payload = nullptr;
    const auto write = [&] {
      return copies ? producer.TryWrite({apart.data(), record.size()}, record.flags())
                    : producer.TryClaim(record.size(), record.flags(), &payload);
    };
    WriteResult result;
    while ((result = write()) == WriteResult::kFull && !gave_up) backoff.Wait();
    if (result != WriteResult::kOk) return false;
    if (!copies) {
      record.Fill(payload);
      producer.Commit();
    }
    if (i >= batch_ends) {
      producer.Publish();
      const bool alone = i / 4096 % 16 == 0;
      // As if the consumer answered: else it never keeps up.
      for (int look = 0; alone && look < 1000 && !producer.AllConsumed(); ++look) {
        StdAtomics::Pause();
      }
      batch_ends = alone ? i : i + Mix(i) % 64;
    }
  }
  producer.Publish();
  return true;
}

// Reads and checks `count` records. Returns how many were right before the first that was not.
uint64_t Consume(const RingView& ring, uint64_t count) {
  SpscConsumer<> consumer(ring);
  const uint64_t max = MaxInlineRecord(ring.capacity);
  RecordView view;
  Backoff backoff;
  for (uint64_t i = 0; i < count;) {
    const ReadResult result = consumer.TryRead(&view);
    if (result == ReadResult::kEmpty) {
      backoff.Wait();
      continue;
    }
    if (result != ReadResult::kOk || view.sequence != i) return i;
    if (!SelfCheckingRecord(kSeed, i, max).Matches(view)) return i;
    ++i;
    // Now and then several records are held before they are released together.
    if (i % 7 != 0 || i % 5 == 0 || i == count) consumer.Release();
  }
  return consumer.TryRead(&view) == ReadResult::kEmpty ? count : count + 1;
}

TEST(TwoThreadsTest, CarrySelfCheckingRecords) {
  for (const uint64_t capacity : {kMinCapacity, uint64_t{65536}, uint64_t{1} << 20}) {
    GuardedRing ring(capacity);
    const uint64_t count = kManyRecords / 50;
    bool produced = false;
    std::atomic<bool> gave_up{false};
    std::thread writer([&] { produced = Produce(ring.view(), count, gave_up); });
    const uint64_t consumed = Consume(ring.view(), count);
    gave_up = consumed != count;
    writer.join();
    EXPECT_EQ(consumed, count);
    EXPECT_TRUE(produced);
  }
}

TEST(TwoProcessesTest, CarryAHundredMillionSelfCheckingRecordsBetweenUnrelatedMappings) {
  constexpr uint64_t kCapacity = 65536;
  const uint64_t count = RecordCount();
  RingFile file(kCapacity);
  auto mapping = std::make_unique<GuardedMapping>(file.fd(), kCapacity);
  InitializeRing(mapping->memory(), kCapacity);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // A mapping of its own, at another address than the parent's, which goes.
    GuardedMapping own(file.fd(), kCapacity);
    if (own.memory() == mapping->memory()) _exit(3);
    mapping.reset();
    if (!ValidateRing(own.view()).ok()) _exit(2);
    _exit(Produce(own.view(), count, false) ? 0 : 1);
  }
  const uint64_t consumed = Consume(mapping->view(), count);
  EXPECT_EQ(consumed, count);
  if (consumed != count) kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Something to sleep on. A sleep that nobody ends within the deadline is a lost wake-up.
class Doorbell {
 public:
  Doorbell() : fd_(eventfd(0, EFD_CLOEXEC)) {}
  ~Doorbell() { close(fd_); }
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  void Ring() {
    rings_ += 1;
    if (eventfd_write(fd_, 1) != 0) std::abort();
  }
  // False: nobody rang.
  bool Sleep() {
    pollfd entry{fd_, POLLIN, 0};
    if (poll(&entry, 1, 60'000) != 1) return false;
    eventfd_t value = 0;
    return eventfd_read(fd_, &value) == 0;
  }
  uint64_t rings() const { return rings_; }  // after the ringing thread has ended

 private:
  int fd_;
  uint64_t rings_ = 0;
};

struct Sleepers {
  Doorbell records;
  Doorbell room;
  uint64_t consumer_arms = 0;
  uint64_t producer_arms = 0;
};

// Writes records in bursts and sleeps whenever the ring is full. Returns how many were written.
uint64_t ProduceAsleep(const RingView& ring, uint64_t count, Sleepers* sleepers) {
  SpscProducer<> producer(ring);
  for (uint64_t i = 0; i < count;) {
    const SelfCheckingRecord record(kSeed, i, MaxInlineRecord(ring.capacity));
    std::byte* payload = nullptr;
    const WriteResult result = producer.TryClaim(record.size(), record.flags(), &payload);
    if (result == WriteResult::kOk) {
      record.Fill(payload);
      producer.Commit();
      ++i;
      if (Mix(i) % 16 != 0 && i != count) continue;
      producer.Publish();
      if (producer.NeedsWake()) sleepers->records.Ring();
      for (uint64_t pauses = Mix(i) >> 16 & 0x3FF; pauses > 0; --pauses) StdAtomics::Pause();
      continue;
    }
    if (result != WriteResult::kFull) return i;
    ++sleepers->producer_arms;
    if (producer.ArmSpace(record.size())) continue;
    if (producer.NeedsWake()) sleepers->records.Ring();
    if (!sleepers->room.Sleep()) return i;
  }
  return count;
}

// Reads records and sleeps whenever there is none. Returns how many were right.
uint64_t ConsumeAsleep(const RingView& ring, uint64_t count, Sleepers* sleepers) {
  SpscConsumer<> consumer(ring);
  RecordView view;
  for (uint64_t i = 0; i < count;) {
    const ReadResult result = consumer.TryRead(&view);
    if (result == ReadResult::kOk) {
      if (!SelfCheckingRecord(kSeed, i, MaxInlineRecord(ring.capacity)).Matches(view)) return i;
      ++i;
      consumer.Release();
      if (Mix(i) % 8 == 0 && consumer.NeedsSpaceWake()) sleepers->room.Ring();
      continue;
    }
    if (result != ReadResult::kEmpty) return i;
    ++sleepers->consumer_arms;
    const bool empty = consumer.Arm();
    if (consumer.NeedsSpaceWake()) sleepers->room.Ring();
    if (empty && !sleepers->records.Sleep()) return i;
  }
  return count;
}

void CarryAsleep(uint64_t capacity) {
  GuardedRing ring(capacity);
  Sleepers sleepers;
  uint64_t produced = 0;
  std::thread writer([&] { produced = ProduceAsleep(ring.view(), kSleepyRecords, &sleepers); });
  const uint64_t consumed = ConsumeAsleep(ring.view(), kSleepyRecords, &sleepers);
  writer.join();
  EXPECT_EQ(produced, kSleepyRecords) << "a wake-up was lost";
  EXPECT_EQ(consumed, kSleepyRecords) << "a wake-up was lost";
  // One doorbell an arming at most; the ring starts out armed for its first record.
  EXPECT_LE(sleepers.records.rings(), sleepers.consumer_arms + 1);
  EXPECT_LE(sleepers.room.rings(), sleepers.producer_arms);
  EXPECT_GT(sleepers.consumer_arms, 0u);
}

TEST(WakeUpTest, NoneIsLostInASmallRingWhereBothSidesSleep) { CarryAsleep(kMinCapacity); }

TEST(WakeUpTest, NoneIsLostInALargeRingWhereTheConsumerSleeps) { CarryAsleep(uint64_t{1} << 20); }

}  // namespace
}  // namespace ivmq::ringbuf
