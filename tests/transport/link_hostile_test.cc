#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/transport/stream_yard.h"
#include "transport/link_poller.h"
#include "transport/stream_loop.h"
#include "transport/waiter.h"

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// A member of the realm that writes nonsense to chosen places, from its own mapping, until it is
// stopped. Writes whole words, atomically: what a hostile guest does to memory is no data race.
class Scribbler {
 public:
  Scribbler(std::span<std::byte> region, uint64_t seed) : region_(region), random_(seed) {}
  ~Scribbler() { Stop(); }

  void Add(uint64_t offset, uint64_t bytes) {
    for (uint64_t at = offset / 8 * 8; at < offset + bytes; at += 8) words_.push_back(at);
  }
  void Start() {
    thread_ = std::thread([this] {
      while (!stop_.load(std::memory_order_relaxed)) {
        Word(words_[random_() % words_.size()]).store(Nonsense(), std::memory_order_relaxed);
        for (uint64_t i = random_() % 200; i > 0; --i) __builtin_ia32_pause();
      }
    });
  }
  void Stop() {
    stop_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic_ref<uint64_t> Word(uint64_t offset) const {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(region_.data() + offset));
  }
  // Often small or near the limits, where checks go wrong.
  uint64_t Nonsense() {
    switch (random_() % 6) {
      case 0:
        return 0;
      case 1:
        return random_() % 8192;
      case 2:
        return ~(random_() % 8192);
      case 3:
        return uint64_t{1} << (random_() % 64);
      case 4:
        return random_() % 8192 * 8;
      default:
        return random_();
    }
  }

  std::span<std::byte> region_;
  std::mt19937_64 random_;
  std::vector<uint64_t> words_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class LinkHostileTest : public testing::Test {
 protected:
  static constexpr auto kTime = milliseconds(400);

  LinkHostileTest() { std::printf("seed %lu\n", static_cast<unsigned long>(seed_)); }

  LinkAddress AddLink(const YardNode& producer) { return AddLink(yard_.MakeLink(producer, host_)); }
  LinkAddress AddLink(const LinkAddress& address) {
    EXPECT_TRUE(
        poller_.Add(std::make_unique<LinkReader>(LinkYard::OpenReader(host_, address))).ok());
    return address;
  }

  const uint64_t seed_ = std::random_device()();
  LinkYard yard_;
  YardNode host_ = yard_.MakeNode(yard_.host);
  YardNode good_ = yard_.MakeNode(yard_.realm.AddPeer(1));
  YardNode evil_ = yard_.MakeNode(yard_.realm.AddPeer(2));
  LinkPoller poller_;
};

// Over rings, and over slot rings that keep the last messages.
class AnyLinkHostileTest : public LinkHostileTest, public testing::WithParamInterface<uint32_t> {
 protected:
  static constexpr uint64_t kSlotMessage = 64;

  static LinkAddress Make(LinkYard* yard, const YardNode& producer, const YardNode& consumer) {
    const uint32_t depth = GetParam();
    return depth == 0 ? yard->MakeLink(producer, consumer)
                      : yard->MakeKeepLastLink(producer, consumer, depth, kSlotMessage);
  }
  static uint64_t MemoryBytes(const LinkAddress& address) {
    return address.depth == 0 ? ringbuf::RingBytes(address.ring_capacity)
                              : ringbuf::KeepLastBytes(address.depth, address.max_message_bytes);
  }
  static uint64_t RecordBytesMax() {
    return GetParam() == 0 ? ringbuf::MaxInlineRecord(ringbuf::kMinCapacity) : kSlotMessage;
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, AnyLinkHostileTest, testing::Values(0, 1, 5));

// A good producer and a scribbling one share a consumer: the good one's records all come, in order.
TEST_P(AnyLinkHostileTest, ScribbledMemoryIsQuarantinedAndTheGoodLinkLosesNothing) {
  const LinkAddress good = AddLink(good_);
  Scribbler scribbler(evil_.device->region(), seed_);
  std::set<uint64_t> evil;
  for (int i = 0; i < 8; ++i) {
    const LinkAddress address = AddLink(Make(&yard_, evil_, host_));
    evil.insert(address.link_id);
    scribbler.Add(address.ring_offset, MemoryBytes(address));
    scribbler.Add(address.producer.wake_offset, sizeof(WakeBlock));
  }
  const auto waiter = LocalRealm::Must(Waiter::Open(host_.wake));
  LinkWriter writer = LinkYard::OpenWriter(good_, good);
  scribbler.Start();

  uint64_t written = 0;
  uint64_t read = 0;
  std::set<uint64_t> quarantined;
  const auto until = Clock::now() + kTime;
  const auto give_up = Soon();
  while (Clock::now() < give_up &&
         (Clock::now() < until || read < written || quarantined.empty())) {
    if (Clock::now() < until &&
        writer.TryWrite(std::as_bytes(std::span(&written, 1))) == WriteResult::kOk) {
      ++written;
      writer.Flush();
    }
    LinkReader* reader = nullptr;
    RecordView record;
    for (int i = 0; i < 100 && poller_.Next(&reader, &record); ++i) {
      ASSERT_LE(record.size, RecordBytesMax());
      if (reader->link_id() == good.link_id) {
        uint64_t number = 0;
        ASSERT_EQ(record.size, sizeof(number));
        std::memcpy(&number, record.data, sizeof(number));
        ASSERT_EQ(number, read++);
      }
      reader->Release();
    }
    (void)waiter->Wait(Clock::now(), [&](Look look) { return poller_.HasWork(look); });
    for (const auto& corrupt : poller_.TakeCorrupt()) quarantined.insert(corrupt.link_id);
  }
  scribbler.Stop();
  EXPECT_GT(written, 0u);
  EXPECT_EQ(read, written);
  EXPECT_FALSE(quarantined.empty());
  for (const uint64_t id : quarantined) EXPECT_EQ(evil.count(id), 1u);
}

// Ready bytes, sleep words and wants carry no truth, only hints: scribbling on them costs time.
TEST_F(LinkHostileTest, ScribbledWakeUpWordsCorruptNothingAndLoseNoRecord) {
  const LinkAddress address = AddLink(good_);
  Scribbler scribbler(evil_.device->region(), seed_);
  scribbler.Add(address.consumer.ready_offset, 1);
  scribbler.Add(address.producer.ready_offset, 1);
  scribbler.Add(address.consumer.wake_offset, 8);
  scribbler.Add(address.producer.wake_offset, 8);
  scribbler.Add(address.ring_offset + offsetof(ringbuf::RingDescriptor, want), 8);
  scribbler.Add(address.ring_offset + offsetof(ringbuf::RingDescriptor, space_want), 8);
  scribbler.Start();

  std::atomic<uint64_t> written = 0;
  std::atomic<bool> all_written = false;
  std::thread producer([&] {
    LinkWriter writer = LinkYard::OpenWriter(good_, address);
    const auto waiter = LocalRealm::Must(Waiter::Open(good_.wake));
    const auto until = Clock::now() + kTime;
    while (Clock::now() < until) {
      const uint64_t number = written.load();
      const WriteResult result = writer.TryWrite(std::as_bytes(std::span(&number, 1)));
      ASSERT_NE(result, WriteResult::kCorrupt);
      writer.Flush();
      if (result == WriteResult::kOk) {
        ++written;
      } else {
        (void)waiter->Wait(Soon(), [&](Look look) {
          return look == Look::kSpin ? writer.HasRoom(8)
                                     : writer.ArmSpace(8) || writer.space_signalled();
        });
      }
    }
    all_written = true;
  });
  const auto waiter = LocalRealm::Must(Waiter::Open(host_.wake));
  uint64_t read = 0;
  const auto give_up = Soon();
  while (Clock::now() < give_up && !(all_written && read == written)) {
    LinkReader* reader = nullptr;
    RecordView record;
    while (poller_.Next(&reader, &record)) {
      uint64_t number = 0;
      std::memcpy(&number, record.data, sizeof(number));
      ASSERT_EQ(number, read++);
      reader->Release();
    }
    (void)waiter->Wait(Clock::now() + milliseconds(100),
                       [&](Look look) { return poller_.HasWork(look); });
  }
  producer.join();
  scribbler.Stop();
  EXPECT_EQ(read, written);
  EXPECT_TRUE(poller_.TakeCorrupt().empty());
}

TEST_F(LinkHostileTest, AWriterWhoseConsumerScribblesEndsWithAnAnswer) {
  const LinkAddress address = yard_.MakeLink(good_, evil_);
  LinkWriter writer = LinkYard::OpenWriter(good_, address);
  Scribbler scribbler(evil_.device->region(), seed_);
  scribbler.Add(address.ring_offset + offsetof(ringbuf::RingDescriptor, head), 16);
  scribbler.Add(address.ring_offset + offsetof(ringbuf::RingDescriptor, want), 8);
  scribbler.Add(address.ring_offset + offsetof(ringbuf::RingDescriptor, records_read), 8);
  scribbler.Start();
  const auto give_up = Soon();
  WriteResult result = WriteResult::kOk;
  while (result != WriteResult::kCorrupt && Clock::now() < give_up) {
    result = writer.TryWrite(Bytes("0123456789abcdef"));
    writer.Flush();
    (void)writer.ArmSpace(16);
    (void)writer.counters();
  }
  EXPECT_EQ(result, WriteResult::kCorrupt);
  EXPECT_TRUE(writer.corrupt());
  EXPECT_TRUE(writer.ArmSpace(16)) << "nobody sleeps on a corrupt link";
}

// Each word in turn gets each of the values where checks go wrong, while it is idle and
// while it is in use: reads stay bounded and what comes out is a record, nothing, or corrupt.
TEST_P(AnyLinkHostileTest, NoValueInAnyWordOfTheDescriptorBreaksAReader) {
  constexpr uint64_t kDescriptorBytes =
      std::max(sizeof(ringbuf::RingDescriptor), sizeof(ringbuf::KeepLastDescriptor));
  const uint64_t values[] = {0,
                             1,
                             7,
                             8,
                             64,
                             4095,
                             4096,
                             4104,
                             uint64_t{1} << 32,
                             uint64_t{1} << 63,
                             ~uint64_t{0},
                             ~uint64_t{7}};
  for (uint64_t word = 0; word < kDescriptorBytes + 64; word += 8) {
    for (const uint64_t value : values) {
      LinkYard yard(1 << 20);
      const YardNode host = yard.MakeNode(yard.host);
      const YardNode guest = yard.MakeNode(yard.realm.AddPeer(1));
      const LinkAddress address = Make(&yard, guest, host);
      LinkWriter writer = LinkYard::OpenWriter(guest, address);
      LinkPoller poller;
      ASSERT_TRUE(
          poller.Add(std::make_unique<LinkReader>(LinkYard::OpenReader(host, address))).ok());
      (void)writer.TryWrite(Bytes("before"));
      writer.Flush();
      (void)poller.ArmAll();
      std::memcpy(yard.At(address.ring_offset + word), &value, sizeof(value));
      LinkReader* reader = nullptr;
      RecordView record;
      int records = 0;
      for (int i = 0; i < 200; ++i) {
        (void)writer.TryWrite(Bytes("after"));
        writer.Flush();
        if (poller.Next(&reader, &record)) {
          ++records;
          ASSERT_LE(record.size, RecordBytesMax());
          reader->Release();
        }
        (void)poller.HasWork(Look::kThorough);
      }
      EXPECT_TRUE(records > 0 || poller.has_corrupt() || writer.corrupt()) << word << " " << value;
    }
  }
}

TEST(StreamHostileTest, AScribbledStreamEndsAndTheOthersGoOn) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  StreamYard yard;
  const StreamPlaces good = yard.MakeStream(ringbuf::kMinCapacity);
  const StreamPlaces evil = yard.MakeStream(ringbuf::kMinCapacity);
  StreamYard::Side control = yard.OpenSide(StreamSide::kControl, good);
  StreamYard::Side agent = yard.OpenSide(StreamSide::kAgent, good);
  StreamYard::Side victim = yard.OpenSide(StreamSide::kControl, evil);
  const auto control_loop = LocalRealm::Must(StreamLoop::Start(yard.control.wake));
  const auto agent_loop = LocalRealm::Must(StreamLoop::Start(yard.agent.wake));
  std::atomic<int> good_closed = 0;
  std::atomic<int> victim_closed = 0;
  control_loop->Add(std::move(control.far), std::move(*control.links),
                    [&](const Status&) { ++good_closed; });
  control_loop->Add(std::move(victim.far), std::move(*victim.links),
                    [&](const Status&) { ++victim_closed; });
  agent_loop->Add(std::move(agent.far), std::move(*agent.links), nullptr);

  Scribbler scribbler(yard.agent.device->region(), seed);
  scribbler.Add(evil.to_control_ring_offset, ringbuf::RingBytes(evil.ring_bytes));
  scribbler.Add(evil.to_control_ready_offset, 1);
  scribbler.Start();
  // What the victim's application gets is nonsense, and then the end.
  std::thread reader([&] {
    char piece[4096];
    while (::recv(victim.near.get(), piece, sizeof(piece), 0) > 0) {
    }
  });
  for (int i = 0; i < 2000; ++i) {
    char byte = static_cast<char>(i);
    ASSERT_EQ(::send(agent.near.get(), &byte, 1, 0), 1);
    ASSERT_EQ(::recv(control.near.get(), &byte, 1, MSG_WAITALL), 1);
    ASSERT_EQ(byte, static_cast<char>(i));
  }
  EXPECT_TRUE(Eventually([&] { return victim_closed == 1; }));
  reader.join();
  scribbler.Stop();
  EXPECT_EQ(good_closed, 0);
}

}  // namespace
}  // namespace ivmq::transport
