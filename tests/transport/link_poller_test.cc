#include "transport/link_poller.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/transport/link_yard.h"

namespace ivmq::transport {
namespace {

class LinkPollerTest : public testing::Test {
 protected:
  // Makes links and gives their reading ends to the poller.
  void AddLinks(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const LinkAddress address = yard_.MakeLink(guest_, host_);
      addresses_.push_back(address);
      writers_.push_back(std::make_unique<LinkWriter>(LinkYard::OpenWriter(guest_, address)));
      ASSERT_TRUE(poller_.Add(Reader(address)).ok());
    }
  }
  std::unique_ptr<LinkReader> Reader(const LinkAddress& address) {
    return std::make_unique<LinkReader>(LinkYard::OpenReader(host_, address));
  }
  void Write(size_t link, int times = 1) {
    for (int i = 0; i < times; ++i) {
      ASSERT_EQ(writers_[link]->TryWrite(Bytes("hello")), WriteResult::kOk);
    }
    writers_[link]->Flush();
  }
  // Reads one record and says whose it was; 0 if there was none.
  uint64_t Take() {
    LinkReader* reader = nullptr;
    RecordView record;
    if (!poller_.Next(&reader, &record)) return 0;
    reader->Release();
    return reader->link_id();
  }
  ringbuf::RingDescriptor* Ring(size_t link) {
    return reinterpret_cast<ringbuf::RingDescriptor*>(yard_.At(addresses_[link].ring_offset));
  }

  LinkYard yard_{32 << 20};
  YardNode host_ = yard_.MakeNode(yard_.host);
  YardNode guest_ = yard_.MakeNode(yard_.realm.AddPeer(1));
  std::vector<LinkAddress> addresses_;
  std::vector<std::unique_ptr<LinkWriter>> writers_;
  LinkPoller poller_;
};

TEST_F(LinkPollerTest, WithoutLinksHasNothingToDo) {
  EXPECT_EQ(Take(), 0u);
  EXPECT_TRUE(poller_.ArmAll());
  EXPECT_FALSE(poller_.HasWork(Look::kThorough));
}

TEST_F(LinkPollerTest, FindsARecordOnABusyAndOnAnArmedLink) {
  AddLinks(2);
  Write(0);
  EXPECT_TRUE(poller_.HasWork(Look::kSpin));
  EXPECT_FALSE(poller_.ArmAll());
  EXPECT_EQ(Take(), addresses_[0].link_id);
  EXPECT_EQ(Take(), 0u);
  ASSERT_TRUE(poller_.ArmAll());
  EXPECT_FALSE(poller_.HasWork(Look::kSpin));
  Write(1);
  EXPECT_TRUE(poller_.HasWork(Look::kSpin));
  EXPECT_EQ(Take(), addresses_[1].link_id);
}

TEST_F(LinkPollerTest, GivesEveryBusyLinkItsTurn) {
  AddLinks(3);
  for (size_t link = 0; link < 3; ++link) Write(link, 100);
  std::map<uint64_t, int> taken;
  for (int i = 0; i < 3 * 16; ++i) ++taken[Take()];
  for (const LinkAddress& address : addresses_) EXPECT_EQ(taken[address.link_id], 16);
}

TEST_F(LinkPollerTest, MoreEndsWithTheTurnOfALink) {
  AddLinks(2);
  Write(0, 40);
  Write(1);
  LinkReader* reader = nullptr;
  RecordView record;
  std::map<uint64_t, int> taken;
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_TRUE(poller_.Next(&reader, &record));
    do {
      reader->Release();
      ++taken[reader->link_id()];
    } while (poller_.More(reader, &record));
  }
  EXPECT_EQ(taken[addresses_[0].link_id], static_cast<int>(LinkPoller::Options().burst));
  EXPECT_EQ(taken[addresses_[1].link_id], 1);
}

TEST_F(LinkPollerTest, AgainHasWhatCameSinceWhereOneLinkIsBusy) {
  AddLinks(2);
  ASSERT_TRUE(poller_.ArmAll());
  LinkReader* reader = nullptr;
  RecordView record;
  EXPECT_FALSE(poller_.Again(&reader, &record)) << "none is busy";
  Write(0);
  ASSERT_EQ(Take(), addresses_[0].link_id);
  ASSERT_EQ(Take(), 0u);
  EXPECT_FALSE(poller_.Again(&reader, &record));
  Write(0);
  ASSERT_TRUE(poller_.Again(&reader, &record));
  EXPECT_EQ(reader->link_id(), addresses_[0].link_id);
  reader->Release();
  EXPECT_FALSE(poller_.Again(&reader, &record));
  EXPECT_TRUE(poller_.ArmAll());
}

TEST_F(LinkPollerTest, AgainLeavesItToNextWhereSeveralLinksAreBusy) {
  AddLinks(2);
  Write(1);
  LinkReader* reader = nullptr;
  RecordView record;
  EXPECT_FALSE(poller_.Again(&reader, &record));
  EXPECT_EQ(Take(), addresses_[1].link_id);
}

TEST_F(LinkPollerTest, ABusyLinkDoesNotHideAnIdleOneThatWakes) {
  AddLinks(2);
  ASSERT_TRUE(poller_.ArmAll());
  Write(0, 100);
  EXPECT_EQ(Take(), addresses_[0].link_id);
  Write(1);
  int until_seen = 0;
  while (Take() != addresses_[1].link_id) {
    ASSERT_LT(++until_seen, 99);
  }
}

TEST_F(LinkPollerTest, AThousandIdleLinksAreAllArmedAndAllHeard) {
  AddLinks(1000);
  ASSERT_TRUE(poller_.ArmAll());
  for (size_t link = 0; link < 1000; ++link) {
    Write(link);
    ASSERT_TRUE(poller_.HasWork(Look::kSpin));
    ASSERT_EQ(Take(), addresses_[link].link_id);
    ASSERT_TRUE(poller_.ArmAll());
  }
}

TEST_F(LinkPollerTest, RefusesALinkTwiceAndAReadyByteTwice) {
  AddLinks(1);
  LinkAddress twin = yard_.MakeLink(guest_, host_);
  twin.link_id = addresses_[0].link_id;
  EXPECT_EQ(poller_.Add(Reader(twin)).code(), Code::kAlreadyExists);
  twin.link_id = 77;
  twin.consumer.ready_offset = addresses_[0].consumer.ready_offset;
  EXPECT_EQ(poller_.Add(Reader(twin)).code(), Code::kAlreadyExists);
  EXPECT_EQ(poller_.size(), 1u);
}

TEST_F(LinkPollerTest, ARemovedLinkIsHandedBackAndTheOthersGoOn) {
  AddLinks(20);
  ASSERT_TRUE(poller_.ArmAll());
  for (size_t link = 0; link < 20; ++link) Write(link);
  EXPECT_NE(Take(), 0u);
  for (size_t link = 1; link < 20; link += 2) {
    const std::unique_ptr<LinkReader> reader = poller_.Remove(addresses_[link].link_id);
    ASSERT_NE(reader, nullptr);
    EXPECT_EQ(reader->link_id(), addresses_[link].link_id);
  }
  EXPECT_EQ(poller_.Remove(addresses_[1].link_id), nullptr);
  EXPECT_EQ(poller_.Find(addresses_[1].link_id), nullptr);
  EXPECT_NE(poller_.Find(addresses_[0].link_id), nullptr);
  uint64_t left = 0;
  while (Take() != 0) ++left;
  EXPECT_GE(left, 9u);
  EXPECT_TRUE(poller_.ArmAll());
  Write(1);
  EXPECT_FALSE(poller_.HasWork(Look::kThorough)) << "a removed link is nobody's business";
}

TEST_F(LinkPollerTest, AWipedReadyByteIsFoundByAThoroughLook) {
  AddLinks(9);
  ASSERT_TRUE(poller_.ArmAll());
  Write(5);
  *yard_.At(addresses_[5].consumer.ready_offset) = std::byte{0};
  EXPECT_FALSE(poller_.HasWork(Look::kSleep));
  EXPECT_TRUE(poller_.HasWork(Look::kThorough));
  EXPECT_EQ(Take(), addresses_[5].link_id);
}

TEST_F(LinkPollerTest, AWipedReadyByteIsFoundAlsoWhileAnotherLinkIsAlwaysBusy) {
  AddLinks(2);
  ASSERT_TRUE(poller_.ArmAll());
  Write(1);
  *yard_.At(addresses_[1].consumer.ready_offset) = std::byte{0};
  bool seen = false;
  for (int i = 0; i < 100'000 && !seen; ++i) {
    Write(0);
    seen = Take() == addresses_[1].link_id;
  }
  EXPECT_TRUE(seen);
}

TEST_F(LinkPollerTest, ASetReadyByteOfAnEmptyLinkIsOneLookAndNoMore) {
  AddLinks(3);
  ASSERT_TRUE(poller_.ArmAll());
  *yard_.At(addresses_[1].consumer.ready_offset) = std::byte{0xa5};
  EXPECT_TRUE(poller_.HasWork(Look::kSleep));
  EXPECT_EQ(Take(), 0u);
  EXPECT_TRUE(poller_.ArmAll());
}

TEST_F(LinkPollerTest, ACorruptLinkIsReportedOnceAndTheOthersGoOn) {
  AddLinks(3);
  Ring(1)->tail.store(uint64_t{1} << 40);
  Write(0);
  Write(2);
  std::map<uint64_t, int> taken;
  for (int i = 0; i < 10; ++i) ++taken[Take()];
  EXPECT_EQ(taken[addresses_[0].link_id], 1);
  EXPECT_EQ(taken[addresses_[2].link_id], 1);
  EXPECT_TRUE(poller_.HasWork(Look::kSpin)) << "there is something to report";
  const std::vector<LinkPoller::CorruptLink> corrupt = poller_.TakeCorrupt();
  ASSERT_EQ(corrupt.size(), 1u);
  EXPECT_EQ(corrupt[0].link_id, addresses_[1].link_id);
  EXPECT_TRUE(corrupt[0].reader->corrupt());
  EXPECT_TRUE(poller_.TakeCorrupt().empty());
  EXPECT_TRUE(poller_.ArmAll());
  EXPECT_FALSE(poller_.HasWork(Look::kThorough)) << "it is not looked at again";
  EXPECT_NE(poller_.Remove(addresses_[1].link_id), nullptr);
}

TEST_F(LinkPollerTest, AnArmedLinkThatTurnsCorruptIsFoundWithoutItsReadyByte) {
  AddLinks(2);
  ASSERT_TRUE(poller_.ArmAll());
  Ring(0)->tail.store(12345);
  EXPECT_TRUE(poller_.HasWork(Look::kThorough));
  EXPECT_EQ(Take(), 0u);
  ASSERT_EQ(poller_.TakeCorrupt().size(), 1u);
}

}  // namespace
}  // namespace ivmq::transport
