#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"

namespace ivmq::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Event = v1::NodeEvent;

constexpr int kFailedPrecondition = 9;

// Subscribers by a filter.
class FilterTest : public testing::Test {
 protected:
  TestNode Node(const std::string& name) {
    TestNode node = harness_.AttachNode();
    EXPECT_NE(node.Hello(name), 0u);
    return node;
  }
  v1::Topic Row(const std::string& name) {
    const v1::ListTopicsResponse topics = admin_.Topics();
    for (const v1::Topic& topic : topics.topics()) {
      if (topic.name() == name) return topic;
    }
    return {};
  }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
};

TEST_F(FilterTest, LinksWithTheTopicsThereAreAndThoseThatCome) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  publisher.Publish("camera.front");
  publisher.Publish("camera");
  publisher.Publish("lidar.top");
  const Event made = subscriber.Subscribe("camera.*");
  EXPECT_EQ(made.subscriber_registered().links(), 1u);
  const v1::LinkUp first = subscriber.NextOf(Event::kLinkUp).link_up();
  EXPECT_EQ(first.topic(), "camera.front");
  EXPECT_EQ(first.endpoint_id(), made.subscriber_registered().subscriber_id());
  EXPECT_EQ(publisher.Publish("camera.front.raw").publisher_registered().links(), 0u);
  EXPECT_EQ(publisher.Publish("camera.rear").publisher_registered().links(), 1u);
  EXPECT_EQ(subscriber.NextOf(Event::kLinkUp).link_up().topic(), "camera.rear");
  EXPECT_EQ(subscriber.Subscribe("camera.>").subscriber_registered().links(), 3u);
  EXPECT_EQ(subscriber.Subscribe(">").subscriber_registered().links(), 5u);
  EXPECT_EQ(subscriber.Subscribe("*.top.>").subscriber_registered().links(), 0u);
}

TEST_F(FilterTest, IsListedByItsOwnTextBesideTheTopics) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  subscriber.Subscribe("camera.*", "x.T");
  EXPECT_EQ(Row("camera.*").subscribers(), 1u);
  EXPECT_EQ(Row("camera.*").publishers(), 0u);
  EXPECT_EQ(Row("camera.*").type_name(), "x.T");
  const Event front = publisher.Publish("camera.front", "x.T");
  publisher.Publish("camera.rear", "x.T");
  EXPECT_EQ(Row("camera.*").publishers(), 2u);
  EXPECT_EQ(Row("camera.*").links(), 2u);
  EXPECT_EQ(Row("camera.front").publishers(), 1u);
  EXPECT_EQ(Row("camera.front").subscribers(), 1u);
  EXPECT_EQ(Row("camera.front").links(), 1u);
  publisher.Unregister(front.publisher_registered().publisher_id());
  EXPECT_EQ(Row("camera.*").publishers(), 1u);
  EXPECT_EQ(Row("camera.front").name(), "");
}

TEST_F(FilterTest, WatchersHearOfBothTexts) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  TestNode watcher = Node("watcher");
  v1::NodeRequest request;
  request.mutable_watch()->set_topics(true);
  watcher.Call(request);
  const auto next = [&] {
    v1::DiscoveryEvent event = watcher.NextOf(Event::kDiscovery).discovery();
    return std::to_string(event.kind()) + " " + event.topic().name() + " " +
           std::to_string(event.topic().links());
  };
  EXPECT_EQ(next(), "4  0");
  subscriber.Subscribe("a.*");
  EXPECT_EQ(next(), "1 a.* 0");
  const Event made = publisher.Publish("a.b");
  EXPECT_EQ(next(), "1 a.b 1");
  EXPECT_EQ(next(), "2 a.* 1");
  publisher.Unregister(made.publisher_registered().publisher_id());
  EXPECT_EQ(next(), "3 a.b 0");
  subscriber.LinkClosed(subscriber.NextOf(Event::kLinkUp).link_up().link_id());
  EXPECT_EQ(next(), "2 a.* 0");
}

TEST_F(FilterTest, IsNeverRefusedBecauseOnePublisherDoesNotFit) {
  TestNode publisher = Node("camera");
  TestNode subscriber = Node("viewer");
  const Event odd = publisher.Publish("a.odd", "x.Other");
  publisher.Publish("a.good", "x.T");
  const Event made = subscriber.Subscribe("a.*", "x.T");
  EXPECT_EQ(made.subscriber_registered().links(), 1u);
  EXPECT_EQ(subscriber.NextOf(Event::kLinkUp).link_up().topic(), "a.good");
  v1::LinkRefused told = subscriber.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), 0u);  // of the registration that is being answered
  EXPECT_EQ(told.topic(), "a.odd");
  EXPECT_EQ(told.other_node(), "camera");
  EXPECT_THAT(told.reason(), AllOf(HasSubstr("x.Other"), HasSubstr("x.T")));
  told = publisher.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), odd.publisher_registered().publisher_id());
  EXPECT_EQ(told.other_node(), "viewer");

  // Nor is a publisher that comes later, and its words reach both too.
  const Event later = publisher.Publish("a.later");
  ASSERT_TRUE(later.has_publisher_registered());
  told = subscriber.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), made.subscriber_registered().subscriber_id());
  EXPECT_EQ(told.topic(), "a.later");
  EXPECT_EQ(publisher.NextOf(Event::kLinkRefused).link_refused().endpoint_id(), 0u);

  std::map<std::string, v1::Link::State> states;
  const v1::ListLinksResponse links = admin_.Links();
  for (const v1::Link& link : links.links()) states[link.topic()] = link.state();
  EXPECT_EQ(states.size(), 3u);
  EXPECT_EQ(states["a.odd"], v1::Link::REFUSED);
  EXPECT_EQ(states["a.later"], v1::Link::REFUSED);
  publisher.Unregister(later.publisher_registered().publisher_id());
  EXPECT_EQ(admin_.Links().links_size(), 2);
  subscriber.Unregister(made.subscriber_registered().subscriber_id());
  EXPECT_TRUE(WaitUntil([&] { return admin_.Links().links_size() == 1; }));  // still to be closed
}

TEST_F(FilterTest, TakesWhatThereIsMemoryForAndLeavesAnEighthToSubscribersOfTopics) {
  constexpr int kPublishers = 40;  // of 8 MiB for all
  constexpr uint64_t kRingBytes = 256 << 10;
  TestNode publisher = Node("pub");
  TestNode viewer = Node("viewer");
  const auto topic = [](int i) { return "t." + std::to_string(i); };
  for (int i = 0; i < kPublishers / 2; ++i) publisher.Publish(topic(i), "", kRingBytes);
  const Event made = viewer.Subscribe("t.*", "", kRingBytes);
  ASSERT_TRUE(made.has_subscriber_registered());
  for (int i = kPublishers / 2; i < kPublishers; ++i) {
    ASSERT_TRUE(publisher.Publish(topic(i), "", kRingBytes).has_publisher_registered()) << i;
  }
  const uint32_t links = Row("t.*").links();
  EXPECT_GE(links, uint32_t{kPublishers / 2});
  EXPECT_LT(links, uint32_t{kPublishers});
  EXPECT_LE(admin_.Realm().arena_used_bytes(), admin_.Realm().arena_bytes() / 8 * 7);
  const v1::LinkRefused told = viewer.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), made.subscriber_registered().subscriber_id());
  EXPECT_EQ(told.topic(), topic(static_cast<int>(links)));
  EXPECT_THAT(told.reason(), HasSubstr("no room for a link by a filter"));
  EXPECT_EQ(admin_.Links().links_size(), kPublishers);  // those that are refused among them
  // One who asks for a topic has its link.
  TestNode subscriber = Node("sub");
  EXPECT_EQ(subscriber.Subscribe(topic(0), "", kRingBytes).subscriber_registered().links(), 1u);
}

TEST_F(FilterTest, ASubscriberOfOneTopicIsRefusedOnlyIfItFitsNobody) {
  TestNode publisher = Node("camera");
  TestNode subscriber = Node("viewer");
  publisher.Publish("a", "x.Other");
  EXPECT_EQ(subscriber.Subscribe("a", "x.T").failure().code(), kFailedPrecondition);
  publisher.Publish("a", "x.T");
  EXPECT_EQ(subscriber.Subscribe("a", "x.T").subscriber_registered().links(), 1u);
  const v1::LinkRefused told = subscriber.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_THAT(told.reason(), HasSubstr("x.Other"));
}

TEST_F(FilterTest, APublisherIsRefusedForASubscriberOfItsVeryTopicOnly) {
  TestNode publisher = Node("camera");
  TestNode all = Node("all");
  TestNode viewer = Node("viewer");
  all.Subscribe(">", "x.T");
  EXPECT_TRUE(publisher.Publish("a", "x.Other").has_publisher_registered());
  viewer.Subscribe("b", "x.T");
  EXPECT_EQ(publisher.Publish("b", "x.Other").failure().code(), kFailedPrecondition);
  EXPECT_EQ(all.NextOf(Event::kLinkRefused).link_refused().topic(), "a");
  EXPECT_EQ(publisher.Publish("b", "x.T").publisher_registered().links(), 2u);
  EXPECT_EQ(all.NextOf(Event::kLinkUp).link_up().topic(), "b");
}

TEST_F(FilterTest, ManyMisfitsDoNotDrownANewcomer) {
  TestNode publisher = Node("pub");
  TestNode subscriber = Node("sub");
  for (int i = 0; i < 300; ++i) publisher.Publish("t." + std::to_string(i));
  const Event made = subscriber.Subscribe("t.*", "x.T");
  EXPECT_TRUE(made.has_subscriber_registered());
  publisher.Publish("t.last", "x.T");  // its link comes behind what was told before
  int told = 0;
  for (Event event = subscriber.Next(); event.has_link_refused(); event = subscriber.Next()) ++told;
  EXPECT_EQ(told, 256);
  EXPECT_EQ(admin_.Links().links_size(), 256 + 1);
}

}  // namespace
}  // namespace ivmq::control
