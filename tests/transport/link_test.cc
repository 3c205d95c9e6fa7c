#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/transport/link_yard.h"
#include "transport/link_reader.h"
#include "transport/link_writer.h"
#include "transport/waiter.h"

namespace ivmq::transport {
namespace {

class LinkTest : public testing::Test {
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
  LinkAddress address_ = yard_.MakeLink(guest_, host_);
};

TEST_F(LinkTest, CarriesRecordsInOrder) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  EXPECT_EQ(writer.TryWrite(Bytes("one")), WriteResult::kOk);
  EXPECT_EQ(writer.TryWrite(Bytes(""), 0x02), WriteResult::kOk);
  RecordView record;
  EXPECT_EQ(reader.TryRead(&record), ReadResult::kEmpty) << "before the flush";
  writer.Flush();
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(Text(record), "one");
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(record.size, 0u);
  EXPECT_EQ(record.flags, 0x02);
  EXPECT_EQ(reader.TryRead(&record), ReadResult::kEmpty);
}

TEST_F(LinkTest, CountsWhatItCarries) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  std::byte* payload = nullptr;
  ASSERT_EQ(writer.TryClaim(5, 0, &payload), WriteResult::kOk);
  writer.Abort();
  ASSERT_EQ(writer.TryClaim(7, 0, &payload), WriteResult::kOk);
  writer.Commit();
  ASSERT_EQ(writer.TryWrite(Bytes("abc")), WriteResult::kOk);
  writer.Flush();
  EXPECT_EQ(writer.counters().records, 2u);
  EXPECT_EQ(writer.counters().bytes, 10u);
  EXPECT_EQ(writer.counters().records_in_flight, 2u);
  EXPECT_EQ(writer.counters().wakes, 1u) << "a fresh link counts as armed";
  EXPECT_EQ(writer.counters().doorbells, 0u) << "nobody sleeps";

  RecordView record;
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  EXPECT_EQ(reader.counters().records, 2u);
  EXPECT_EQ(reader.counters().bytes, 10u);
  EXPECT_EQ(reader.counters().records_in_flight, 2u);
  reader.Release();
  EXPECT_EQ(reader.counters().records_in_flight, 0u);
  EXPECT_EQ(reader.TryRead(&record), ReadResult::kEmpty);  // reports the release
  EXPECT_EQ(writer.counters().records_in_flight, 0u);
}

TEST_F(LinkTest, WakesOncePerArming) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  ASSERT_TRUE(reader.Arm());
  EXPECT_FALSE(reader.signalled());
  host_.wake->BeginSleep();
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(writer.TryWrite(Bytes("x")), WriteResult::kOk);
    writer.Flush();
  }
  EXPECT_TRUE(reader.signalled());
  EXPECT_EQ(writer.counters().doorbells, 1u);
  EXPECT_TRUE(reader.Peek());
  EXPECT_FALSE(reader.Arm()) << "there is something to read";
  host_.wake->EndSleep();
}

TEST_F(LinkTest, WakesAProducerThatWaitsForRoom) {
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  const std::vector<std::byte> payload(writer.max_record_bytes());
  while (writer.TryWrite(payload) == WriteResult::kOk) {
  }
  EXPECT_FALSE(writer.HasRoom(payload.size()));
  ASSERT_FALSE(writer.ArmSpace(payload.size()));
  EXPECT_FALSE(writer.space_signalled());
  guest_.wake->BeginSleep();
  RecordView record;
  ASSERT_EQ(reader.TryRead(&record), ReadResult::kOk);
  while (reader.TryRead(&record) == ReadResult::kOk) {
  }
  reader.Release();
  (void)reader.TryRead(&record);
  guest_.wake->EndSleep();
  EXPECT_TRUE(writer.space_signalled());
  EXPECT_EQ(reader.counters().doorbells, 1u);
  EXPECT_TRUE(writer.ArmSpace(payload.size()));
  EXPECT_EQ(writer.TryWrite(payload), WriteResult::kOk);
}

TEST_F(LinkTest, ABlockedProducerAndABlockedConsumerNeverWaitForEachOther) {
  constexpr uint64_t kRecords = 20'000;
  LinkWriter writer = LinkYard::OpenWriter(guest_, address_);
  LinkReader reader = LinkYard::OpenReader(host_, address_);
  std::thread producer([&] {
    const auto waiter = LocalRealm::Must(Waiter::Open(guest_.wake));
    for (uint64_t i = 0; i < kRecords; ++i) {
      std::vector<uint64_t> numbers(i % 64, i);
      const auto payload = std::as_bytes(std::span(numbers));
      while (writer.TryWrite(payload) == WriteResult::kFull) {
        const WaitResult result = waiter->Wait(Soon(), [&](Look look) {
          return look == Look::kSpin ? writer.HasRoom(payload.size())
                                     : writer.ArmSpace(payload.size()) || writer.space_signalled();
        });
        ASSERT_NE(result, WaitResult::kDeadline);
      }
      writer.Flush();
    }
  });
  const auto waiter = LocalRealm::Must(Waiter::Open(host_.wake));
  for (uint64_t i = 0; i < kRecords; ++i) {
    RecordView record;
    while (reader.TryRead(&record) == ReadResult::kEmpty) {
      const WaitResult result = waiter->Wait(Soon(), [&](Look look) {
        return look == Look::kSpin ? reader.Peek() : !reader.Arm() || reader.signalled();
      });
      ASSERT_NE(result, WaitResult::kDeadline);
    }
    ASSERT_EQ(record.size, (i % 64) * sizeof(uint64_t));
    ASSERT_EQ(record.sequence, i);
    reader.Release();
  }
  producer.join();
}

TEST_F(LinkTest, RefusesRingsThatDoNotLieInTheRegion) {
  const uint64_t size = yard_.host->region().size();
  LinkAddress bad = address_;
  for (const uint64_t offset : {uint64_t{0}, size, size - 64, size - 4096, ~uint64_t{63},
                                uint64_t{0} - ringbuf::RingBytes(4096), uint64_t{1} << 63}) {
    bad.ring_offset = offset;
    const Code expected = offset % 64 == 0 ? Code::kOutOfRange : Code::kInvalidArgument;
    EXPECT_EQ(WriterCode(bad), expected) << offset;
    EXPECT_EQ(ReaderCode(bad), expected) << offset;
  }
  bad.ring_offset = address_.ring_offset + 8;
  EXPECT_EQ(WriterCode(bad), Code::kInvalidArgument);
  EXPECT_EQ(ReaderCode(bad), Code::kInvalidArgument);
}

TEST_F(LinkTest, RefusesCapacitiesThatNoRingMayHave) {
  LinkAddress bad = address_;
  for (const uint64_t capacity : {uint64_t{0}, uint64_t{1}, uint64_t{2048}, uint64_t{4095},
                                  uint64_t{5000}, uint64_t{32} << 20, ~uint64_t{0}}) {
    bad.ring_capacity = capacity;
    EXPECT_EQ(WriterCode(bad), Code::kInvalidArgument) << capacity;
    EXPECT_EQ(ReaderCode(bad), Code::kInvalidArgument) << capacity;
  }
}

TEST_F(LinkTest, RefusesWhatIsNoRingOrAnother) {
  LinkAddress bad = address_;
  bad.ring_capacity *= 2;
  EXPECT_EQ(WriterCode(bad), Code::kDataLoss);
  bad = address_;
  bad.ring_offset = yard_.Allocate(ringbuf::RingBytes(bad.ring_capacity));
  EXPECT_EQ(WriterCode(bad), Code::kDataLoss);
  EXPECT_EQ(ReaderCode(bad), Code::kDataLoss);
}

TEST_F(LinkTest, RefusesWakeUpPlacesOutsideTheRegionNamingThem) {
  const uint64_t size = yard_.host->region().size();
  LinkAddress bad = address_;
  bad.consumer.ready_offset = size;
  EXPECT_EQ(WriterCode(bad), Code::kOutOfRange);
  EXPECT_EQ(ReaderCode(bad), Code::kOutOfRange);
  bad = address_;
  bad.producer.ready_offset = size;
  EXPECT_EQ(WriterCode(bad), Code::kOutOfRange);
  EXPECT_EQ(ReaderCode(bad), Code::kOutOfRange);
  bad = address_;
  bad.consumer.wake_offset = size - 32;
  EXPECT_EQ(WriterCode(bad), Code::kInvalidArgument);
  bad.consumer.wake_offset = size;
  const Status status = LinkWriter::Open(guest_.device, bad, Doorbell()).status();
  EXPECT_EQ(status.code(), Code::kOutOfRange);
  EXPECT_NE(status.message().find("wake block"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find(std::to_string(size)), std::string::npos) << status.message();
}

}  // namespace
}  // namespace ivmq::transport
