// The ring's atomics for the relacy model checker: every load may return any value that the C++
// memory model allows, and a payload that is read or overwritten without a happens-before is an
// error.
#ifndef IVMQ_TESTS_RINGBUF_RELACY_ATOMICS_H_
#define IVMQ_TESTS_RINGBUF_RELACY_ATOMICS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <relacy/relacy.hpp>

namespace ivmq::ringbuf {

// What a variant leaves out, to show that the checker would notice.
enum class Flaw : uint8_t { kNone, kNoFence, kNoRelease };

template <Flaw kFlaw>
struct RelacyAtomics {
  using Word = rl::atomic<uint64_t>;

  // Eight bytes of the data area: a header or part of a payload, at different times. The two are
  // apart here, so `reads` and `writes` stand for the accesses that must not overlap in reality.
  struct Cell {
    rl::atomic<uint64_t> header;
    rl::var<uint64_t> payload;     // payload writes, header stores and payload reads meet here
    rl::var<uint64_t> not_header;  // payload writes and header loads meet here

    void Write(uint64_t value) {
      payload($) = value;
      not_header($) = 0;
    }
    uint64_t Read() const { return payload($); }
  };
  using Data = Cell*;
  using Payload = Cell*;
  using ConstPayload = const Cell*;

  static constexpr rl::memory_order kRelease =
      kFlaw == Flaw::kNoRelease ? rl::mo_relaxed : rl::mo_release;

  static uint64_t LoadRelaxed(const Word& word) { return word.load(rl::mo_relaxed, $); }
  static uint64_t LoadAcquire(const Word& word) { return word.load(rl::mo_acquire, $); }
  static void StoreRelaxed(Word& word, uint64_t value) { word.store(value, rl::mo_relaxed, $); }
  static void StoreRelease(Word& word, uint64_t value) { word.store(value, kRelease, $); }

  static uint64_t LoadHeader(Data data, uint64_t offset) {
    const uint64_t header = data[offset / 8].header.load(rl::mo_acquire, $);
    (void)static_cast<uint64_t>(data[offset / 8].not_header($));
    return header;
  }
  static void StoreHeader(Data data, uint64_t offset, uint64_t value) {
    data[offset / 8].payload($) = 0;
    data[offset / 8].header.store(value, rl::mo_relaxed, $);
  }
  static void PublishHeader(Data data, uint64_t offset, uint64_t value) {
    data[offset / 8].payload($) = 0;
    data[offset / 8].header.store(value, kRelease, $);
  }
  static Payload At(Data data, uint64_t offset) { return data + offset / 8; }
  // In words, as everything here.
  static void CopyIn(Data data, uint64_t offset, const std::byte* from, size_t size) {
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, from + i, sizeof word);
      data[(offset + i) / 8].Write(word);
    }
  }

  static void Fence() {
    if constexpr (kFlaw != Flaw::kNoFence) rl::atomic_thread_fence(rl::mo_seq_cst, $);
  }
  static uint64_t Ticks() { return 0; }
  static void Pause() { rl::yield(1, $); }
  static void Prefetch(Data, uint64_t) {}
  static void PrefetchForWrite(Data, uint64_t) {}
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_RELACY_ATOMICS_H_
