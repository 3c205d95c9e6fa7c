// Guarded memory (guarded_memory.h) for one ring.
#ifndef IVMQ_TESTS_RINGBUF_GUARDED_RING_H_
#define IVMQ_TESTS_RINGBUF_GUARDED_RING_H_

#include <cstdint>

#include "ringbuf/ring_layout.h"
#include "tests/ringbuf/guarded_memory.h"

namespace ivmq::ringbuf {

// One mapping of a ring.
class GuardedMapping {
 public:
  GuardedMapping(int fd, uint64_t capacity)
      : capacity_(capacity), memory_(fd, RingBytes(capacity)) {}

  RingView view() const { return RingAt(memory_.memory(), capacity_); }
  std::byte* memory() const { return memory_.memory(); }

 private:
  uint64_t capacity_;
  GuardedMemory memory_;
};

// A memfd of the size of a ring.
class RingFile : public MemoryFile {
 public:
  explicit RingFile(uint64_t capacity) : MemoryFile(RingBytes(capacity)) {}
};

// An initialized ring in memory of its own.
class GuardedRing {
 public:
  explicit GuardedRing(uint64_t capacity)
      : file_(capacity), mapping_(file_.fd(), capacity), capacity_(capacity) {
    InitializeRing(mapping_.memory(), capacity);
  }
  void Reset() { InitializeRing(mapping_.memory(), capacity_); }
  RingView view() const { return mapping_.view(); }
  std::byte* memory() const { return mapping_.memory(); }
  int fd() const { return file_.fd(); }

 private:
  RingFile file_;
  GuardedMapping mapping_;
  uint64_t capacity_;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_GUARDED_RING_H_
