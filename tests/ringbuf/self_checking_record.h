// Records whose length, flags and every byte follow from their sequence number and a seed.
#ifndef IVMQ_TESTS_RINGBUF_SELF_CHECKING_RECORD_H_
#define IVMQ_TESTS_RINGBUF_SELF_CHECKING_RECORD_H_

#include <cstdint>
#include <cstring>

#include "ringbuf/spsc_consumer.h"

namespace ivmq::ringbuf {

inline uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
  return value ^ (value >> 31);
}

class SelfCheckingRecord {
 public:
  // Mostly short, some longer, a few up to `max_bytes`, which occurs, as does 0.
  SelfCheckingRecord(uint64_t seed, uint64_t sequence, uint64_t max_bytes)
      : bits_(Mix(seed ^ (sequence * 0x2545F4914F6CDD1D))) {
    const uint64_t kind = bits_ % 1024;
    const uint64_t random = bits_ >> 32;
    size_ = kind == 0 ? max_bytes - (random % 3) : kind < 32 ? random % 1024 : random % 96;
    if (size_ > max_bytes) size_ = random % (max_bytes + 1);
  }

  size_t size() const { return size_; }
  uint8_t flags() const { return static_cast<uint8_t>(bits_ & 0x7F); }

  void Fill(std::byte* out) const {
    size_t i = 0;
    for (; i + 8 <= size_; i += 8) {
      const uint64_t word = bits_ + i;
      std::memcpy(out + i, &word, 8);
    }
    for (; i < size_; ++i) out[i] = static_cast<std::byte>(bits_ + i);
  }

  bool Matches(const RecordView& view) const {
    if (view.size != size_ || view.flags != flags()) return false;
    uint64_t difference = 0;
    size_t i = 0;
    for (; i + 8 <= size_; i += 8) {
      uint64_t word;
      std::memcpy(&word, view.data + i, 8);
      difference |= word ^ (bits_ + i);
    }
    for (; i < size_; ++i) {
      difference |= static_cast<uint64_t>(view.data[i] ^ static_cast<std::byte>(bits_ + i));
    }
    return difference == 0;
  }

 private:
  uint64_t bits_;
  uint64_t size_ = 0;
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_SELF_CHECKING_RECORD_H_
