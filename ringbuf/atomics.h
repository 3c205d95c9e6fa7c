// How the ring touches shared words. Producer and consumer are templates on such a policy, so that
// a model checker can put its own atomics and its own memory under exactly the code that runs in
// production.
// A policy has these members:
//
//   Word                              one shared 64-bit word of the descriptor
//   Data                              where the data area starts, as a pointer-like value
//   Payload, ConstPayload             what a claim and a record view hand out
//   LoadRelaxed, LoadAcquire,
//   StoreRelaxed, StoreRelease        on a Word
//   LoadHeader, StoreHeader,
//   PublishHeader                     acquire, relaxed, release on the header at an offset in Data
//   At(data, offset)                  the payload that starts there
//   CopyIn(data, offset, from, size)  copies payload bytes to there
//   LoadWord, StoreWord               acquire, release on payload bytes that may be overwritten
//                                     while they are read (keep_last_layout.h)
//   Fence()                           orders what was stored before it and what is loaded after it
//   Ticks()                           a clock that is fast rather than exact
//   Pause(), Prefetch(data, offset),
//   PrefetchForWrite(data, offset)    hints to the processor
#ifndef IVMQ_RINGBUF_ATOMICS_H_
#define IVMQ_RINGBUF_ATOMICS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define IVMQ_RINGBUF_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IVMQ_RINGBUF_TSAN 1
#endif
#endif

namespace ivmq::ringbuf {

// The policy of production: std::atomic words over memory that is mapped into both processes.
//
// Fence() is a seq_cst fence. The thread sanitizer does not understand fences (and gcc refuses
// them there), so in its builds Fence() is empty and every access that a fence would have ordered
// is seq_cst itself: the total order of those gives the same store-load guarantee.
struct StdAtomics {
  using Word = std::atomic<uint64_t>;
  using Data = std::byte*;
  using Payload = std::byte*;
  using ConstPayload = const std::byte*;

#if defined(IVMQ_RINGBUF_TSAN)
  static constexpr std::memory_order kLoadOrder = std::memory_order_seq_cst;
  static constexpr std::memory_order kStoreOrder = std::memory_order_seq_cst;
  static void Fence() {}
#else
  static constexpr std::memory_order kLoadOrder = std::memory_order_acquire;
  static constexpr std::memory_order kStoreOrder = std::memory_order_release;
  static void Fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
#endif

  static uint64_t LoadRelaxed(const Word& word) { return word.load(std::memory_order_relaxed); }
  static uint64_t LoadAcquire(const Word& word) { return word.load(kLoadOrder); }
  static void StoreRelaxed(Word& word, uint64_t value) {
    word.store(value, std::memory_order_relaxed);
  }
  static void StoreRelease(Word& word, uint64_t value) { word.store(value, kStoreOrder); }

  static uint64_t LoadHeader(Data data, uint64_t offset) {
    return HeaderAt(data, offset).load(kLoadOrder);
  }
  static void StoreHeader(Data data, uint64_t offset, uint64_t value) {
    HeaderAt(data, offset).store(value, std::memory_order_relaxed);
  }
  static void PublishHeader(Data data, uint64_t offset, uint64_t value) {
    HeaderAt(data, offset).store(value, kStoreOrder);
  }

  static Payload At(Data data, uint64_t offset) { return data + offset; }
  static void CopyIn(Data data, uint64_t offset, const std::byte* from, size_t size) {
    std::memcpy(data + offset, from, size);
  }

  // Plain moves on x86-64. No fence orders them, so they need no stronger order under tsan.
  static uint64_t LoadWord(Data data, uint64_t offset) {
    return HeaderAt(data, offset).load(std::memory_order_acquire);
  }
  static void StoreWord(Data data, uint64_t offset, uint64_t value) {
    HeaderAt(data, offset).store(value, std::memory_order_release);
  }

  static uint64_t Ticks() { return __builtin_ia32_rdtsc(); }
  static void Pause() { __builtin_ia32_pause(); }
  // As instructions, because gcc 12 drops calls of functions that hold nothing but its builtin.
  static void Prefetch(Data data, uint64_t offset) {
    asm volatile("prefetcht0 %0" : : "m"(data[offset]));
  }
  // The builtin would also only fetch for reading where it may not assume PREFETCHW, which does
  // nothing on the 64-bit processors that lack it (Intel SDM, PREFETCHW).
  static void PrefetchForWrite(Data data, uint64_t offset) {
    asm volatile("prefetchw %0" : : "m"(data[offset]));
  }

 private:
  // Headers lie among payload bytes, so they are words only while we look at them.
  static std::atomic_ref<uint64_t> HeaderAt(Data data, uint64_t offset) {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(data + offset));
  }
};

static_assert(StdAtomics::Word::is_always_lock_free);
static_assert(sizeof(StdAtomics::Word) == sizeof(uint64_t));
static_assert(std::atomic_ref<uint64_t>::is_always_lock_free);
static_assert(std::atomic_ref<uint64_t>::required_alignment == sizeof(uint64_t));

}  // namespace ivmq::ringbuf

#endif  // IVMQ_RINGBUF_ATOMICS_H_
