// Model-checks the code of both ends: publication and reuse of room, and that neither a sleeping
// consumer nor a waiting producer is left asleep. A lost wake-up is a deadlock to the checker. The
// same scenarios with a fence or a release taken out must fail, which shows that they can.
//
//   ringbuf_relacy_tests [iterations]      default 100000 random schedules a scenario
#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <ostream>
#include <span>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/ringbuf/relacy_atomics.h"

namespace ivmq::ringbuf {
namespace {

// A ring of words that the checker watches; far smaller than any that is valid in production.
template <class Atomics, uint64_t kCapacity>
struct WatchedRing {
  BasicRingDescriptor<Atomics> descriptor;
  std::array<typename Atomics::Cell, kCapacity / 8> data;

  void Initialize() {
    for (auto* word : {&descriptor.tail, &descriptor.records_published, &descriptor.head,
                       &descriptor.records_released, &descriptor.records_read, &descriptor.want,
                       &descriptor.space_want}) {
      word->store(0, rl::mo_relaxed, $);
    }
    for (auto& cell : data) {
      cell.header.store(0, rl::mo_relaxed, $);
      cell.Write(0);
    }
  }
  BasicRingView<Atomics> view() { return {&descriptor, data.data(), kCapacity}; }
};

template <class Atomics>
void Fill(typename Atomics::Payload payload, uint64_t sequence) {
  payload->Write(sequence + 100);
}

template <class Atomics>
void Check(const BasicRecordView<Atomics>& record, uint64_t sequence, size_t words = 1) {
  RL_ASSERT(record.sequence == sequence);
  RL_ASSERT(record.size == words * sizeof(uint64_t));
  for (size_t i = 0; i < words; ++i) RL_ASSERT(record.data[i].Read() == sequence + 100);
}

// Thread 0 writes, thread 1 reads, both by polling; more than a lap, in batches.
template <Flaw kFlaw, rl::test_result_e kExpected>
struct PollingScenario : rl::test_suite<PollingScenario<kFlaw, kExpected>, 2, kExpected> {
  using Atomics = RelacyAtomics<kFlaw>;
  static constexpr uint64_t kRecords = 7;
  WatchedRing<Atomics, 64> ring;

  void before() { ring.Initialize(); }

  void thread(unsigned index) {
    if (index == 0) {
      SpscProducer<Atomics> producer(ring.view());
      for (uint64_t i = 0; i < kRecords; ++i) {
        typename Atomics::Payload payload = nullptr;
        WriteResult result;
        while ((result = producer.TryClaim(8, 0, &payload)) == WriteResult::kFull) Atomics::Pause();
        RL_ASSERT(result == WriteResult::kOk);
        Fill<Atomics>(payload, i);
        producer.Commit();
        if (i % 2 == 1) producer.Publish();
      }
      producer.Publish();
    } else {
      SpscConsumer<Atomics> consumer(ring.view());
      BasicRecordView<Atomics> record;
      for (uint64_t i = 0; i < kRecords;) {
        const ReadResult result = consumer.TryRead(&record);
        RL_ASSERT(result != ReadResult::kCorrupt);
        if (result == ReadResult::kEmpty) {
          Atomics::Pause();
          continue;
        }
        Check(record, i++);
        consumer.Release();
      }
    }
  }
};

enum class By : uint8_t { kClaim, kCopy };

// Both sleep: the reader when the ring is empty, the writer when it is full. Copies of nine words
// take two lines, whose parts are copied in the other order where the reader keeps up; one record
// is left for the next to publish.
template <Flaw kFlaw, rl::test_result_e kExpected, uint64_t kCapacity, By kBy = By::kClaim,
          size_t kWords = 1>
struct SleepingScenario
    : rl::test_suite<SleepingScenario<kFlaw, kExpected, kCapacity, kBy, kWords>, 2, kExpected> {
  using Atomics = RelacyAtomics<kFlaw>;
  static constexpr uint64_t kRecords = 6;
  WatchedRing<Atomics, kCapacity> ring;
  rl::semaphore<SleepingScenario> records;
  rl::semaphore<SleepingScenario> room;

  void before() {
    ring.Initialize();
    records.init(false, 0, 1000, $);
    room.init(false, 0, 1000, $);
  }
  void after() {
    records.deinit($);
    room.deinit($);
  }
  void Wake(rl::semaphore<SleepingScenario>& sleeper) {
    unsigned previous = 0;
    sleeper.post(1, previous, $);
  }

  static WriteResult WriteOne(SpscProducer<Atomics>* producer, uint64_t sequence) {
    if constexpr (kBy == By::kCopy) {
      std::array<uint64_t, kWords> words;
      words.fill(sequence + 100);
      return producer->TryWrite(std::as_bytes(std::span(words)));
    }
    typename Atomics::Payload payload = nullptr;
    const WriteResult result = producer->TryClaim(sizeof(uint64_t), 0, &payload);
    if (result != WriteResult::kOk) return result;
    Fill<Atomics>(payload, sequence);
    producer->Commit();
    return result;
  }

  void Write() {
    SpscProducer<Atomics> producer(ring.view());
    for (uint64_t i = 0; i < kRecords;) {
      const WriteResult result = WriteOne(&producer, i);
      RL_ASSERT(result == WriteResult::kOk || result == WriteResult::kFull);
      if (result == WriteResult::kOk) {
        if (i++ == 2 && kBy == By::kCopy) continue;
        producer.Publish();
        if (producer.NeedsWake()) Wake(records);
        continue;
      }
      if (producer.ArmSpace(kWords * sizeof(uint64_t))) continue;
      if (producer.NeedsWake()) Wake(records);
      room.wait(false, false, $);
    }
  }

  void Read() {
    SpscConsumer<Atomics> consumer(ring.view());
    BasicRecordView<Atomics> record;
    for (uint64_t i = 0; i < kRecords;) {
      const ReadResult result = consumer.TryRead(&record);
      RL_ASSERT(result != ReadResult::kCorrupt);
      if (result == ReadResult::kOk) {
        Check(record, i++, kWords);
        consumer.Release();
        if (consumer.NeedsSpaceWake()) Wake(room);
        continue;
      }
      const bool empty = consumer.Arm();
      if (consumer.NeedsSpaceWake()) Wake(room);
      if (empty) records.wait(false, false, $);
    }
  }

  void thread(unsigned index) { index == 0 ? Write() : Read(); }
};

template <class Scenario>
bool Run(const char* name, rl::iteration_t iterations) {
  rl::test_params params;
  params.iteration_count = iterations;
  params.execution_depth_limit = 20'000;
  // A flaw that is found comes with pages of history, which only matter where none is expected.
  // (The checker replaces malloc while it runs, so a string stream would not do.)
  std::ostream nowhere(nullptr);
  if (Scenario::params::expected_result != rl::test_result_success) params.output_stream = &nowhere;
  params.progress_stream = &nowhere;
  const bool as_expected = rl::simulate<Scenario>(params);
  std::cout << (as_expected ? "as expected: " : "NOT AS EXPECTED: ") << name << std::endl;
  return as_expected;
}

bool RunAll(rl::iteration_t iterations) {
  using rl::test_result_data_race;
  using rl::test_result_deadlock;
  using rl::test_result_success;
  using rl::test_result_user_assert_failed;
  // A flaw is found by a few schedules in thousands, so those runs are never shorter.
  const rl::iteration_t flaw = std::max<rl::iteration_t>(iterations, 20'000);
  bool good = true;
  good &= Run<PollingScenario<Flaw::kNone, test_result_success>>("polling works", iterations);
  good &= Run<SleepingScenario<Flaw::kNone, test_result_success, 64>>("both may sleep", iterations);
  good &= Run<SleepingScenario<Flaw::kNone, test_result_success, 256>>("reader sleeps", iterations);
  good &= Run<SleepingScenario<Flaw::kNone, test_result_success, 64, By::kCopy, 1>>(
      "written by copy", iterations);
  good &= Run<SleepingScenario<Flaw::kNone, test_result_success, 512, By::kCopy, 9>>(
      "copied in two parts", iterations);
  // Its reader sees a tail before the header that lies below it.
  good &=
      Run<SleepingScenario<Flaw::kNoRelease, test_result_user_assert_failed, 512, By::kCopy, 9>>(
          "without release, a copied record is missing", flaw);
  good &= Run<PollingScenario<Flaw::kNoRelease, test_result_data_race>>(
      "without release, payloads race", flaw);
  good &= Run<SleepingScenario<Flaw::kNoFence, test_result_deadlock, 256>>(
      "without the fence, a reader sleeps on", flaw);
  good &= Run<SleepingScenario<Flaw::kNoFence, test_result_deadlock, 64>>(
      "without the fence, someone sleeps on", flaw);
  return good;
}

}  // namespace
}  // namespace ivmq::ringbuf

int main(int argc, char** argv) {
  const unsigned long iterations = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100'000;
  return ivmq::ringbuf::RunAll(iterations) ? 0 : 1;
}
