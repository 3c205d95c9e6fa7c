// What ring_bench measures beside each other: the ring, its rivals and the limit that copying sets.
#ifndef IVMQ_TESTS_BENCH_RING_CONTENDERS_H_
#define IVMQ_TESTS_BENCH_RING_CONTENDERS_H_

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#ifdef IVMQ_BENCH_MOODYCAMEL
#include <readerwriterqueue.h>
#endif

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"

namespace ivmq::bench {

using ringbuf::ReadResult;
using ringbuf::RecordView;
using ringbuf::SpscConsumer;
using ringbuf::SpscProducer;
using ringbuf::WriteResult;

// No larger than the message: many that lie a power of two apart would push each other out of the
// caches.
template <size_t kBytes>
struct alignas(64) Buffer : std::array<std::byte, kBytes> {};

// Bytes of memory that every contender has: the default ring, or what sixteen large messages need.
template <size_t kBytes>
constexpr uint64_t kCapacityFor = kBytes <= 4096 ? 65536 : 1048576;

// Each contender lays itself out in shared memory and has two ends, each of which belongs to one
// process. Send() returns once the message is on its way, Receive() once it has been copied out;
// both copy once.
template <size_t kBytes, int kBatch>
struct Ring {
  static constexpr size_t kSize = kBytes;
  static constexpr size_t kMemoryBytes = ringbuf::RingBytes(kCapacityFor<kBytes>);
  static void Initialize(std::byte* memory) {
    ringbuf::InitializeRing(memory, kCapacityFor<kBytes>);
  }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : producer_(ringbuf::RingAt(memory, kCapacityFor<kBytes>)) {}
    void Send(const Buffer<kBytes>& from) {
      while (producer_.TryWrite({from.data(), kBytes}) != WriteResult::kOk) {
        ringbuf::StdAtomics::Pause();
      }
      if (++unpublished_ >= kBatch) Flush();
    }
    // As every real flush does it, with the look at the consumer's want.
    void Flush() {
      unpublished_ = 0;
      producer_.Publish();
      if (producer_.NeedsWake()) ++wakes_;
    }

   private:
    SpscProducer<> producer_;
    int unpublished_ = 0;
    uint64_t wakes_ = 0;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory)
        : consumer_(ringbuf::RingAt(memory, kCapacityFor<kBytes>)) {}
    void Receive(Buffer<kBytes>* to) {
      RecordView view;
      while (consumer_.TryRead(&view) != ReadResult::kOk) {
      }
      std::memcpy(to->data(), view.data, kBytes);
      consumer_.Release();
    }

   private:
    SpscConsumer<> consumer_;
  };
};

// boost's queue with its capacity fixed when it is compiled holds no pointers.
template <size_t kBytes>
struct BoostSpsc {
  static constexpr size_t kSize = kBytes;
  struct Message {
    std::array<std::byte, kBytes> bytes;
  };
  using Queue =
      boost::lockfree::spsc_queue<Message,
                                  boost::lockfree::capacity<kCapacityFor<kBytes> / kBytes - 1>>;
  static constexpr size_t kMemoryBytes = sizeof(Queue);
  static void Initialize(std::byte* memory) { new (memory) Queue; }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : queue_(reinterpret_cast<Queue*>(memory)) {}
    void Send(const Buffer<kBytes>& from) {
      const auto& message = reinterpret_cast<const Message&>(from);
      while (!queue_->push(message)) {
      }
    }
    void Flush() {}

   private:
    Queue* queue_;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : queue_(reinterpret_cast<Queue*>(memory)) {}
    void Receive(Buffer<kBytes>* to) {
      auto& message = reinterpret_cast<Message&>(*to);
      while (!queue_->pop(message)) {
      }
    }

   private:
    Queue* queue_;
  };
};

// The same queue with up to 32 messages put in and taken out at once, which it takes from an array
// and lays into one.
template <size_t kBytes>
struct BoostSpscBatch32 {
  static constexpr size_t kSize = kBytes;
  static constexpr size_t kBatch = 32;
  using Message = typename BoostSpsc<kBytes>::Message;
  using Queue = typename BoostSpsc<kBytes>::Queue;
  static constexpr size_t kMemoryBytes = sizeof(Queue);
  static void Initialize(std::byte* memory) { new (memory) Queue; }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : queue_(reinterpret_cast<Queue*>(memory)) {}
    void Send(const Buffer<kBytes>& from) {
      (*kept_)[count_] = reinterpret_cast<const Message&>(from);
      if (++count_ == kBatch) Flush();
    }
    void Flush() {
      for (size_t put = 0; put < count_;) put += queue_->push(kept_->data() + put, count_ - put);
      count_ = 0;
    }

   private:
    Queue* queue_;
    std::shared_ptr<std::array<Message, kBatch>> kept_ =
        std::make_shared<std::array<Message, kBatch>>();
    size_t count_ = 0;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : queue_(reinterpret_cast<Queue*>(memory)) {}
    void Receive(Buffer<kBytes>* to) {
      while (next_ == count_) {
        count_ = queue_->pop(taken_->data(), kBatch);
        next_ = 0;
      }
      reinterpret_cast<Message&>(*to) = (*taken_)[next_++];
    }

   private:
    Queue* queue_;
    std::shared_ptr<std::array<Message, kBatch>> taken_ =
        std::make_shared<std::array<Message, kBatch>>();
    size_t next_ = 0;
    size_t count_ = 0;
  };
};

// Lives in a segment of its own; the shared memory only carries its name.
template <size_t kBytes>
struct BoostMessageQueue {
  static constexpr size_t kSize = kBytes;
  using Queue = boost::interprocess::message_queue;
  static constexpr size_t kMemoryBytes = 64;
  static void Initialize(std::byte* memory) {
    static int made = 0;
    const std::string name =
        "ivmq-bench-" + std::to_string(getpid()) + "-" + std::to_string(++made);
    std::memcpy(memory, name.c_str(), name.size() + 1);
    Queue(boost::interprocess::create_only, name.c_str(), kCapacityFor<kBytes> / kBytes, kBytes);
  }
  static void Destroy(std::byte* memory) { Queue::remove(reinterpret_cast<const char*>(memory)); }

  class Sender {
   public:
    explicit Sender(std::byte* memory)
        : queue_(boost::interprocess::open_only, reinterpret_cast<const char*>(memory)) {}
    void Send(const Buffer<kBytes>& from) { queue_.send(from.data(), kBytes, 0); }
    void Flush() {}

   private:
    Queue queue_;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory)
        : queue_(boost::interprocess::open_only, reinterpret_cast<const char*>(memory)) {}
    void Receive(Buffer<kBytes>* to) {
      Queue::size_type size = 0;
      unsigned priority = 0;
      queue_.receive(to->data(), to->size(), size, priority);
    }

   private:
    Queue queue_;
  };
};

#ifdef IVMQ_BENCH_MOODYCAMEL
// Its blocks lie on the heap, so its ends are two threads and not two processes.
template <size_t kBytes>
struct Moodycamel {
  static constexpr size_t kSize = kBytes;
  static constexpr bool kThreads = true;
  struct Message {
    std::array<std::byte, kBytes> bytes;
  };
  using Queue = moodycamel::ReaderWriterQueue<Message>;
  static constexpr size_t kMemoryBytes = sizeof(Queue*);
  static void Initialize(std::byte* memory) {
    *reinterpret_cast<Queue**>(memory) = new Queue(kCapacityFor<kBytes> / kBytes - 1);
  }
  static void Destroy(std::byte* memory) { delete *reinterpret_cast<Queue**>(memory); }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : queue_(*reinterpret_cast<Queue**>(memory)) {}
    void Send(const Buffer<kBytes>& from) {
      while (!queue_->try_enqueue(reinterpret_cast<const Message&>(from))) {
      }
    }
    void Flush() {}

   private:
    Queue* queue_;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : queue_(*reinterpret_cast<Queue**>(memory)) {}
    void Receive(Buffer<kBytes>* to) {
      while (!queue_->try_dequeue(reinterpret_cast<Message&>(*to))) {
      }
    }

   private:
    Queue* queue_;
  };
};
#endif  // IVMQ_BENCH_MOODYCAMEL

// The same bytes copied in and out of a plain array, positions exchanged every 8 KiB, and the lines
// of the next 2.5 KiB asked for as the ring does: what copying alone takes.
template <size_t kBytes>
struct CopyLimit {
  static constexpr size_t kSize = kBytes;
  static constexpr uint64_t kCapacity = kCapacityFor<kBytes>;
  static constexpr uint64_t kStep = kBytes > 8192 ? kBytes : 8192;
  struct Shared {
    alignas(256) std::atomic<uint64_t> written;
    alignas(256) std::atomic<uint64_t> read;
    alignas(256) std::byte bytes[kCapacity];
  };
  static constexpr size_t kMemoryBytes = sizeof(Shared);
  static void Initialize(std::byte* memory) { new (memory) Shared; }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : shared_(reinterpret_cast<Shared*>(memory)) {}
    void Send(const Buffer<kBytes>& from) {
      while (position_ + kBytes - seen_ > kCapacity) {
        seen_ = shared_->read.load(std::memory_order_acquire);
      }
      const uint64_t end = std::min(position_ + kBytes + kOwned, seen_ + kCapacity);
      for (; owned_ < end; owned_ += 64) {
        asm volatile("prefetchw %0" : : "m"(shared_->bytes[owned_ % kCapacity]));
      }
      std::memcpy(shared_->bytes + position_ % kCapacity, from.data(), kBytes);
      position_ += kBytes;
      if (position_ % kStep == 0) Flush();
    }
    void Flush() { shared_->written.store(position_, std::memory_order_release); }

   private:
    static constexpr uint64_t kOwned = 2560;
    Shared* shared_;
    uint64_t position_ = 0;
    uint64_t seen_ = 0;
    uint64_t owned_ = 0;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : shared_(reinterpret_cast<Shared*>(memory)) {}
    void Receive(Buffer<kBytes>* to) {
      while (position_ == seen_) seen_ = shared_->written.load(std::memory_order_acquire);
      std::memcpy(to->data(), shared_->bytes + position_ % kCapacity, kBytes);
      position_ += kBytes;
      if (position_ % kStep == 0) shared_->read.store(position_, std::memory_order_release);
    }

   private:
    Shared* shared_;
    uint64_t position_ = 0;
    uint64_t seen_ = 0;
  };
};

// A message and its number in the lines that they fill, moved by code that does nothing else. Never
// full: for round trips only. The number starts on a line, which long messages do better without.
template <size_t kBytes>
struct LineLimit {
  static constexpr size_t kSize = kBytes;
  static constexpr size_t kSlots = 512;
  static constexpr size_t kFirst = 64 - sizeof(uint64_t);  // what the line with the number takes
  static_assert(kBytes > kFirst);
  struct alignas(128) Slot {
    std::atomic<uint64_t> number;
    std::byte first[kFirst];
    std::byte rest[kBytes - kFirst];
  };
  static constexpr size_t kMemoryBytes = kSlots * sizeof(Slot);
  static void Initialize(std::byte* memory) { new (memory) Slot[kSlots]{}; }

  class Sender {
   public:
    explicit Sender(std::byte* memory) : slots_(reinterpret_cast<Slot*>(memory)) {}
    void Send(const Buffer<kBytes>& from) {
      Slot& slot = slots_[++sent_ % kSlots];
      std::memcpy(slot.rest, from.data() + kFirst, sizeof(slot.rest));
      std::atomic_signal_fence(std::memory_order_seq_cst);
      std::memcpy(slot.first, from.data(), kFirst);
      slot.number.store(sent_, std::memory_order_release);
    }
    void Flush() {}

   private:
    Slot* slots_;
    uint64_t sent_ = 0;
  };

  class Receiver {
   public:
    explicit Receiver(std::byte* memory) : slots_(reinterpret_cast<Slot*>(memory)) {}
    void Receive(Buffer<kBytes>* to) {
      const Slot& slot = slots_[++received_ % kSlots];
      while (slot.number.load(std::memory_order_acquire) != received_) {
        asm volatile("prefetcht0 %0" : : "m"(slot.rest[0]));
      }
      std::memcpy(to->data(), slot.first, kFirst);
      std::memcpy(to->data() + kFirst, slot.rest, sizeof(slot.rest));
    }

   private:
    Slot* slots_;
    uint64_t received_ = 0;
  };
};

}  // namespace ivmq::bench

#endif  // IVMQ_TESTS_BENCH_RING_CONTENDERS_H_
