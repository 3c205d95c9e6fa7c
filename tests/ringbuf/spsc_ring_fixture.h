// A ring with both its ends in one thread.
#ifndef IVMQ_TESTS_RINGBUF_SPSC_RING_FIXTURE_H_
#define IVMQ_TESTS_RINGBUF_SPSC_RING_FIXTURE_H_

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/ringbuf/guarded_ring.h"

namespace ivmq::ringbuf {

inline std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class SpscRingTest : public testing::Test {
 protected:
  static constexpr uint64_t kCapacity = kMinCapacity;

  // Writes and publishes one record.
  WriteResult Write(std::string_view text, uint8_t flags = 0) {
    const WriteResult result = producer_.TryWrite(Bytes(text), flags);
    producer_.Publish();
    return result;
  }

  // Reads and releases one record; "(empty)" or "(corrupt)" if there is none.
  std::string Read() {
    RecordView view;
    const ReadResult result = consumer_.TryRead(&view);
    if (result == ReadResult::kEmpty) return "(empty)";
    if (result == ReadResult::kCorrupt) return "(corrupt)";
    std::string text(reinterpret_cast<const char*>(view.data), view.size);
    consumer_.Release();
    return text;
  }

  // Fills the ring with records of `bytes`; how many fitted.
  int Fill(size_t bytes) {
    const std::string text(bytes, 'x');
    int count = 0;
    while (Write(text) == WriteResult::kOk) ++count;
    return count;
  }

  GuardedRing ring_{kCapacity};
  SpscProducer<> producer_{ring_.view()};
  SpscConsumer<> consumer_{ring_.view()};
};

}  // namespace ivmq::ringbuf

#endif  // IVMQ_TESTS_RINGBUF_SPSC_RING_FIXTURE_H_
