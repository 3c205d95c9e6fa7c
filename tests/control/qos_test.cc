#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "ringbuf/keep_last_layout.h"
#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"
#include "transport/region.h"

namespace ivmq::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Event = v1::NodeEvent;
using Qos = v1::Qos;

constexpr int kInvalidArgument = 3;
constexpr int kResourceExhausted = 8;
constexpr int kFailedPrecondition = 9;

Qos Reliable(uint32_t history = 0) {
  Qos qos;
  qos.set_reliability(Qos::RELIABLE);
  qos.set_history(history);
  return qos;
}

Qos DropNewest() {
  Qos qos;
  qos.set_reliability(Qos::DROP_NEWEST);
  return qos;
}

Qos KeepLast(uint32_t depth, uint32_t history = 0) {
  Qos qos;
  qos.set_reliability(Qos::KEEP_LAST);
  qos.set_depth(depth);
  qos.set_history(history);
  return qos;
}

// Quality of service as nodes ask for it.
class QosTest : public testing::Test {
 protected:
  void SetUp() override {
    publisher_.Hello("camera");
    subscriber_.Hello("viewer");
  }
  Event Publish(const std::string& topic, const Qos& qos) {
    v1::NodeRequest request;
    request.mutable_register_publisher()->set_topic(topic);
    request.mutable_register_publisher()->set_type_name("x.T");
    *request.mutable_register_publisher()->mutable_qos() = qos;
    return publisher_.Call(request);
  }
  Event Subscribe(const std::string& topic, const Qos& qos) {
    v1::NodeRequest request;
    request.mutable_register_subscriber()->set_topic(topic);
    *request.mutable_register_subscriber()->mutable_qos() = qos;
    return subscriber_.Call(request);
  }
  uint64_t used() { return admin_.Realm().arena_used_bytes(); }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
  TestNode publisher_ = harness_.AttachNode();
  TestNode subscriber_ = harness_.AttachNode();
};

TEST_F(QosTest, BothSidesOfALinkHearWhatWasAgreed) {
  Qos offered = Reliable(10);
  offered.set_max_message_bytes(100);
  Publish("a", offered);
  Qos asked = DropNewest();
  asked.set_history(4);
  EXPECT_EQ(Subscribe("a", asked).subscriber_registered().links(), 1u);
  const v1::LinkUp to_pub = publisher_.NextOf(Event::kLinkUp).link_up();
  const v1::LinkUp to_sub = subscriber_.NextOf(Event::kLinkUp).link_up();
  for (const v1::LinkUp& up : {to_pub, to_sub}) {
    EXPECT_EQ(up.reliability(), Qos::DROP_NEWEST);
    EXPECT_EQ(up.depth(), 0u);
    EXPECT_EQ(up.max_message_bytes(), 100u);
    EXPECT_EQ(up.ring_capacity(), 65536u);
    EXPECT_EQ(up.type_name(), "x.T");
  }
  EXPECT_EQ(to_pub.history(), 4u);
  EXPECT_EQ(to_sub.history(), 0u);
  const v1::Link link = admin_.Links().links(0);
  EXPECT_EQ(link.reliability(), Qos::DROP_NEWEST);
  EXPECT_EQ(link.history(), 4u);
}

TEST_F(QosTest, AKeepLastLinkHasSlotsInsteadOfARing) {
  const uint64_t before = used();
  Publish("a", KeepLast(3));
  const uint64_t subscriber = Subscribe("a", {}).subscriber_registered().subscriber_id();
  const v1::LinkUp up = publisher_.NextOf(Event::kLinkUp).link_up();
  EXPECT_EQ(up.reliability(), Qos::KEEP_LAST);
  EXPECT_EQ(up.depth(), 3u);
  EXPECT_EQ(up.max_message_bytes(), 8192u);
  EXPECT_EQ(up.ring_capacity(), 0u);
  const TestPeer peer = harness_.ConnectPeer(1);
  std::byte* memory = transport::CheckedRange(peer.device->region(), up.ring_offset(),
                                              ringbuf::KeepLastBytes(3, 8192), 64);
  ASSERT_NE(memory, nullptr);
  EXPECT_TRUE(ringbuf::ValidateKeepLast(ringbuf::KeepLastAt(memory, 3, 8192)).ok());
  EXPECT_GE(used(), before + ringbuf::KeepLastBytes(3, 8192));
  EXPECT_EQ(admin_.Links().links(0).ring_bytes(), 0u);
  EXPECT_EQ(admin_.Links().links(0).depth(), 3u);
  // It comes back as a ring does.
  subscriber_.Unregister(subscriber);
  publisher_.LinkClosed(up.link_id());
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
}

TEST_F(QosTest, ASubscriberThatFitsNobodyIsRefused) {
  Publish("a", DropNewest());
  const Event refused = Subscribe("a", Reliable());
  EXPECT_EQ(refused.failure().code(), kFailedPrecondition);
  EXPECT_THAT(refused.failure().message(), AllOf(HasSubstr("camera"), HasSubstr("drop-newest"),
                                                 HasSubstr("viewer"), HasSubstr("reliable")));
  EXPECT_EQ(publisher_.NextOf(Event::kLinkRefused).link_refused().other_node(), "viewer");
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::REFUSED);
  EXPECT_EQ(admin_.Links().links(0).reliability(), Qos::RELIABILITY_UNSPECIFIED);
  Publish("b", Reliable());
  EXPECT_EQ(Subscribe("b", Reliable(5)).failure().code(), kFailedPrecondition);  // keeps none
  EXPECT_TRUE(Subscribe("c", Reliable(5)).has_subscriber_registered());  // there is nobody yet
}

TEST_F(QosTest, ASubscriberThatFitsSomeoneIsLinkedWithThoseItFits) {
  Publish("a", DropNewest());
  Publish("a", Reliable());
  const Event made = Subscribe("a", Reliable());
  EXPECT_EQ(made.subscriber_registered().links(), 1u);
  EXPECT_EQ(subscriber_.NextOf(Event::kLinkRefused).link_refused().endpoint_id(), 0u);
  EXPECT_THAT(publisher_.NextOf(Event::kLinkRefused).link_refused().reason(),
              HasSubstr("drop-newest"));
  EXPECT_EQ(admin_.Links().links_size(), 2);
}

TEST_F(QosTest, APublisherIsNeverRefusedForItsQuality) {
  const uint64_t subscriber = Subscribe("a", Reliable(3)).subscriber_registered().subscriber_id();
  const Event drops = Publish("a", DropNewest());
  ASSERT_TRUE(drops.has_publisher_registered());
  EXPECT_EQ(drops.publisher_registered().links(), 0u);
  EXPECT_EQ(publisher_.NextOf(Event::kLinkRefused).link_refused().endpoint_id(), 0u);
  const v1::LinkRefused told = subscriber_.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), subscriber);
  EXPECT_THAT(told.reason(), HasSubstr("asks for reliable"));
  EXPECT_EQ(Publish("a", Reliable()).publisher_registered().links(), 0u);  // keeps no history
  EXPECT_EQ(Publish("a", Reliable(1)).publisher_registered().links(), 1u);
  // A history that no ring can hold refuses no publisher either.
  Subscribe("b", Reliable(65536));
  EXPECT_EQ(Publish("b", Reliable(65536)).publisher_registered().links(), 0u);
  EXPECT_THAT(subscriber_.NextOf(Event::kLinkRefused).link_refused().reason(),
              HasSubstr("keeps no messages"));
  EXPECT_THAT(subscriber_.NextOf(Event::kLinkRefused).link_refused().reason(),
              HasSubstr("16777216"));
}

TEST_F(QosTest, WishesBeyondTheBoundsAreRefusedWithWhatIsAllowed) {
  const uint64_t before = used();
  for (const uint32_t depth : {0u, 65537u, ~0u}) {
    const Event answer = Subscribe("a", KeepLast(depth));
    EXPECT_EQ(answer.failure().code(), kInvalidArgument);
    EXPECT_THAT(answer.failure().message(),
                AllOf(HasSubstr("keep-last " + std::to_string(depth)), HasSubstr("1 to 65536")));
    EXPECT_EQ(Publish("a", KeepLast(depth)).failure().code(), kInvalidArgument);
  }
  EXPECT_EQ(Subscribe("a", Reliable(65537)).failure().code(), kInvalidArgument);
  Qos qos = Reliable();
  qos.set_max_message_bytes(~uint64_t{0});
  EXPECT_EQ(Publish("a", qos).failure().code(), kInvalidArgument);
  EXPECT_EQ(Subscribe("a", qos).failure().code(), kInvalidArgument);
  // Within the bounds, but larger than the region.
  Publish("large", Reliable());
  const Event large = Subscribe("large", KeepLast(65536));
  EXPECT_EQ(large.failure().code(), kResourceExhausted);
  EXPECT_THAT(large.failure().message(),
              HasSubstr(std::to_string(ringbuf::KeepLastBytes(65536, 8192)) + " bytes"));
  EXPECT_EQ(used(), before);
}

}  // namespace
}  // namespace ivmq::control
