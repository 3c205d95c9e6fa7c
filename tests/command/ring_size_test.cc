#include "sdk/command/ring_size.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>

#include "sdk/services/request_wire.h"

namespace ivmq::command {
namespace {

TEST(RingSizeTest, TakesTheMessageAndItsHeadAndNoMoreThanThat) {
  constexpr size_t kSmallest = 64 << 10;
  for (const size_t head : {size_t{0}, internal::kReplyHeadBytes, internal::kRequestHeadBytes}) {
    EXPECT_EQ(RingBytesFor(0, head), kSmallest) << head;
    EXPECT_EQ(RingBytesFor(kSmallest / 8 - head, head), kSmallest) << head;
    EXPECT_EQ(RingBytesFor(kSmallest / 8 - head + 1, head), 2 * kSmallest) << head;
    EXPECT_EQ(RingBytesFor(kMessageBytesMax - head, head), ringbuf::kMaxCapacity) << head;
    // What fits no ring is said where it is sent.
    EXPECT_EQ(RingBytesFor(kMessageBytesMax, head), ringbuf::kMaxCapacity) << head;
    EXPECT_EQ(RingBytesFor(SIZE_MAX, head), ringbuf::kMaxCapacity) << head;
  }
}

}  // namespace
}  // namespace ivmq::command
