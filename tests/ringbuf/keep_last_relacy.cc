// Model-checks the code of both ends of a slot ring: that no mixture of two messages is ever handed
// out, that what was lost is counted, and that no sleeping reader is left asleep. The same
// scenarios with an ordering taken out must fail, which shows that they can.
//
//   ringbuf_keep_last_relacy_tests [iterations]     default 50000 random schedules a scenario
#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <ostream>

#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/keep_last_producer.h"
#include "tests/ringbuf/keep_last_relacy_atomics.h"

namespace ivmq::ringbuf {
namespace {

constexpr uint64_t kPayloadWords = 2;

template <class Atomics, uint64_t kDepth>
struct WatchedSlots {
  BasicKeepLastDescriptor<Atomics> descriptor;
  std::array<typename Atomics::Word, (kDepth + 1) * kCacheLineBytes / 8> slots;

  void Initialize() {
    for (auto* word :
         {&descriptor.want, &descriptor.published, &descriptor.released, &descriptor.lost}) {
      word->store(0, rl::mo_relaxed, $);
    }
    for (auto& word : slots) word.store(0, rl::mo_relaxed, $);
  }
  BasicKeepLastView<Atomics> view() {
    return {&descriptor, slots.data(), kDepth, kPayloadWords * 8};
  }
};

// One thread writes and never waits, the other reads until it has seen or lost all of it.
template <Flaw kFlaw, rl::test_result_e kExpected, uint64_t kDepth, bool kSleeps>
struct Scenario : rl::test_suite<Scenario<kFlaw, kExpected, kDepth, kSleeps>, 2, kExpected> {
  using Atomics = SlotAtomics<kFlaw>;
  static constexpr uint64_t kMessages = 3 * (kDepth + 1);
  WatchedSlots<Atomics, kDepth> ring;
  rl::semaphore<Scenario> messages;

  void before() {
    ring.Initialize();
    messages.init(false, 0, 1000, $);
  }
  void after() { messages.deinit($); }

  void Write() {
    KeepLastProducer<Atomics> producer(ring.view());
    for (uint64_t i = 0; i < kMessages; ++i) {
      const std::array<uint64_t, kPayloadWords> payload = {i + 100, i + 200};
      RL_ASSERT(producer.TryWrite(std::as_bytes(std::span(payload))) == WriteResult::kOk);
      (void)producer.InFlight();
      RL_ASSERT(!producer.corrupt());
      if (kSleeps && producer.NeedsWake()) {
        unsigned previous = 0;
        messages.post(1, previous, $);
      }
    }
  }

  void Read() {
    KeepLastConsumer<Atomics> consumer(ring.view());
    std::array<uint64_t, kPayloadWords> copy = {};
    KeptMessage message;
    uint64_t next = 0;
    while (next < kMessages) {
      const ReadResult result = consumer.TryRead(copy.data(), &message);
      RL_ASSERT(result != ReadResult::kCorrupt);
      if (result == ReadResult::kOk) {
        RL_ASSERT(message.sequence == next + message.lost);
        RL_ASSERT(message.size == kPayloadWords * 8);
        RL_ASSERT(copy[0] == message.sequence + 100);
        RL_ASSERT(copy[1] == message.sequence + 200);
        next = message.sequence + 1;
        consumer.Release();
      } else if (!kSleeps) {
        rl::yield(1, $);
      } else if (consumer.Arm()) {
        messages.wait(false, false, $);
      }
    }
  }

  void thread(unsigned index) { index == 0 ? Write() : Read(); }
};

template <class Scenario>
bool Run(const char* name, rl::iteration_t iterations) {
  rl::test_params params;
  params.iteration_count = iterations;
  params.execution_depth_limit = 20'000;
  std::ostream nowhere(nullptr);
  if (Scenario::params::expected_result != rl::test_result_success) params.output_stream = &nowhere;
  params.progress_stream = &nowhere;
  const bool as_expected = rl::simulate<Scenario>(params);
  std::cout << (as_expected ? "as expected: " : "NOT AS EXPECTED: ") << name << std::endl;
  return as_expected;
}

bool RunAll(rl::iteration_t iterations) {
  using rl::test_result_deadlock;
  using rl::test_result_success;
  using rl::test_result_user_assert_failed;
  // A flaw is found by a few schedules in thousands, so those runs are never shorter.
  const rl::iteration_t flaw = std::max<rl::iteration_t>(iterations, 50'000);
  bool good = true;
  good &= Run<Scenario<Flaw::kNone, test_result_success, 1, false>>("polling, depth 1", iterations);
  good &= Run<Scenario<Flaw::kNone, test_result_success, 2, false>>("polling, depth 2", iterations);
  good &= Run<Scenario<Flaw::kNone, test_result_success, 1, true>>("sleeping, depth 1", iterations);
  good &= Run<Scenario<Flaw::kNone, test_result_success, 2, true>>("sleeping, depth 2", iterations);
  good &= Run<Scenario<Flaw::kNoRelease, test_result_user_assert_failed, 1, false>>(
      "without release, a message is not whole", flaw);
  good &= Run<Scenario<Flaw::kNoWordRelease, test_result_user_assert_failed, 1, false>>(
      "without release of its words, a message is mixed", flaw);
  good &= Run<Scenario<Flaw::kNoWordAcquire, test_result_user_assert_failed, 1, false>>(
      "without acquire of its words, a message is mixed", flaw);
  good &= Run<Scenario<Flaw::kNoFence, test_result_deadlock, 2, true>>(
      "without the fence, a reader sleeps on", flaw);
  return good;
}

}  // namespace
}  // namespace ivmq::ringbuf

int main(int argc, char** argv) {
  const unsigned long iterations = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 50'000;
  return ivmq::ringbuf::RunAll(iterations) ? 0 : 1;
}
