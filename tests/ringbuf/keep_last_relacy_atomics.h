// The slot ring's atomics for the relacy model checker: every load may return any value that the
// C++ memory model allows. (A header of its own because relacy's macros must follow all other
// headers.)
#ifndef IVMQ_TESTS_RINGBUF_KEEP_LAST_RELACY_ATOMICS_H_
#define IVMQ_TESTS_RINGBUF_KEEP_LAST_RELACY_ATOMICS_H_

#include <cstdint>
#include <relacy/relacy.hpp>

namespace ivmq::ringbuf {

// What a variant leaves out.
enum class Flaw : uint8_t {
  kNone,
  kNoFence,        // between publishing and want, between want and the second look
  kNoRelease,      // of a whole message
  kNoWordRelease,  // of each word behind the sequence that says "being written"
  kNoWordAcquire   // of each word before the second look at the sequence
};

template <Flaw kFlaw>
struct SlotAtomics {
  using Word = rl::atomic<uint64_t>;
  using Data = rl::atomic<uint64_t>*;

  static constexpr rl::memory_order kRelease =
      kFlaw == Flaw::kNoRelease ? rl::mo_relaxed : rl::mo_release;
  static constexpr rl::memory_order kWordRelease =
      kFlaw == Flaw::kNoWordRelease ? rl::mo_relaxed : rl::mo_release;
  static constexpr rl::memory_order kWordAcquire =
      kFlaw == Flaw::kNoWordAcquire ? rl::mo_relaxed : rl::mo_acquire;

  static uint64_t LoadRelaxed(const Word& word) { return word.load(rl::mo_relaxed, $); }
  static uint64_t LoadAcquire(const Word& word) { return word.load(rl::mo_acquire, $); }
  static void StoreRelaxed(Word& word, uint64_t value) { word.store(value, rl::mo_relaxed, $); }
  static void StoreRelease(Word& word, uint64_t value) { word.store(value, kRelease, $); }
  static uint64_t LoadHeader(Data data, uint64_t offset) {
    return data[offset / 8].load(rl::mo_acquire, $);
  }
  static void PublishHeader(Data data, uint64_t offset, uint64_t value) {
    data[offset / 8].store(value, kRelease, $);
  }
  static uint64_t LoadWord(Data data, uint64_t offset) {
    return data[offset / 8].load(kWordAcquire, $);
  }
  static void StoreWord(Data data, uint64_t offset, uint64_t value) {
    data[offset / 8].store(value, kWordRelease, $);
  }
  static void Fence() {
    if constexpr (kFlaw != Flaw::kNoFence) rl::atomic_thread_fence(rl::mo_seq_cst, $);
  }
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_KEEP_LAST_RELACY_ATOMICS_H_
