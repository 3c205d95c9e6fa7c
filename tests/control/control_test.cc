#include "broker/control/control.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "broker/control/directory.h"
#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"
#include "transport/memfd_device.h"
#include "transport/unique_fd.h"

namespace ivmq::control {
namespace {

using testing::HasSubstr;

TEST(ControlTest, RefusesAKeeperOfAnotherVersionNamingBoth) {
  ControlHarness::Options options;
  options.protocol_version = 99;
  options.wait_until_ready = false;
  ControlHarness harness(options);
  const std::string failure = harness.Stop();
  EXPECT_THAT(failure, HasSubstr("version 99"));
  EXPECT_THAT(failure, HasSubstr("version " + std::to_string(broker::kKeeperProtocolVersion)));
}

TEST(ControlTest, StopsWhenTheKeeperIsGone) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  grpc::ClientContext context;
  const auto watch = admin.stub()->Watch(&context, {});
  v1::WatchResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(harness.Stop(), "");  // open calls do not hold it up
  while (watch->Read(&response)) {
  }
  EXPECT_FALSE(watch->Finish().ok());
}

TEST(ControlTest, FormatsANewRegionAndSaysHowManyVmsItTakes) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  const v1::Realm realm = admin.Realm();
  EXPECT_EQ(realm.name(), "test");
  EXPECT_EQ(realm.uuid(), "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a");
  EXPECT_EQ(realm.region_bytes(), 8u << 20);
  EXPECT_GT(realm.arena_bytes(), 7u << 20);
  EXPECT_LT(realm.arena_used_bytes(), 4096u);
}

TEST(ControlTest, RefusesARegionThatIsNotOurs) {
  ControlHarness::Options options;
  options.wait_until_ready = false;
  options.is_new = false;
  ControlHarness harness(options);
  const auto command = harness.NextCommand();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->kind, broker::KeeperCommandKind::kRefused);
  EXPECT_NE(std::string(command->text), "");
}

TEST(ControlTest, HandsNothingOutOfARegionWhosePastItDoesNotKnow) {
  ControlHarness earlier;
  ControlHarness::Options options;
  options.is_new = false;
  options.region_fd = earlier.region_fd();
  earlier.Stop();
  ControlHarness harness(options);
  TestNode node = harness.AttachNode();
  v1::NodeRequest hello;
  hello.mutable_hello()->set_protocol_version(2);
  hello.mutable_hello()->set_node_name("x");
  const v1::NodeEvent answer = node.Call(hello);
  EXPECT_EQ(answer.failure().code(), static_cast<int>(grpc::StatusCode::UNAVAILABLE));
  EXPECT_THAT(answer.failure().message(), HasSubstr("restart of ivmqd"));
  AdminClient admin(harness.ConnectAdmin());
  EXPECT_EQ(admin.Realm().arena_used_bytes(), admin.Realm().arena_bytes());
}

TEST(ControlTest, ListsAndWatchesTheRealmThatIsNamed) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  {
    grpc::ClientContext context;
    v1::ListNodesRequest request;
    request.set_realm("elsewhere");
    v1::ListNodesResponse response;
    const grpc::Status status = admin.stub()->ListNodes(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_THAT(status.error_message(), HasSubstr("there are: test"));
  }
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_realm("test");
  const auto watch = admin.stub()->Watch(&context, request);
  v1::WatchResponse seen;
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.event().peer().peer_id(), 0u);
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.event().kind(), v1::DiscoveryEvent::SNAPSHOT_DONE);
  harness.ConnectPeer(3);
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.event().kind(), v1::DiscoveryEvent::ADDED);
  EXPECT_EQ(seen.event().peer().peer_id(), 3u);
  harness.PeerGone(3, broker::GoneProof::kEof);
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.event().kind(), v1::DiscoveryEvent::REMOVED);
  EXPECT_EQ(seen.event().peer().state(), v1::Peer::GONE);
  context.TryCancel();
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(ControlTest, TellsWatchersTheCountersThatWereAskedForLast) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  TestNode publisher = harness.AttachNode();
  publisher.Hello("pub");
  TestNode subscriber = harness.AttachNode();
  subscriber.Hello("sub");
  grpc::ClientContext context;
  const auto watch = admin.stub()->Watch(&context, {});
  const auto next_link = [&] {
    v1::WatchResponse seen;
    while (watch->Read(&seen) && !seen.event().has_link()) {
    }
    return seen.event();
  };
  const uint64_t id = publisher.Publish("a").publisher_registered().publisher_id();
  subscriber.Subscribe("a");
  v1::Link link = next_link().link();
  EXPECT_FALSE(link.has_counters()) << "nobody has asked";
  v1::NodeRequest leave;
  leave.mutable_unregister()->set_id(id);
  v1::LinkCounters* last = leave.mutable_unregister()->add_counters();
  last->set_link_id(link.link_id());
  last->set_published(7);
  publisher.Tell(leave);
  link = next_link().link();
  EXPECT_EQ(link.state(), v1::Link::CLOSING);
  EXPECT_EQ(link.counters().published(), 7u);
  context.TryCancel();
}

TEST(ControlTest, AsksNodesForTheirCountersAndShowsWhoAnswered) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  TestNode publisher = harness.AttachNode();
  publisher.Hello("pub");
  TestNode subscriber = harness.AttachNode();
  subscriber.Hello("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  const uint64_t link = subscriber.NextOf(v1::NodeEvent::kLinkUp).link_up().link_id();
  std::thread answers([&] {
    const v1::NodeEvent wanted = publisher.NextOf(v1::NodeEvent::kCountersWanted);
    v1::NodeRequest request;
    request.set_request_id(wanted.request_id());
    v1::LinkCounters* counters = request.mutable_counters()->add_links();
    counters->set_link_id(link);
    counters->set_published(11);
    counters->set_published_bytes(1100);
    counters->set_delivered(99);  // not its side of the link
    counters->set_full(3);
    publisher.Tell(request);
  });
  const v1::ListLinksResponse links = admin.Links();
  answers.join();
  ASSERT_EQ(links.links_size(), 1);
  const v1::LinkCounters& counters = links.links(0).counters();
  EXPECT_EQ(counters.published(), 11u);
  EXPECT_EQ(counters.published_bytes(), 1100u);
  EXPECT_EQ(counters.full(), 3u);
  EXPECT_EQ(counters.delivered(), 0u);
  EXPECT_TRUE(counters.publisher_answered());
  EXPECT_FALSE(counters.subscriber_answered());
}

// Tells `node`'s counters, and returns when control has taken them.
void Answer(TestNode* node, const v1::NodeEvent& wanted, const v1::LinkCounters& counters) {
  v1::NodeRequest request;
  request.set_request_id(wanted.request_id());
  *request.mutable_counters()->add_links() = counters;
  node->Tell(request);
  v1::NodeRequest clock;
  clock.mutable_read_clock();
  EXPECT_TRUE(node->Call(clock).has_clock_reading());
}

TEST(ControlTest, TwoThatAskForCountersAtOnceAreToldWhoAnsweredEachOfThem) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  TestNode publisher = harness.AttachNode();
  publisher.Hello("pub");
  TestNode subscriber = harness.AttachNode();
  subscriber.Hello("sub");
  publisher.Publish("a");
  subscriber.Subscribe("a");
  v1::LinkCounters counters;
  counters.set_link_id(subscriber.NextOf(v1::NodeEvent::kLinkUp).link_up().link_id());
  counters.set_read_age_ms(1234);
  const auto list = [&admin] { return admin.Links().links(0).counters(); };
  auto first = std::async(std::launch::async, list);
  Answer(&publisher, publisher.NextOf(v1::NodeEvent::kCountersWanted), counters);
  const v1::NodeEvent first_wanted = subscriber.NextOf(v1::NodeEvent::kCountersWanted);
  auto second = std::async(std::launch::async, list);
  const v1::NodeEvent second_wanted = subscriber.NextOf(v1::NodeEvent::kCountersWanted);
  EXPECT_NE(first_wanted.request_id(), second_wanted.request_id());
  Answer(&subscriber, first_wanted, counters);
  const v1::LinkCounters answered = first.get();
  EXPECT_TRUE(answered.publisher_answered() && answered.subscriber_answered());
  EXPECT_LT(answered.read_age_ms(), 1234u) << "the ring was empty a moment ago";
  Answer(&subscriber, second_wanted, {});  // knows nothing of the link any more
  const v1::LinkCounters told = second.get();
  EXPECT_FALSE(told.publisher_answered());
  EXPECT_FALSE(told.subscriber_answered());
  EXPECT_LT(told.read_age_ms(), 1234u);
}

TEST(ControlTest, RefusesARequestThatIsTooLargeAndServesOthers) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  const auto list = [&admin](size_t topic_bytes) {
    grpc::ClientContext context;
    v1::ListLinksRequest request;
    request.set_topic(std::string(topic_bytes, 'x'));
    v1::ListLinksResponse response;
    return admin.stub()->ListLinks(&context, request, &response);
  };
  constexpr size_t kMost = 1 << 20;
  const size_t fits = kMost - 4;  // beside the field's number and length
  EXPECT_TRUE(list(fits).ok()) << list(fits).error_message();
  const grpc::Status refused = list(fits + 1);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("1048577 vs. 1048576"));
  EXPECT_EQ(admin.Realm().name(), "test");
}

TEST(ControlTest, CountsWhomTheKeeperRefused) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  broker::KeeperEvent refused = harness.Event(broker::KeeperEventKind::kPeerRefused);
  refused.value = static_cast<uint64_t>(broker::RefusalReason::kIdsExhausted);
  refused.count = 5;
  harness.Send(refused);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().refused_ids_exhausted() == 5; }));
}

TEST(ControlTest, KnowsTheHighestIdAlsoOfAVmThatCameAndWentUnheard) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  broker::KeeperEvent gone = harness.Event(broker::KeeperEventKind::kPeerGone);
  gone.peer = 7;
  gone.proof = broker::GoneProof::kEof;
  gone.flag = 1;
  harness.Send(gone);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().last_peer_id() == 7; }));
  EXPECT_EQ(admin.Realm().peers_connected(), 0u);
}

// This process takes no more descriptors while one of these lives.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const transport::UniqueFd lowest(open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest.get());
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreFiles() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoMoreFiles(const NoMoreFiles&) = delete;
  NoMoreFiles& operator=(const NoMoreFiles&) = delete;

 private:
  rlimit before_{};
};

TEST(ControlTest, TurnsNewcomersAwayWhenItIsOutOfDescriptorsAndGoesOn) {
  ControlHarness harness;
  AdminClient admin(harness.ConnectAdmin());
  TestNode node = harness.AttachNode();
  EXPECT_NE(node.Hello("here.before"), 0u);
  int channel[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
  const transport::UniqueFd mine(channel[0]);
  transport::UniqueFd its(channel[1]);
  auto vectors = transport::CreateEventfds(2).value();
  {
    const NoMoreFiles limit;
    for (const auto kind :
         {broker::KeeperEventKind::kNodeAttached, broker::KeeperEventKind::kAdminConnected}) {
      broker::KeeperEvent event = harness.Event(kind);
      event.connection = 4711;
      harness.Send(event, {its.get()});
    }
    broker::KeeperEvent doorbells = harness.Event(broker::KeeperEventKind::kDoorbells);
    doorbells.peer = 7;
    doorbells.count = 2;
    harness.Send(doorbells, {vectors[0].get(), vectors[1].get()});
    const auto command = harness.NextCommand();
    ASSERT_TRUE(command);
    EXPECT_EQ(command->kind, broker::KeeperCommandKind::kEvictPeer);
    EXPECT_EQ(command->peer, 7u);
  }
  its.Reset();
  char byte = 0;
  EXPECT_EQ(read(mine.get(), &byte, 1), 0) << "nobody holds the other end any more";
  EXPECT_TRUE(node.Publish("a").has_publisher_registered());
  TestNode later = harness.AttachNode();
  EXPECT_NE(later.Hello("here.later"), 0u);
  EXPECT_EQ(admin.Nodes().nodes_size(), 2);
}

TEST(ControlTest, DisconnectsAVmForWhichThePeerTableHasNoRoom) {
  ControlHarness::Options options;
  options.region_bytes = 1 << 20;
  ControlHarness harness(options);
  AdminClient admin(harness.ConnectAdmin());
  const uint32_t slots = admin.Realm().peer_slots();
  for (uint32_t id = 1; id <= slots; ++id) harness.ConnectPeer(id);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().peers_connected() == slots; }));
  harness.ConnectPeer(slots + 1);
  const auto command = harness.NextCommand();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->kind, broker::KeeperCommandKind::kEvictPeer);
  EXPECT_EQ(command->peer, slots + 1);
  harness.PeerGone(slots + 1, broker::GoneProof::kNone);
  harness.PeerGone(slots + 1, broker::GoneProof::kEof);
  // A slot is used again once its VM is proven dead.
  harness.PeerGone(1, broker::GoneProof::kNone);
  harness.ConnectPeer(slots + 3);
  const auto second = harness.NextCommand();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->peer, slots + 3);
  harness.PeerGone(slots + 3, broker::GoneProof::kNone);
  harness.PeerGone(1, broker::GoneProof::kEof);
  harness.ConnectPeer(slots + 2);
  EXPECT_TRUE(WaitUntil([&] { return admin.Realm().peers_connected() == slots; }));
}

// Registering must not look at unrelated topics and filters; TopicTrieTest counts what it looks at.
TEST(ControlTest, MatchesAmongTenThousandTopicsAndAThousandFilters) {
  ControlHarness harness;
  TestNode nodes[] = {harness.AttachNode(), harness.AttachNode(), harness.AttachNode(),
                      harness.AttachNode()};
  for (TestNode& node : nodes) node.Hello("n");
  TestNode& prober = nodes[3];
  const auto measure = [&](int first) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = first; i < first + 300; ++i) {
      const v1::NodeEvent made = prober.Publish("probe." + std::to_string(i));
      EXPECT_TRUE(made.has_publisher_registered());
      EXPECT_EQ(made.publisher_registered().links(), 0u);
      prober.Unregister(made.publisher_registered().publisher_id());
    }
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
               .count() /
           300;
  };
  const double empty = measure(0);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(nodes[i / 4096].Publish("t." + std::to_string(i)).has_publisher_registered());
  }
  for (int i = 0; i < 1000; ++i) {
    const std::string number = std::to_string(i);
    const std::string kinds[] = {"probe." + number + ".>", "probe.*." + number, "*.*." + number,
                                 "*." + number + ".*"};
    ASSERT_TRUE(nodes[2].Subscribe(kinds[i % 4]).has_subscriber_registered());
  }
  EXPECT_EQ(prober.Subscribe("t.17").subscriber_registered().links(), 1u);
  EXPECT_EQ(prober.Subscribe("*.18").subscriber_registered().links(), 1u);
  // To `probe.8.>` and `probe.*.9`.
  EXPECT_EQ(prober.Publish("probe.8.9").publisher_registered().links(), 2u);
  const double full = measure(300);
  std::printf("register and unregister: %.1f us alone, %.1f us among 10000 topics, 1000 filters\n",
              empty, full);
}

}  // namespace
}  // namespace ivmq::control
