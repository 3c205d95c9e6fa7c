// Guarded memory (guarded_memory.h) for one slot ring.
#ifndef IVMQ_TESTS_RINGBUF_GUARDED_KEEP_LAST_H_
#define IVMQ_TESTS_RINGBUF_GUARDED_KEEP_LAST_H_

#include <cstdint>
#include <vector>

#include "ringbuf/keep_last_consumer.h"
#include "ringbuf/keep_last_layout.h"
#include "tests/ringbuf/guarded_memory.h"

namespace ivmq::ringbuf {

// One mapping of a slot ring.
class GuardedSlots {
 public:
  GuardedSlots(int fd, uint64_t depth, uint64_t max_message_bytes)
      : depth_(depth),
        max_message_bytes_(max_message_bytes),
        memory_(fd, KeepLastBytes(depth, max_message_bytes)) {}

  KeepLastView view() const { return KeepLastAt(memory_.memory(), depth_, max_message_bytes_); }
  std::byte* memory() const { return memory_.memory(); }

 private:
  uint64_t depth_;
  uint64_t max_message_bytes_;
  GuardedMemory memory_;
};

// An initialized slot ring in memory of its own.
class GuardedKeepLast {
 public:
  GuardedKeepLast(uint64_t depth, uint64_t max_message_bytes)
      : file_(KeepLastBytes(depth, max_message_bytes)),
        slots_(file_.fd(), depth, max_message_bytes) {
    Reset();
  }
  void Reset() {
    const KeepLastView view = slots_.view();
    InitializeKeepLast(slots_.memory(), view.depth, view.max_message_bytes);
  }
  KeepLastView view() const { return slots_.view(); }
  std::byte* memory() const { return slots_.memory(); }
  int fd() const { return file_.fd(); }

 private:
  MemoryFile file_;
  GuardedSlots slots_;
};

// A consumer with the memory that it copies to.
struct CopyingConsumer {
  explicit CopyingConsumer(const KeepLastView& view) : consumer(view), copy(consumer.CopyWords()) {}

  ReadResult Read() { return consumer.TryRead(copy.data(), &message); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(copy.data()); }
  RecordView record() const { return {data(), message.size, message.flags, message.sequence}; }

  KeepLastConsumer<> consumer;
  std::vector<uint64_t> copy;
  KeptMessage message;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_GUARDED_KEEP_LAST_H_
