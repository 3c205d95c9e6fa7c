#ifndef IVMQ_SDK_COMMAND_BENCH_MESSAGE_H_
#define IVMQ_SDK_COMMAND_BENCH_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "sdk/command/ring_size.h"

namespace ivmq::command {

// Messages of `ivmq bench`. The first eight bytes are the sequence (its lower half) and a checksum
// of sequence and size; all others follow from the sequence, so that whoever has the message knows
// whether any byte of it is wrong.
//
// Offset  Size  Field
//      0     4  sequence, from 0 on
//      4     4  checksum
//      8        eight bytes each: a number that the sequence begins, then always kStep more
inline constexpr size_t kBenchBytesMin = 8;
inline constexpr size_t kBenchBytesMax = kMessageBytesMax;

// REQUIRES: kBenchBytesMin or more.
void FillBenchMessage(uint64_t sequence, std::span<std::byte> out);

// The last message of a run, which says how many there were before it.
inline constexpr size_t kBenchEndBytes = 24;
// REQUIRES: kBenchEndBytes.
void FillBenchEnd(uint64_t messages, std::span<std::byte> out);
bool IsBenchEnd(std::span<const std::byte> message);

struct BenchCounts {
  uint64_t messages = 0;  // as they should be
  uint64_t lost = 0;
  uint64_t damaged = 0;
  uint64_t misordered = 0;  // came again, or behind a later one

  bool Good() const { return lost == 0 && damaged == 0 && misordered == 0; }
};

// Checks what comes by one link. One thread.
class BenchCheck {
 public:
  enum class Saw { kMessage, kBadMessage, kEnd };

  // Of each message.
  explicit BenchCheck(size_t bytes) : bytes_(bytes) {}

  // kEnd: what has not come by now is counted as lost.
  Saw Look(std::span<const std::byte> message);
  const BenchCounts& counts() const { return counts_; }
  // Sequence of the next one, if nothing is lost.
  uint64_t next() const { return next_; }

 private:
  const size_t bytes_;
  uint64_t next_ = 0;
  BenchCounts counts_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_BENCH_MESSAGE_H_
