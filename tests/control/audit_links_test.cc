// Audit as operators call it: over gRPC, of rings that publishers and subscribers write to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"

namespace ivmq::control {
namespace {

using broker::GoneProof;
using testing::HasSubstr;
using Event = v1::NodeEvent;
using Verdict = v1::LinkAudit;

class AuditLinksTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(publisher_.Hello("pub"), 0u);
    ASSERT_NE(subscriber_.Hello("sub"), 0u);
    publisher_.Publish("a", "", 4096);
    subscriber_.Subscribe("a", "", 4096);
    up_ = subscriber_.NextOf(Event::kLinkUp).link_up();
    publisher_.NextOf(Event::kLinkUp);
    memory_ = peer_.device->region().data() + up_.ring_offset();
  }
  ringbuf::RingView ring() { return ringbuf::RingAt(memory_, up_.ring_capacity()); }
  void Publish(int count) {
    if (!producer_) producer_.emplace(ring());
    for (int i = 0; i < count; ++i) ASSERT_EQ(producer_->TryWrite({}), ringbuf::WriteResult::kOk);
    producer_->Publish();
  }
  void Receive(int count) {
    if (!consumer_)
      consumer_.emplace(ring(), ringbuf::ConsumerOptions{.publish_every_release = true});
    ringbuf::RecordView record;
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(consumer_->TryRead(&record), ringbuf::ReadResult::kOk);
      consumer_->Release();
    }
  }
  v1::LinkCounters Counters(uint64_t published, uint64_t delivered) {
    v1::LinkCounters counters;
    counters.set_link_id(up_.link_id());
    counters.set_published(published);
    counters.set_delivered(delivered);
    return counters;
  }
  // Audits while these nodes answer so; the first link's.
  v1::LinkAudit Audit(const std::map<TestNode*, v1::LinkCounters>& answers) {
    auto response = std::async(std::launch::async, [&] { return admin_.Audit(); });
    for (int round = 0; round < 2; ++round) {
      for (const auto& [node, counters] : answers) {
        v1::NodeRequest request;
        request.set_request_id(node->NextOf(Event::kCountersWanted).request_id());
        *request.mutable_counters()->add_links() = counters;
        node->Tell(request);
      }
    }
    const v1::AuditResponse audited = response.get();
    EXPECT_EQ(audited.links_size(), 1) << audited.DebugString();
    return audited.links_size() == 0 ? v1::LinkAudit() : audited.links(0);
  }
  v1::LinkAudit AuditBoth(uint64_t published, uint64_t delivered) {
    return Audit({{&publisher_, Counters(published, 0)}, {&subscriber_, Counters(0, delivered)}});
  }
  // Of the link that has ended.
  v1::LinkAudit Final() {
    v1::AuditResponse audited;
    EXPECT_TRUE(WaitUntil([&] {
      audited = admin_.Audit("a");
      return audited.links_size() == 1 && audited.links(0).ended();
    }));
    return audited.links_size() == 0 ? v1::LinkAudit() : audited.links(0);
  }
  static void ExpectAmount(const v1::Amount& amount, uint64_t least, uint64_t most) {
    EXPECT_EQ(amount.least(), least);
    EXPECT_EQ(amount.most(), most);
  }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
  TestPeer peer_ = harness_.ConnectPeer(1);  // only for its mapping
  TestNode publisher_ = harness_.AttachNode();
  TestNode subscriber_ = harness_.AttachNode();
  v1::LinkUp up_;
  std::byte* memory_ = nullptr;
  std::optional<ringbuf::SpscProducer<>> producer_;
  std::optional<ringbuf::SpscConsumer<>> consumer_;
};

TEST_F(AuditLinksTest, ALinkWithMessagesInFlightAddsUp) {
  Publish(100);
  Receive(40);
  const v1::LinkAudit audit = AuditBoth(100, 40);
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_EQ(audit.link().topic(), "a");
  EXPECT_FALSE(audit.ended());
  for (const v1::Account* account : {&audit.counters(), &audit.ring()}) {
    ExpectAmount(account->published(), 100, 100);
    ExpectAmount(account->delivered(), 40, 40);
    ExpectAmount(account->in_flight(), 60, 60);
  }
}

TEST_F(AuditLinksTest, FindsCountersThatTheRingContradicts) {
  Publish(100);
  EXPECT_EQ(AuditBoth(90, 0).verdict(), Verdict::WRONG);
}

TEST_F(AuditLinksTest, AKilledPublishersMessagesAreCountedInTheRing) {
  Publish(100);
  harness_.NodeGone(publisher_, GoneProof::kExited);
  EXPECT_EQ(subscriber_.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::DIED);
  Receive(100);
  subscriber_.LinkClosed(Counters(0, 100));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_TRUE(audit.published_recounted());
  ExpectAmount(audit.counters().published(), 100, 100);
  ExpectAmount(audit.counters().delivered(), 100, 100);
  EXPECT_EQ(audit.counters().drops_size(), 0);
}

TEST_F(AuditLinksTest, WhatAKilledPublisherDroppedIsReadFromTheRing) {
  Publish(100);
  ring().descriptor->records_dropped.store(23);
  harness_.NodeGone(publisher_, GoneProof::kExited);
  EXPECT_TRUE(subscriber_.NextOf(Event::kLinkDown).has_link_down());
  Receive(100);
  subscriber_.LinkClosed(Counters(0, 100));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().published(), 123, 123);
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::FULL);
  ExpectAmount(audit.counters().drops(0).count(), 23, 23);
}

TEST_F(AuditLinksTest, KnowsWhatAKilledSubscriberLeft) {
  Publish(100);
  Receive(30);
  harness_.NodeGone(subscriber_, GoneProof::kExited);
  EXPECT_EQ(publisher_.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::DIED);
  publisher_.LinkClosed(Counters(100, 0));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().published(), 100, 100);
  ExpectAmount(audit.counters().delivered(), 30, 30);
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::SUBSCRIBER_DIED);
  ExpectAmount(audit.counters().drops(0).count(), 70, 70);
  EXPECT_EQ(audit.counters().drops(0).first_sequence(), 30u);
  EXPECT_EQ(audit.counters().drops(0).last_sequence(), 99u);
}

TEST_F(AuditLinksTest, WhatAKilledPublisherWroteAfterItWasLastAskedIsCountedToo) {
  Publish(10);
  EXPECT_EQ(AuditBoth(10, 0).verdict(), Verdict::EXACT);
  Publish(90);
  harness_.NodeGone(publisher_, GoneProof::kExited);
  EXPECT_TRUE(subscriber_.NextOf(Event::kLinkDown).has_link_down());
  Receive(100);
  subscriber_.LinkClosed(Counters(0, 100));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_TRUE(audit.published_recounted());
  EXPECT_FALSE(audit.link().counters().publisher_answered());
  ExpectAmount(audit.counters().published(), 100, 100);
}

TEST_F(AuditLinksTest, WhatAKilledSubscriberReadAfterItWasLastAskedIsCountedToo) {
  Publish(100);
  Receive(10);
  EXPECT_EQ(AuditBoth(100, 10).verdict(), Verdict::EXACT);
  Receive(50);
  harness_.NodeGone(subscriber_, GoneProof::kExited);
  EXPECT_TRUE(publisher_.NextOf(Event::kLinkDown).has_link_down());
  publisher_.LinkClosed(Counters(100, 0));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  EXPECT_FALSE(audit.link().counters().subscriber_answered());
  ExpectAmount(audit.counters().delivered(), 60, 60);
}

TEST_F(AuditLinksTest, ASubscriberThatClosesLeavesAnExactAccount) {
  Publish(100);
  Receive(30);
  subscriber_.LinkClosed(Counters(0, 30));
  EXPECT_TRUE(publisher_.NextOf(Event::kLinkDown).has_link_down());
  publisher_.LinkClosed(Counters(100, 0));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ASSERT_EQ(audit.ring().drops_size(), 1);
  EXPECT_EQ(audit.ring().drops(0).reason(), v1::Drop::SUBSCRIBER_CLOSED);
  ExpectAmount(audit.ring().drops(0).count(), 70, 70);
}

// As a subscriber does whose farewell crosses with the link.
TEST_F(AuditLinksTest, ASubscriberThatLeavesALinkThatItNeverUsedHasReadNothing) {
  publisher_.LinkAttached(up_.link_id());
  Publish(4);
  subscriber_.Unregister(up_.endpoint_id());
  publisher_.NextOf(Event::kLinkDown);
  publisher_.LinkClosed(Counters(4, 0));
  const v1::LinkAudit audit = Final();
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().published(), 4, 4);
  ExpectAmount(audit.counters().delivered(), 0, 0);
  ASSERT_EQ(audit.counters().drops_size(), 1);
  EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::SUBSCRIBER_CLOSED);
  ExpectAmount(audit.counters().drops(0).count(), 4, 4);
}

TEST_F(AuditLinksTest, SurvivesAnyWordsInTheRingAndNamesThem) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937_64 random(seed);
  Publish(100);
  const auto store = [&](size_t offset, uint64_t word) {
    std::memcpy(memory_ + offset, &word, sizeof(word));
  };
  store(256, 4);
  const v1::LinkAudit audit = AuditBoth(100, 0);
  EXPECT_EQ(audit.verdict(), Verdict::WRONG);
  EXPECT_THAT(audit.detail(), HasSubstr("its head 4"));
  EXPECT_FALSE(audit.has_ring());
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 50; ++i) {
      const uint64_t value = random() >> (random() % 64);
      store(random() % ((512 + 4096) / 8) * 8, value);
    }
    const v1::LinkAudit hostile = AuditBoth(random(), random());
    EXPECT_NE(hostile.verdict(), Verdict::EXACT);
  }
}

TEST_F(AuditLinksTest, KnowsFromTheRingHowFarASubscriberIsThatDoesNotAnswer) {
  Publish(100);
  Receive(40);
  const v1::LinkAudit audit = Audit({{&publisher_, Counters(100, 0)}});
  EXPECT_EQ(audit.verdict(), Verdict::EXACT) << audit.DebugString();
  ExpectAmount(audit.counters().delivered(), 40, 40);
  ExpectAmount(audit.ring().in_flight(), 60, 60);
}

TEST_F(AuditLinksTest, SaysThatAPublisherDoesNotAnswer) {
  Publish(100);
  Receive(40);
  const v1::LinkAudit audit = Audit({{&subscriber_, Counters(0, 40)}});
  EXPECT_EQ(audit.verdict(), Verdict::BOUNDS);
  EXPECT_THAT(audit.detail(), HasSubstr("publisher does not answer"));
  EXPECT_EQ(audit.counters().published().least(), 100u);
  ExpectAmount(audit.counters().delivered(), 40, 40);
}

TEST_F(AuditLinksTest, TakesOnlyTheTopicAndTheRealmThatWereAskedFor) {
  EXPECT_EQ(admin_.Audit("b").links_size(), 0);
  grpc::ClientContext context;
  v1::AuditRequest request;
  request.set_realm("nowhere");
  v1::AuditResponse response;
  EXPECT_EQ(admin_.stub()->Audit(&context, request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace ivmq::control
