// Links over slot rings: what differs from links over rings (link_test.cc), and both side by side.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/transport/link_yard.h"
#include "transport/link_poller.h"
#include "transport/waiter.h"

namespace ivmq::transport {
namespace {

class KeepLastLinkTest : public testing::Test {
 protected:
  Code WriterCode(const LinkAddress& address) {
    return LinkWriter::Open(guest_.device, address, Doorbell()).status().code();
  }
  Code ReaderCode(const LinkAddress& address) {
    return LinkReader::Open(host_.device, address, Doorbell()).status().code();
  }

  LinkYard yard_;
  YardNode host_ = yard_.MakeNode(yard_.host);
  YardNode guest_ = yard_.MakeNode(yard_.realm.AddPeer(1));
  LinkAddress address_ = yard_.MakeKeepLastLink(guest_, host_, 3);
};

TEST_F(KeepLastLinkTest, CarriesTheLastRecordsAndSaysWhatWasLost) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  EXPECT_TRUE(writer.overwrites());
  EXPECT_TRUE(writer.AllConsumed());
  for (const char* text : {"one", "two", "three", "four", "five"}) {
    EXPECT_TRUE(writer.HasRoom(5));
    EXPECT_EQ(writer.TryWrite(Bytes(text), 0x02), WriteResult::kOk);
  }
  writer.Flush();
  EXPECT_FALSE(writer.AllConsumed());
  RecordView record;
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(Text(record), "three");
  EXPECT_EQ(record.flags, 0x02);
  EXPECT_EQ(record.sequence, 2u);
  EXPECT_EQ(reader.lost(), 2u);
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(Text(record), "four");
  EXPECT_EQ(reader.lost(), 0u);
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(reader.TryRead(&record), ReadResult::kEmpty);
  EXPECT_FALSE(writer.AllConsumed());
  EXPECT_EQ(writer.BytesInFlight(), writer.capacity()) << "all that is kept";
  reader.Release();
  EXPECT_TRUE(writer.AllConsumed());
  EXPECT_EQ(writer.BytesInFlight(), 0u);
}

TEST_F(KeepLastLinkTest, Counts) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(writer.TryWrite(Bytes("abcd")), WriteResult::kOk);
  writer.Flush();
  EXPECT_EQ(writer.counters().records, 10u);
  EXPECT_EQ(writer.counters().bytes, 40u);
  EXPECT_EQ(writer.counters().records_in_flight, 10u);
  EXPECT_EQ(writer.counters().overwritten, 0u) << "as far as the reader has reported";
  EXPECT_EQ(writer.counters().wakes, 1u) << "a fresh link counts as armed";
  RecordView record;
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(reader.counters().records, 1u);
  EXPECT_EQ(reader.counters().records_in_flight, 1u);
  EXPECT_EQ(reader.counters().overwritten, 7u);
  EXPECT_EQ(reader.counters().first_overwritten, 0u);
  EXPECT_EQ(reader.counters().last_overwritten, 6u);
  reader.Release();
  EXPECT_EQ(reader.counters().records_in_flight, 0u);
  EXPECT_EQ(writer.counters().records_in_flight, 2u);
  EXPECT_EQ(writer.counters().overwritten, 7u);
}

TEST_F(KeepLastLinkTest, KnowsTheFirstAndTheLastThatWereOverwritten) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  RecordView record;
  const auto write = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_EQ(writer.TryWrite(Bytes("abcd")), WriteResult::kOk);
  };
  write(2);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(reader.counters().overwritten, 0u);
  write(5);  // 2 to 6, of which the last three are kept
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(record.sequence, 4u);
  EXPECT_EQ(reader.counters().first_overwritten, 2u);
  EXPECT_EQ(reader.counters().last_overwritten, 3u);
  write(4);  // 7 to 10
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(record.sequence, 8u);
  EXPECT_EQ(reader.counters().overwritten, 5u);
  EXPECT_EQ(reader.counters().first_overwritten, 2u);
  EXPECT_EQ(reader.counters().last_overwritten, 7u);
}

TEST_F(KeepLastLinkTest, AClaimIsPrivateUntilItIsCommitted) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  std::byte* payload = nullptr;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(writer.TryClaim(64, 0, &payload), WriteResult::kOk);
    std::memset(payload, 0xFF, 64);
    writer.Abort();
  }
  RecordView record;
  EXPECT_EQ(reader.TryRead(&record), ReadResult::kEmpty);
  ASSERT_EQ(writer.TryClaim(2, 0x04, &payload), WriteResult::kOk);
  std::memcpy(payload, "hi", 2);
  writer.Commit();
  writer.Flush();
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(Text(record), "hi");
  EXPECT_EQ(record.flags, 0x04);
  EXPECT_EQ(reader.lost(), 0u);
  EXPECT_EQ(writer.counters().records, 1u);
  EXPECT_EQ(writer.counters().bytes, 2u);
  EXPECT_EQ(writer.TryClaim(65, 0, &payload), WriteResult::kTooLarge);
  EXPECT_EQ(writer.TryWrite(std::vector<std::byte>(65)), WriteResult::kTooLarge);
  EXPECT_FALSE(writer.HasRoom(65));
  EXPECT_TRUE(writer.ArmSpace(65)) << "there is an answer";
}

TEST_F(KeepLastLinkTest, WakesOncePerArming) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  ASSERT_TRUE(reader.Arm());
  EXPECT_FALSE(reader.signalled());
  EXPECT_FALSE(reader.Peek());
  host_.wake->BeginSleep();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(writer.TryWrite(Bytes("x")), WriteResult::kOk);
    writer.Flush();
  }
  EXPECT_TRUE(reader.signalled());
  EXPECT_EQ(writer.counters().doorbells, 1u);
  EXPECT_TRUE(reader.Peek());
  EXPECT_FALSE(reader.Arm()) << "there is something to read";
  host_.wake->EndSleep();
}

TEST_F(KeepLastLinkTest, RefusesPlacesOutsideTheRegionSizesThatMayNotBeAndOtherStructures) {
  const uint64_t size = yard_.host->region().size();
  LinkAddress bad = address_;
  for (const uint64_t offset : {uint64_t{0}, size, size - 64, ~uint64_t{63}, uint64_t{1} << 63}) {
    bad.ring_offset = offset;
    EXPECT_EQ(WriterCode(bad), Code::kOutOfRange) << offset;
    EXPECT_EQ(ReaderCode(bad), Code::kOutOfRange) << offset;
  }
  bad.ring_offset = address_.ring_offset + 8;
  EXPECT_EQ(WriterCode(bad), Code::kInvalidArgument);
  bad = address_;
  for (const uint32_t depth : {65537U, 0xFFFFFFFFU}) {
    bad.depth = depth;
    EXPECT_EQ(ReaderCode(bad), Code::kInvalidArgument) << depth;
  }
  bad.depth = 65536;
  EXPECT_EQ(ReaderCode(bad), Code::kOutOfRange) << "does not fit there";
  bad = address_;
  for (const uint64_t bytes : {uint64_t{0}, ringbuf::kMaxSlotMessageBytes + 1, ~uint64_t{0}}) {
    bad.max_message_bytes = bytes;
    EXPECT_EQ(WriterCode(bad), Code::kInvalidArgument) << bytes;
  }
  bad.max_message_bytes = address_.max_message_bytes + 1;
  EXPECT_EQ(WriterCode(bad), Code::kDataLoss) << "another size";
  bad = address_;
  bad.depth = 2;
  EXPECT_EQ(ReaderCode(bad), Code::kDataLoss) << "another depth";
  bad = yard_.MakeLink(guest_, host_);
  bad.depth = 3;
  bad.max_message_bytes = 64;
  EXPECT_EQ(ReaderCode(bad), Code::kDataLoss) << "a ring";
  bad = address_;
  bad.depth = 0;
  bad.ring_capacity = ringbuf::kMinCapacity;
  EXPECT_EQ(ReaderCode(bad), Code::kDataLoss) << "not a ring";
}

// Each word of the descriptor and of the first slot in turn gets each of the values where checks go
// wrong, under use: what comes out is a record, nothing, or corrupt.
TEST_F(KeepLastLinkTest, NoValueInAnyWordBreaksAReader) {
  const uint64_t values[] = {0,
                             1,
                             2,
                             3,
                             4,
                             8,
                             63,
                             65,
                             4096,
                             uint64_t{1} << 32,
                             uint64_t{1} << 62,
                             uint64_t{1} << 63,
                             ~uint64_t{0}};
  const LinkAddress address = yard_.MakeKeepLastLink(guest_, host_, 3);
  for (uint64_t word = 0; word < sizeof(ringbuf::KeepLastDescriptor) + 128; word += 8) {
    for (const uint64_t value : values) {
      ringbuf::InitializeKeepLast(yard_.At(address.ring_offset), 3, address.max_message_bytes);
      LinkWriter writer = LinkYard::OpenWriter(guest_, address);
      LinkPoller poller;
      ASSERT_TRUE(
          poller.Add(std::make_unique<LinkReader>(LinkYard::OpenReader(host_, address))).ok());
      (void)writer.TryWrite(Bytes("before"));
      writer.Flush();
      (void)poller.ArmAll();
      std::memcpy(yard_.At(address.ring_offset + word), &value, sizeof(value));
      LinkReader* reader = nullptr;
      RecordView record;
      int records = 0;
      for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(writer.TryWrite(Bytes("after")), WriteResult::kOk);
        writer.Flush();
        (void)writer.AllConsumed();
        if (i % 7 != 0 && poller.Next(&reader, &record)) {
          ++records;
          ASSERT_LE(record.size, address.max_message_bytes);
          reader->Release();
        }
        (void)poller.HasWork(Look::kThorough);
      }
      EXPECT_TRUE(records > 0 || poller.has_corrupt()) << word << " " << value;
    }
  }
}

// Writes numbered records to links chosen at random, each link's from 0; waits only for rings.
void WriteAtRandom(const YardNode& node, std::vector<LinkWriter>* writers, uint64_t records,
                   uint64_t seed) {
  const auto waiter = LocalRealm::Must(Waiter::Open(node.wake));
  std::mt19937_64 random(seed);
  std::vector<uint64_t> written(writers->size());
  for (uint64_t i = 0; i < records; ++i) {
    const size_t link = random() % writers->size();
    LinkWriter* writer = &(*writers)[link];
    const auto payload = std::as_bytes(std::span(&written[link], 1));
    while (writer->TryWrite(payload) != WriteResult::kOk) {
      ASSERT_FALSE(writer->overwrites()) << "it never waits";
      const WaitResult result = waiter->Wait(Soon(), [&](Look look) {
        return look == Look::kSpin ? writer->HasRoom(8)
                                   : writer->ArmSpace(8) || writer->space_signalled();
      });
      ASSERT_NE(result, WaitResult::kDeadline);
    }
    writer->Flush();
    ++written[link];
    if (random() % 256 == 0) std::this_thread::yield();
  }
}

// Rings and slot rings to one poller, which sleeps: the rings' records all come, and the slot
// rings' are read or lost. Nothing but wake-ups may show them.
class MixedLinksTest : public testing::TestWithParam<WaitStrategy> {};

TEST_P(MixedLinksTest, NoWakeUpIsLostAndEachLinkAddsUp) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr uint64_t kRecords = 10'000;
#else
  constexpr uint64_t kRecords = 100'000;
#endif
  constexpr int kLinks = 16;
  const uint64_t seed = std::random_device()();
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  LinkYard yard(8 << 20);
  const YardNode host = yard.MakeNode(yard.host);
  const YardNode guest = yard.MakeNode(yard.realm.AddPeer(1));
  std::vector<LinkWriter> writers;
  LinkPoller poller;
  for (int i = 0; i < kLinks; ++i) {
    const LinkAddress address =
        i % 2 == 0 ? yard.MakeLink(guest, host)
                   : yard.MakeKeepLastLink(guest, host, 1U << (i / 2), sizeof(uint64_t));
    writers.push_back(LinkYard::OpenWriter(guest, address));
    ASSERT_TRUE(poller.Add(std::make_unique<LinkReader>(LinkYard::OpenReader(host, address))).ok());
  }
  std::thread producer([&] { WriteAtRandom(guest, &writers, kRecords, seed); });
  const auto waiter = LocalRealm::Must(Waiter::Open(host.wake, {.strategy = GetParam()}));
  std::vector<uint64_t> next(kLinks + 1);
  for (uint64_t accounted = 0; accounted < kRecords;) {
    LinkReader* reader = nullptr;
    RecordView record;
    while (poller.Next(&reader, &record)) {
      uint64_t number = 0;
      ASSERT_EQ(record.size, sizeof(number));
      std::memcpy(&number, record.data, sizeof(number));
      uint64_t& expected = next[reader->link_id()];
      ASSERT_EQ(number, expected + reader->lost());
      ASSERT_TRUE(reader->lost() == 0 || reader->link_id() % 2 == 0) << "a ring loses nothing";
      accounted += 1 + reader->lost();
      expected = number + 1;
      reader->Release();
    }
    if (accounted == kRecords) break;
    ASSERT_NE(waiter->Wait(Soon(),
                           [&](Look look) {
                             return poller.HasWork(look == Look::kThorough ? Look::kSleep : look);
                           }),
              WaitResult::kDeadline)
        << accounted << " of " << kRecords;
  }
  producer.join();
  EXPECT_FALSE(poller.has_corrupt());
  for (int i = 0; i < kLinks; ++i) {
    const LinkCounters wrote = writers[static_cast<size_t>(i)].counters();
    const LinkCounters read = poller.Find(static_cast<uint64_t>(i) + 1)->counters();
    EXPECT_EQ(wrote.records, read.records + read.overwritten) << "link " << i + 1;
    EXPECT_EQ(wrote.overwritten, read.overwritten);
    EXPECT_TRUE(i % 2 == 0 || writers[static_cast<size_t>(i)].AllConsumed());
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, MixedLinksTest,
                         testing::Values(WaitStrategy::kBlock, WaitStrategy::kAdaptive,
                                         WaitStrategy::kSpin),
                         [](const auto& info) {
                           return info.param == WaitStrategy::kBlock      ? "Block"
                                  : info.param == WaitStrategy::kAdaptive ? "Adaptive"
                                                                          : "Spin";
                         });

}  // namespace
}  // namespace ivmq::transport
