// The bare ring, as the least that the SDK's path can cost: two rings in memory that both ends map,
// each large enough for eight messages, and neither broker nor node. Spins.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <thread>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

using ringbuf::ReadResult;
using ringbuf::RecordView;
using ringbuf::StdAtomics;
using ringbuf::WriteResult;

constexpr int kMessages = 400'000;  // as many as of ivmq (ivmq_end.cc)
constexpr int kTrips = 25'000;
constexpr int kBatch = 32;

// Both rings, in shared memory of a name of its own: files in the folder where ends meet may lie on
// a disk, which is written to.
std::byte* MapRings(const Meet& meet, uint64_t capacity) {
  std::string name = "/ivmq" + meet.name;
  std::replace(name.begin() + 1, name.end(), '/', '-');
  const bool first = meet.end == End::kFirst;
  const size_t bytes = 2 * ringbuf::RingBytes(capacity);
  int fd = -1;
  struct stat found {};
  if (first) {
    fd = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    Require(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0, "shm_open");
  } else {
    while ((fd = ::shm_open(name.c_str(), O_RDWR, 0)) < 0) std::this_thread::yield();
    while (::fstat(fd, &found) == 0 && found.st_size == 0) std::this_thread::yield();
    ::shm_unlink(name.c_str());
  }
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  Require(memory != MAP_FAILED, "mmap");
  ::close(fd);
  auto* const rings = static_cast<std::byte*>(memory);
  std::byte* const back = rings + ringbuf::RingBytes(capacity);
  if (first) {
    ringbuf::InitializeRing(rings, capacity);
    ringbuf::InitializeRing(back, capacity);
  }
  while (!ringbuf::ValidateRing(ringbuf::RingAt(back, capacity)).ok()) std::this_thread::yield();
  return rings;
}

template <bool kFlushEach>
class RingEnd {
 public:
  explicit RingEnd(const Meet& meet) {
    const uint64_t capacity =
        std::max<uint64_t>(ringbuf::kDefaultCapacity, std::bit_ceil(8 * meet.bytes));
    std::byte* const there = MapRings(meet, capacity);
    std::byte* const back = there + ringbuf::RingBytes(capacity);
    const bool first = meet.end == End::kFirst;
    producer_.emplace(ringbuf::RingAt(first ? there : back, capacity));
    consumer_.emplace(ringbuf::RingAt(first ? back : there, capacity));
  }

  void Send(std::span<const std::byte> message, bool more) {
    while (producer_->TryWrite(message) != WriteResult::kOk) StdAtomics::Pause();
    if (!kFlushEach && more && ++kept_ < kBatch) return;
    kept_ = 0;
    producer_->Publish();
    if (producer_->NeedsWake()) ++wakes_;
  }

  int Receive(Messages* expected, int /*limit*/) {
    RecordView view;
    while (consumer_->TryRead(&view) != ReadResult::kOk) {
    }
    expected->Expect(view.data, view.size);
    consumer_->Release();
    return 1;
  }

 private:
  std::optional<ringbuf::SpscProducer<>> producer_;
  std::optional<ringbuf::SpscConsumer<>> consumer_;
  int kept_ = 0;
  uint64_t wakes_ = 0;
};

}  // namespace

void AddRing(std::vector<Contender>* to) {
  for (Contender contender : {ContenderOf<RingEnd<false>>("ring", kMessages, kTrips),
                              ContenderOf<RingEnd<true>>("ring_each", kMessages, 0)}) {
    contender.spins = true;
    to->push_back(std::move(contender));
  }
}

}  // namespace ivmq::bench
