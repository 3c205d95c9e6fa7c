#include "broker/control/service_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"
#include "tests/control/fake_agent.h"

namespace ivmq::control {
namespace {

using broker::GoneProof;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Event = v1::NodeEvent;

constexpr int kInvalidArgument = 3;
constexpr int kResourceExhausted = 8;
constexpr int kFailedPrecondition = 9;

struct Types {
  std::string request{};
  std::string reply{};
};

v1::NodeRequest ClientOf(const std::string& service, const Types& types = {},
                         uint64_t ring_bytes = 0) {
  v1::NodeRequest request;
  v1::RegisterClient* wish = request.mutable_register_client();
  wish->set_service(service);
  wish->set_request_type(types.request);
  wish->set_reply_type(types.reply);
  wish->set_ring_bytes(ring_bytes);
  return request;
}

v1::NodeRequest ServerOf(const std::string& service, const Types& types = {},
                         uint64_t ring_bytes = 0) {
  v1::NodeRequest request;
  v1::RegisterServer* wish = request.mutable_register_server();
  wish->set_service(service);
  wish->set_request_type(types.request);
  wish->set_reply_type(types.reply);
  wish->set_ring_bytes(ring_bytes);
  return request;
}

// The two links of a pair, as one side was told of them.
struct Pair {
  v1::LinkUp sends;
  v1::LinkUp receives;
};

template <class Node>
Pair NextPair(Node* node) {
  Pair pair;
  for (int i = 0; i < 2; ++i) {
    const v1::LinkUp up = node->NextOf(Event::kLinkUp).link_up();
    (up.publishes() ? pair.sends : pair.receives) = up;
  }
  return pair;
}

// The reasons told by the next two LinkDown, by link.
template <class Node>
std::map<uint64_t, v1::LinkDown::Reason> NextTwoDowns(Node* node) {
  std::map<uint64_t, v1::LinkDown::Reason> downs;
  for (int i = 0; i < 2; ++i) {
    const v1::LinkDown down = node->NextOf(Event::kLinkDown).link_down();
    downs[down.link_id()] = down.reason();
  }
  return downs;
}

class ServiceRegistryTest : public testing::Test {
 protected:
  TestNode Node(const std::string& name) {
    TestNode node = harness_.AttachNode();
    EXPECT_NE(node.Hello(name), 0u);
    return node;
  }
  uint64_t used() { return admin_.Realm().arena_used_bytes(); }
  static void CloseBoth(TestNode* node, const Pair& pair) {
    node->LinkClosed(pair.sends.link_id());
    node->LinkClosed(pair.receives.link_id());
  }
  static std::map<uint64_t, v1::LinkDown::Reason> BothDown(const Pair& pair,
                                                           v1::LinkDown::Reason reason) {
    return {{pair.sends.link_id(), reason}, {pair.receives.link_id(), reason}};
  }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
};

TEST_F(ServiceRegistryTest, LinksAClientAndAServerByAPairBeforeItAnswers) {
  TestNode server = Node("server");
  TestNode client = Node("client");
  const Event served = server.Call(ServerOf("a.b", {"x.Ask", "x.Answer"}, 8192));
  EXPECT_EQ(served.server_registered().clients(), 0u) << served.DebugString();
  const Event asked = client.Call(ClientOf("a.b", {"x.Ask", "x.Answer"}, 16384));
  ASSERT_EQ(asked.client_registered().servers(), 1u) << asked.DebugString();

  const Pair of_client = NextPair(&client);
  const Pair of_server = NextPair(&server);
  EXPECT_EQ(of_client.sends.link_id(), of_server.receives.link_id());
  EXPECT_EQ(of_client.receives.link_id(), of_server.sends.link_id());
  EXPECT_EQ(of_client.sends.pair_link_id(), of_client.receives.link_id());
  EXPECT_EQ(of_client.receives.pair_link_id(), of_client.sends.link_id());
  EXPECT_EQ(of_server.sends.pair_link_id(), of_server.receives.link_id());
  for (const v1::LinkUp* up : {&of_client.sends, &of_client.receives}) {
    EXPECT_EQ(up->endpoint_id(), asked.client_registered().client_id());
    EXPECT_EQ(up->topic(), "a.b");
    EXPECT_EQ(up->ring_capacity(), 16384u);
    EXPECT_EQ(up->other_node(), "server");
  }
  for (const v1::LinkUp* up : {&of_server.sends, &of_server.receives}) {
    EXPECT_EQ(up->endpoint_id(), served.server_registered().server_id());
  }
  EXPECT_EQ(of_client.sends.type_name(), "x.Ask");
  EXPECT_EQ(of_client.receives.type_name(), "x.Answer");
  EXPECT_NE(of_client.sends.ring_offset(), of_client.receives.ring_offset());

  server.LinkAttached(of_server.sends.link_id());
  EXPECT_EQ(client.NextOf(Event::kLinkReady).link_ready().link_id(), of_client.receives.link_id());
  client.LinkAttached(of_client.sends.link_id());
  EXPECT_EQ(server.NextOf(Event::kLinkReady).link_ready().link_id(), of_server.receives.link_id());
}

TEST_F(ServiceRegistryTest, EachClientHasAPairWithEachServer) {
  TestNode first = Node("first");
  TestNode second = Node("second");
  first.Call(ServerOf("s", {"x.Ask", "x.Answer"}));
  EXPECT_EQ(first.Call(ClientOf("s", {"x.Ask"})).client_registered().servers(), 1u);  // itself
  EXPECT_EQ(second.Call(ServerOf("s", {"", "x.Answer"})).server_registered().clients(), 1u);
  EXPECT_EQ(second.Call(ClientOf("s", {"x.Ask", "x.Answer"})).client_registered().servers(), 2u);

  const v1::ListTopicsResponse topics = admin_.Topics();
  EXPECT_EQ(topics.topics_size(), 0);
  ASSERT_EQ(topics.services_size(), 1);
  EXPECT_EQ(topics.services(0).name(), "s");
  EXPECT_EQ(topics.services(0).realm(), "test");
  EXPECT_EQ(topics.services(0).request_type(), "x.Ask");
  EXPECT_EQ(topics.services(0).reply_type(), "x.Answer");
  EXPECT_EQ(topics.services(0).servers(), 2u);
  EXPECT_EQ(topics.services(0).clients(), 2u);
  EXPECT_EQ(topics.services(0).links(), 8u);
  const v1::ListLinksResponse links = admin_.Links();
  ASSERT_EQ(links.links_size(), 8);
  std::map<uint64_t, const v1::Link*> by_id;
  for (const v1::Link& link : links.links()) by_id[link.link_id()] = &link;
  for (const auto& [id, link] : by_id) {
    const v1::Link* other = by_id.at(link->pair_link_id());
    EXPECT_EQ(other->pair_link_id(), id);
    EXPECT_EQ(other->publisher_node_id(), link->subscriber_node_id());
    EXPECT_EQ(link->kind() == v1::Link::REQUEST, other->kind() == v1::Link::REPLY);
  }
  const v1::ListNodesResponse nodes = admin_.Nodes();
  for (const v1::Node& node : nodes.nodes()) {
    EXPECT_EQ(node.clients(), 1u);
    EXPECT_EQ(node.servers(), 1u);
    EXPECT_EQ(node.publishers() + node.subscribers(), 0u);
  }
}

TEST_F(ServiceRegistryTest, ServicesAndTopicsDoNotMeet) {
  TestNode node = Node("x");
  node.Publish("a", "x.T");
  node.Subscribe("b", "x.T");
  EXPECT_EQ(node.Call(ServerOf("a", {"x.Other"})).server_registered().clients(), 0u);
  EXPECT_EQ(node.Call(ClientOf("b", {"x.Other"})).client_registered().servers(), 0u);
  EXPECT_EQ(admin_.Links().links_size(), 0);
  EXPECT_EQ(admin_.Topics().topics_size(), 2);
  EXPECT_EQ(admin_.Topics().services_size(), 2);
}

TEST_F(ServiceRegistryTest, RefusesWhatNoServiceCanBe) {
  TestNode node = Node("x");
  for (const char* name : {"", "a..b", "a.*", ">"}) {
    EXPECT_EQ(node.Call(ClientOf(name)).failure().code(), kInvalidArgument) << name;
    EXPECT_EQ(node.Call(ServerOf(name)).failure().code(), kInvalidArgument) << name;
    EXPECT_THAT(node.Call(ServerOf(name)).failure().message(),
                AllOf(HasSubstr("service"), Not(HasSubstr("topic"))));
  }
  EXPECT_EQ(node.Call(ClientOf("a", {"no type", ""})).failure().code(), kInvalidArgument);
  EXPECT_EQ(node.Call(ServerOf("a", {"", "no type"})).failure().code(), kInvalidArgument);
  for (const uint64_t bytes : {1, 2048, 12288, 32 << 20}) {
    EXPECT_EQ(node.Call(ClientOf("a", {}, bytes)).failure().code(), kInvalidArgument) << bytes;
  }
  EXPECT_EQ(admin_.Topics().services_size(), 0);
  TestNode stranger = harness_.AttachNode();
  EXPECT_EQ(stranger.Call(ClientOf("a")).failure().code(), kFailedPrecondition);
}

TEST_F(ServiceRegistryTest, AgreesOnBothTypesOrRefuses) {
  struct Case {
    Types client;
    Types server;
    bool fits;
  };
  const Case cases[] = {
      {{"x.A", "x.B"}, {"x.A", "x.B"}, true},  {{"x.A", ""}, {"x.A", "x.B"}, true},
      {{"x.A", "x.B"}, {"", "x.B"}, true},     {{"", ""}, {"", "x.B"}, true},
      {{"", ""}, {"x.A", "x.B"}, false},       {{"x.C", "x.B"}, {"x.A", "x.B"}, false},
      {{"x.A", "x.C"}, {"x.A", "x.B"}, false}, {{"x.A", "x.B"}, {"x.A", ""}, false},
  };
  TestNode client = Node("asker");
  TestNode server = Node("answerer");
  for (size_t i = 0; i < std::size(cases); ++i) {
    SCOPED_TRACE(i);
    const std::string service = "s" + std::to_string(i);
    const Event served = server.Call(ServerOf(service, cases[i].server));
    const Event asked = client.Call(ClientOf(service, cases[i].client));
    EXPECT_EQ(asked.has_client_registered(), cases[i].fits);
    if (cases[i].fits) continue;
    EXPECT_EQ(asked.failure().code(), kFailedPrecondition);
    EXPECT_THAT(asked.failure().message(), AllOf(HasSubstr("asker"), HasSubstr("answerer")));
    const v1::LinkRefused told = server.NextOf(Event::kLinkRefused).link_refused();
    EXPECT_EQ(told.endpoint_id(), served.server_registered().server_id());
    EXPECT_EQ(told.topic(), service);
    EXPECT_EQ(told.other_node(), "asker");
  }
  EXPECT_THAT(client.Call(ClientOf("s5", cases[5].client)).failure().message(),
              AllOf(HasSubstr("x.C"), HasSubstr("x.A")));
  EXPECT_THAT(client.Call(ClientOf("s6", cases[6].client)).failure().message(),
              AllOf(HasSubstr("x.C"), HasSubstr("x.B")));
}

TEST_F(ServiceRegistryTest, ANewcomerThatFitsSomeIsLinkedWithThoseAndToldOfTheOthers) {
  TestNode old_server = Node("old");
  TestNode new_server = Node("new");
  TestNode client = Node("client");
  const Event old = old_server.Call(ServerOf("s", {"x.V1"}));
  new_server.Call(ServerOf("s", {"x.V2"}));
  const Event asked = client.Call(ClientOf("s", {"x.V2"}));
  ASSERT_EQ(asked.client_registered().servers(), 1u) << asked.DebugString();
  EXPECT_EQ(NextPair(&client).sends.other_node(), "new");
  const v1::LinkRefused told = client.NextOf(Event::kLinkRefused).link_refused();
  EXPECT_EQ(told.endpoint_id(), 0u);
  EXPECT_EQ(told.other_node(), "old");
  EXPECT_EQ(old_server.NextOf(Event::kLinkRefused).link_refused().endpoint_id(),
            old.server_registered().server_id());
  const auto refused = [&] {
    int count = 0;
    const v1::ListLinksResponse links = admin_.Links();
    for (const v1::Link& link : links.links()) {
      count += link.state() == v1::Link::REFUSED && link.kind() == v1::Link::REQUEST ? 1 : 0;
    }
    return count;
  };
  EXPECT_EQ(refused(), 1);
  client.Unregister(asked.client_registered().client_id());
  EXPECT_EQ(refused(), 0);
}

TEST_F(ServiceRegistryTest, TellsTheClientOfItsServersDeathOnBothLinks) {
  const uint64_t before = used();
  TestNode server = Node("server");
  TestNode client = Node("client");
  server.Call(ServerOf("s"));
  client.Call(ClientOf("s"));
  const Pair pair = NextPair(&client);
  harness_.NodeGone(server, GoneProof::kExited);
  EXPECT_EQ(NextTwoDowns(&client), BothDown(pair, v1::LinkDown::DIED));
  EXPECT_GT(used(), before + 2 * 65536);  // replies may still be read
  CloseBoth(&client, pair);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Links().links_size() == 0; }));
  harness_.NodeGone(client, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Topics().services_size(), 0);
}

TEST_F(ServiceRegistryTest, AClientThatUnregistersClosesBothLinks) {
  TestNode server = Node("server");
  TestNode client = Node("client");
  const uint64_t before = used();
  const Event served = server.Call(ServerOf("s"));
  const Event asked = client.Call(ClientOf("s"));
  const Pair pair = NextPair(&server);
  EXPECT_TRUE(client.Unregister(asked.client_registered().client_id()).has_done());
  EXPECT_EQ(NextTwoDowns(&server), BothDown(pair, v1::LinkDown::CLOSED));
  EXPECT_EQ(admin_.Topics().services(0).clients(), 0u);
  EXPECT_EQ(admin_.Topics().services(0).links(), 0u);
  CloseBoth(&server, pair);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_TRUE(server.Unregister(served.server_registered().server_id()).has_done());
  EXPECT_EQ(admin_.Topics().services_size(), 0);
}

// The one link that a side leaves takes the other down; nothing is freed before all have let go.
TEST_F(ServiceRegistryTest, APairSharesItsFate) {
  TestNode server = Node("server");
  TestNode client = Node("client");
  const uint64_t before = used();
  server.Call(ServerOf("s"));
  client.Call(ClientOf("s"));
  const Pair of_client = NextPair(&client);
  const Pair of_server = NextPair(&server);
  v1::NodeRequest corrupt;
  corrupt.mutable_link_corrupt()->set_link_id(of_client.receives.link_id());
  corrupt.mutable_link_corrupt()->set_detail("nonsense");
  client.Tell(corrupt);
  EXPECT_EQ(NextTwoDowns(&server), BothDown(of_server, v1::LinkDown::CORRUPT));
  const v1::LinkDown to_client = client.NextOf(Event::kLinkDown).link_down();
  EXPECT_EQ(to_client.link_id(), of_client.sends.link_id());
  EXPECT_EQ(to_client.reason(), v1::LinkDown::CORRUPT);
  CloseBoth(&server, of_server);
  EXPECT_TRUE(WaitUntil([&] { return used() < before + 2 * 65536; }));
  EXPECT_GT(used(), before + 65536);  // the client is still to let go of the request link
  client.LinkClosed(of_client.sends.link_id());
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  // Nobody was told twice.
  EXPECT_TRUE(client.Publish("last").has_publisher_registered());
  EXPECT_TRUE(server.Subscribe("last").has_subscriber_registered());
  EXPECT_TRUE(client.Next().has_link_up());
  EXPECT_TRUE(server.Next().has_link_up());
}

TEST_F(ServiceRegistryTest, WhatAnEvictedClientKnewIsFreeOnceItsProcessDies) {
  const uint64_t before = used();
  TestNode server = Node("server");
  TestNode client = harness_.AttachNode();
  const uint64_t id = client.Hello("client");
  server.Call(ServerOf("s"));
  client.Call(ClientOf("s"));
  const Pair pair = NextPair(&server);
  ASSERT_TRUE(admin_.EvictNode(id).ok());
  EXPECT_TRUE(client.NextOf(Event::kEvicted).has_evicted());
  EXPECT_EQ(NextTwoDowns(&server), BothDown(pair, v1::LinkDown::EVICTED));
  CloseBoth(&server, pair);
  harness_.NodeGone(client, GoneProof::kNone);
  harness_.NodeGone(server, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Nodes().nodes_size() == 1; }));
  EXPECT_GT(used(), before + 2 * 65536);
  harness_.NodeGone(client, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
}

TEST_F(ServiceRegistryTest, AGuestsServerEndsWithItsVm) {
  const uint64_t before = used();
  TestPeer peer = harness_.ConnectPeer(1);
  FakeAgent agent(peer);
  ASSERT_TRUE(agent.SayHello({}));
  agent.Connect();
  GuestNode server(&agent);
  ASSERT_TRUE(server.Attach(7));
  server.Hello("server");
  EXPECT_TRUE(server.Call(ServerOf("s")).has_server_registered());
  TestNode client = Node("client");
  EXPECT_EQ(client.Call(ClientOf("s")).client_registered().servers(), 1u);
  const Pair pair = NextPair(&client);
  EXPECT_EQ(NextPair(&server).receives.link_id(), pair.sends.link_id());
  // A lost call proves nothing, the VM's end does.
  server.Cancel();
  EXPECT_EQ(NextTwoDowns(&client), BothDown(pair, v1::LinkDown::LOST));
  CloseBoth(&client, pair);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Links().links(0).state() == v1::Link::ORPHANED; }));
  harness_.PeerGone(1, GoneProof::kEof);
  harness_.NodeGone(client, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
}

TEST_F(ServiceRegistryTest, RegistersNothingWhereASecondRingDoesNotFit) {
  TestNode server = Node("server");
  TestNode client = Node("client");
  server.Call(ServerOf("s", {}, 4 << 20));  // one fits the region of 8 MiB, two do not
  const uint64_t before = used();
  const Event asked = client.Call(ClientOf("s"));
  EXPECT_EQ(asked.failure().code(), kResourceExhausted) << asked.DebugString();
  EXPECT_EQ(used(), before);
  EXPECT_EQ(admin_.Links().links_size(), 0);
  EXPECT_EQ(admin_.Topics().services(0).clients(), 0u);
}

TEST_F(ServiceRegistryTest, ClientsAndServersCountAsTheNodesEndpoints) {
  TestNode node = Node("x");
  for (size_t i = 0; i < NodeRegistry::kMaxEndpointsPerNode; i += 2) {
    const std::string name = "s" + std::to_string(i);
    ASSERT_TRUE(node.Call(ClientOf(name)).has_client_registered());
    ASSERT_TRUE(node.Call(ServerOf(name + "x")).has_server_registered());
  }
  EXPECT_EQ(node.Call(ClientOf("more")).failure().code(), kResourceExhausted);
  EXPECT_EQ(node.Call(ServerOf("more")).failure().code(), kResourceExhausted);
  EXPECT_EQ(node.Publish("more").failure().code(), kResourceExhausted);
}

TEST_F(ServiceRegistryTest, TellsThoseWhoWatch) {
  TestNode watcher = Node("watcher");
  TestNode node = Node("x");
  const Event served = node.Call(ServerOf("early"));
  v1::NodeRequest watch;
  watch.mutable_watch()->set_topics(true);
  EXPECT_TRUE(watcher.Call(watch).has_done());
  const auto next = [&] { return watcher.NextOf(Event::kDiscovery).discovery(); };
  EXPECT_EQ(next().service().name(), "early");
  EXPECT_EQ(next().kind(), v1::DiscoveryEvent::SNAPSHOT_DONE);
  const Event asked = node.Call(ClientOf("late"));
  v1::DiscoveryEvent event = next();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::ADDED);
  EXPECT_EQ(event.service().clients(), 1u);
  node.Call(ServerOf("late"));
  event = next();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::CHANGED);
  EXPECT_EQ(event.service().links(), 2u);
  node.Unregister(served.server_registered().server_id());
  event = next();
  EXPECT_EQ(event.kind(), v1::DiscoveryEvent::REMOVED);
  EXPECT_EQ(event.service().name(), "early");
}

}  // namespace
}  // namespace ivmq::control
