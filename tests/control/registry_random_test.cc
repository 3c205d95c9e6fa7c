#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/control/matchmaker.h"
#include "broker/control/node_registry.h"
#include "broker/control/service_registry.h"
#include "broker/control/snapshot.h"
#include "broker/control/topic_name.h"
#include "transport/attach_protocol.h"
#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::control {
namespace {

constexpr int kNodes = 6;

transport::RegionInfo Format(const transport::MemfdDevice& device) {
  transport::RegionParameters parameters;
  parameters.realm_name = "test";
  parameters.vectors = 1;
  parameters.generation = 1;
  EXPECT_TRUE(transport::FormatRegion(device.region(), parameters).ok());
  return transport::OpenRegion(device.region()).value();
}

std::shared_ptr<transport::MemfdDevice> MakeDevice() {
  transport::MemfdDevice::Parts parts;
  parts.region =
      transport::CreateRegionMemfd("test", 4 << 20, transport::RegionPages::kOnDemand).value();
  parts.vectors = transport::CreateEventfds(1).value();
  return transport::MemfdDevice::Open(std::move(parts)).value();
}

// A node that keeps what it is told: the links it may use, and those it has still to let go of.
class Listener : public EventSink {
 public:
  void Send(const v1::NodeEvent& event, std::span<const int> /*fds*/) override {
    if (event.has_link_up()) up.emplace(event.link_up().link_id(), event.link_up().endpoint_id());
    if (event.has_link_refused()) ++refused;
    if (!event.has_link_down()) return;
    // Which side is meant does not matter: a node that is both hears of the first to go only.
    const auto mine = up.equal_range(event.link_down().link_id());
    down.insert(mine.first, mine.second);
    up.erase(mine.first, mine.second);
  }
  size_t queued_bytes() const override { return 0; }
  void Close() override {}

  std::multimap<uint64_t, uint64_t> up;  // link, endpoint
  std::multimap<uint64_t, uint64_t> down;
  int refused = 0;
};

// What a filter lets pass, said without a trie.
bool Passes(std::string_view topic_text, std::string_view filter_text) {
  const auto topic = SplitTopic(topic_text);
  const auto filter = SplitTopic(filter_text);
  for (size_t i = 0; i < filter.size(); ++i) {
    if (filter[i] == ">") return topic.size() > i;
    if (i >= topic.size()) return false;
    if (filter[i] != "*" && filter[i] != topic[i]) return false;
  }
  return topic.size() == filter.size();
}

// What somebody knows who applies the events of a watch in their order: by kind and key. Nothing
// comes twice, and nothing that is not there changes or goes.
class Picture {
 public:
  void Apply(const v1::DiscoveryEvent& event) {
    const auto [key, text] = Read(event);
    if (event.kind() == v1::DiscoveryEvent::REMOVED) {
      EXPECT_EQ(there_.erase(key), 1u) << key;
    } else {
      const bool is_new = there_.insert_or_assign(key, text).second;
      EXPECT_EQ(is_new, event.kind() == v1::DiscoveryEvent::ADDED) << key;
    }
  }
  // Of a snapshot: tells nothing twice.
  void Add(const v1::DiscoveryEvent& event) {
    const auto [key, text] = Read(event);
    EXPECT_TRUE(there_.emplace(key, text).second) << key;
  }
  const std::map<std::string, std::string>& there() const { return there_; }

 private:
  // Without figures that change and are not told at once.
  static std::pair<std::string, std::string> Read(v1::DiscoveryEvent event) {
    switch (event.subject_case()) {
      case v1::DiscoveryEvent::kPeer:
        event.mutable_peer()->clear_connected_ms();
        return {"peer " + std::to_string(event.peer().peer_id()), event.peer().DebugString()};
      case v1::DiscoveryEvent::kNode:
        event.mutable_node()->clear_connected_ms();
        return {"node " + std::to_string(event.node().node_id()), event.node().DebugString()};
      case v1::DiscoveryEvent::kTopic:
        return {"topic " + event.topic().name(), event.topic().DebugString()};
      case v1::DiscoveryEvent::kService:
        return {"service " + event.service().name(), event.service().DebugString()};
      default:
        event.mutable_link()->clear_counters();
        return {"link " + std::to_string(event.link().link_id()), event.link().DebugString()};
    }
  }

  std::map<std::string, std::string> there_;
};

// Does anything at random and compares the books with what must be true of them.
class RegistryRandomTest : public testing::Test {
 protected:
  RegistryRandomTest()
      : device_(MakeDevice()),
        state_("test", 0, Format(*device_), device_, &ids_),
        registry_(&state_),
        seed_(std::random_device()()),
        random_(seed_) {
    std::printf("seed %u\n", seed_);
  }

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  void Join(int place) {
    sinks_[place] = std::make_unique<Listener>();
    const auto node = registry_.AddNode({{}, "n" + std::to_string(place), "", sinks_[place].get()});
    ASSERT_TRUE(node.ok()) << node.status();
    nodes_[place] = (*node)->id;
  }

  void Leave(int place, SideEvent how) {
    registry_.Leave(nodes_[place], how);
    if (how == SideEvent::kLost || how == SideEvent::kEvicted) lost_.insert(nodes_[place]);
    nodes_[place] = 0;
    sinks_[place].reset();
  }

  void ProveDeaths() {
    for (const uint64_t id : std::exchange(lost_, {})) registry_.Leave(id, SideEvent::kDied);
  }

  std::string Text(bool publishes) {
    static const char* const kTopics[] = {"a", "a.b", "a.c", "b.b", "a.b.c"};
    static const char* const kFilters[] = {"a", "a.b", "*", "a.*", "*.b", ">", "a.>", "*.*.c"};
    return publishes ? kTopics[Random(5)] : kFilters[Random(8)];
  }

  v1::Qos AnyQos(bool publishes) {
    v1::Qos qos;
    qos.set_reliability(static_cast<v1::Qos::Reliability>(Random(4)));
    if (qos.reliability() == v1::Qos::KEEP_LAST) qos.set_depth(1 + Random(8));
    if (Random(3) == 0) qos.set_ring_bytes(4096u << Random(6));
    if (Random(3) != 0) qos.set_history(Random(publishes ? 100 : 50));
    if (Random(20) == 0) qos.set_history(70000);  // not allowed
    if (publishes && Random(2) == 0) qos.set_max_message_bytes(1 + Random(600));
    return qos;
  }

  void Register(int place) {
    static const char* const kTypes[] = {"", "x.T", "x.T", "x.U"};
    const bool publishes = Random(2) == 0;
    const size_t endpoints = state_.directory.endpoints().size();
    const size_t links = state_.directory.links().size();
    const uint64_t used = state_.ledger.arena().used_bytes();
    const auto made = registry_.Register(
        {nodes_[place], publishes, Text(publishes), kTypes[Random(4)], AnyQos(publishes)});
    ++outcomes_[made.status().code()];
    if (made.ok()) return NoteThoseWithoutRoom(made->endpoint_id);
    EXPECT_EQ(state_.directory.endpoints().size(), endpoints);
    EXPECT_EQ(state_.directory.links().size(), links);
    EXPECT_EQ(state_.ledger.arena().used_bytes(), used);
  }

  // The newcomer meets them by a filter, and has no link with them.
  void NoteThoseWithoutRoom(uint64_t newcomer) {
    const bool publishes = state_.directory.FindEndpoint(newcomer)->publishes;
    for (const Refusals::Record& record : state_.refusals.records()) {
      if (record.other_endpoint_id != newcomer) continue;
      const std::string& why = record.link.reason();
      if (why.find("no room") == std::string::npos && why.find("is full") == std::string::npos) {
        continue;
      }
      const uint64_t other = record.endpoint_id;
      gone_.insert(publishes ? std::pair(newcomer, other) : std::pair(other, newcomer));
    }
  }

  void Unregister(int place) {
    const std::set<uint64_t>& mine = state_.directory.FindNode(nodes_[place])->endpoints;
    if (mine.empty()) return;
    auto chosen = mine.begin();
    std::advance(chosen, Random(static_cast<uint32_t>(mine.size())));
    const uint64_t endpoint = *chosen;
    EXPECT_TRUE(registry_.Unregister(nodes_[place], endpoint).ok());
  }

  // Says of one link that it does not touch it any more; sometimes of one that is up.
  void LetGo(int place) {
    Listener& sink = *sinks_[place];
    auto& from = Random(4) == 0 ? sink.up : sink.down;
    if (from.empty()) return;
    const auto [link, endpoint] = *from.begin();
    if (const Link* known = state_.directory.FindLink(link)) {
      gone_.emplace(known->publisher.endpoint_id, known->subscriber.endpoint_id);
    }
    from.erase(from.begin());
    registry_.links()->OnWord(link, nodes_[place], endpoint, SideEvent::kClosed);
  }

  void Step() {
    const int place = static_cast<int>(Random(kNodes));
    if (nodes_[place] == 0) return Join(place);
    const uint32_t what = Random(100);
    if (what < 45) return Register(place);
    if (what < 65) return Unregister(place);
    if (what < 93) return LetGo(place);
    if (what < 95) return Leave(place, SideEvent::kDied);
    if (what < 96) return Leave(place, SideEvent::kClosed);
    if (what < 97) return Leave(place, SideEvent::kLost);
    if (what < 98) return Leave(place, SideEvent::kEvicted);
    ProveDeaths();
  }

  void RegisterService(int place) {
    static const char* const kServices[] = {"s", "t", "u"};
    static const char* const kTypes[] = {"", "x.T", "x.T", "x.U"};
    (void)services_.Register({nodes_[place], Random(2) == 0, kServices[Random(3)],
                              kTypes[Random(4)], kTypes[Random(4)]});
  }

  void Corrupt(int place) {
    Listener& sink = *sinks_[place];
    if (sink.up.empty()) return;
    const auto [link, endpoint] = *sink.up.begin();
    registry_.links()->OnCorrupt(link, nodes_[place], endpoint, "nonsense");
  }

  // Somebody comes, is put out, or has gone.
  void ChangePeers() {
    const uint32_t id = 1 + Random(last_peer_ + 1);
    if (id > last_peer_) {
      last_peer_ = id;
      state_.peers[id].id = id;
      return state_.Tell(v1::DiscoveryEvent::ADDED, state_.peers[id]);
    }
    if (auto peer = state_.peers.extract(id); !peer.empty()) {
      peer.mapped().state = v1::Peer::EVICTED;
      state_.Tell(v1::DiscoveryEvent::CHANGED, peer.mapped());
      state_.put_out.insert(std::move(peer));
    } else if (auto gone = state_.put_out.extract(id); !gone.empty()) {
      state_.Tell(v1::DiscoveryEvent::REMOVED, gone.mapped());
    }
  }

  void StepWithAll() {
    const int place = static_cast<int>(Random(kNodes));
    const uint32_t what = Random(10);
    if (what == 0) return ChangePeers();
    if (what < 3 && nodes_[place] != 0) return RegisterService(place);
    if (what == 3 && nodes_[place] != 0) return Corrupt(place);
    Step();
  }

  using Pairs = std::set<std::pair<uint64_t, uint64_t>>;  // publisher, subscriber

  // Those that must be linked, unless one of them has closed the link since.
  Pairs Fitting() {
    Pairs pairs;
    for (const auto& [id, publisher] : state_.directory.endpoints()) {
      if (!publisher.publishes) continue;
      const Node& from = *state_.directory.FindNode(publisher.node_id);
      for (const auto& [other_id, subscriber] : state_.directory.endpoints()) {
        if (subscriber.publishes || !Passes(publisher.topic, subscriber.topic)) continue;
        if (!subscriber.type_name.empty() && subscriber.type_name != publisher.type_name) continue;
        const Node& to = *state_.directory.FindNode(subscriber.node_id);
        if (Agree(publisher, from, subscriber, to).ok()) pairs.emplace(id, other_id);
      }
    }
    return pairs;
  }

  // The figures that people see, counted anew.
  void CheckExtent(const std::string& name, const Topic& topic) {
    std::set<uint64_t> publishers = topic.publishers;
    std::set<uint64_t> subscribers = topic.subscribers;
    uint32_t links = 0;
    for (const auto& [id, link] : state_.directory.links()) {
      const Endpoint* publisher = state_.directory.FindEndpoint(link.publisher.endpoint_id);
      const Endpoint* subscriber = state_.directory.FindEndpoint(link.subscriber.endpoint_id);
      if (publisher == nullptr || subscriber == nullptr) continue;
      if (publisher->topic != name && subscriber->topic != name) continue;
      publishers.insert(publisher->id);
      subscribers.insert(subscriber->id);
      ++links;
    }
    const Directory::Extent extent = Directory::ExtentOf(topic);
    ASSERT_EQ(extent.publishers, publishers.size()) << name;
    ASSERT_EQ(extent.subscribers, subscribers.size()) << name;
    ASSERT_EQ(extent.links, links) << name;
    std::string type;
    for (const std::set<uint64_t>* side : {&topic.publishers, &topic.subscribers}) {
      for (const uint64_t id : *side) {
        if (type.empty()) type = state_.directory.FindEndpoint(id)->type_name;
      }
    }
    ASSERT_EQ(state_.directory.TypeOf(topic), type) << name;
  }

  void CheckBooks() {
    state_.ledger.arena().CheckConsistency();
    Pairs linked;
    std::set<uint64_t> offsets;
    for (const auto& [id, link] : state_.directory.links()) {
      const bool is_new =
          linked.emplace(link.publisher.endpoint_id, link.subscriber.endpoint_id).second;
      ASSERT_TRUE(is_new) << "two links of one pair";
      ASSERT_TRUE(offsets.insert(link.ring_offset).second) << "two links in one place";
      ASSERT_EQ(link.agreed.has_slots(), link.agreed.ring_bytes == 0);
    }
    for (const auto& pair : Fitting()) {
      const bool closed = gone_.count(pair) != 0;
      ASSERT_TRUE(closed || linked.count(pair) != 0)
          << "no link from " << pair.first << " to " << pair.second;
    }
    for (const auto& [name, topic] : state_.directory.topics()) {
      ASSERT_FALSE(topic.publishers.empty() && topic.subscribers.empty()) << name;
      CheckExtent(name, topic);
    }
    ASSERT_LE(state_.refusals.records().size(), Refusals::kKept);
  }

  IdSource ids_;
  const std::shared_ptr<transport::MemfdDevice> device_;
  RealmState state_;
  NodeRegistry registry_;
  ServiceRegistry services_{&state_, &registry_};
  const uint32_t seed_;
  std::mt19937 random_;
  uint64_t nodes_[kNodes] = {};  // 0: not there
  std::unique_ptr<Listener> sinks_[kNodes];
  std::set<uint64_t> lost_;  // nodes whose death is still to be proven
  uint32_t last_peer_ = 0;
  Pairs gone_;  // whose link one of them has closed
  std::map<absl::StatusCode, int> outcomes_;
};

TEST_F(RegistryRandomTest, WhatFitsIsLinkedAndAllMemoryComesBack) {
  const uint64_t before = state_.ledger.arena().used_bytes();
  for (int round = 0; round < 20; ++round) {
    for (int step = 0; step < 300; ++step) {
      Step();
      ASSERT_FALSE(HasFatalFailure());
      if (step % 10 == 0) CheckBooks();
      ASSERT_FALSE(HasFatalFailure()) << "round " << round << ", step " << step;
    }
    for (int place = 0; place < kNodes; ++place) {
      if (nodes_[place] != 0) Leave(place, Random(2) == 0 ? SideEvent::kDied : SideEvent::kLost);
    }
    ProveDeaths();
    CheckBooks();
    EXPECT_EQ(state_.ledger.arena().used_bytes(), before);
    EXPECT_EQ(state_.ledger.arena().orphaned_bytes(), 0u);
    EXPECT_EQ(state_.ready.lines(), 0u);
    EXPECT_TRUE(state_.directory.nodes().empty());
    EXPECT_TRUE(state_.directory.endpoints().empty());
    EXPECT_TRUE(state_.directory.topics().empty());
    EXPECT_TRUE(state_.directory.links().empty());
    EXPECT_TRUE(state_.refusals.records().empty());
    EXPECT_EQ(state_.types.types(), 0u);
    gone_.clear();
  }
  // The walk was worth it: it met each kind of outcome.
  for (const absl::StatusCode code :
       {absl::StatusCode::kOk, absl::StatusCode::kInvalidArgument,
        absl::StatusCode::kFailedPrecondition, absl::StatusCode::kResourceExhausted}) {
    EXPECT_GT(outcomes_[code], 0) << absl::StatusCodeToString(code);
  }
}

TEST_F(RegistryRandomTest, WhoIsToldInPiecesWhileAllChangesEndsWithWhatIsThere) {
  const Interest all{true, true, true, true};
  size_t changes = 0;
  for (int round = 0; round < 100; ++round) {
    for (int step = 0; step < 50; ++step) StepWithAll();
    Picture told;
    Snapshot snapshot(&state_, all);
    const uint64_t watch = state_.feed.Add(all, [&](const v1::DiscoveryEvent& event) {
      ++changes;
      if (snapshot.HasPassed(event)) told.Apply(event);
    });
    const auto add = [&](const v1::DiscoveryEvent& event) { told.Add(event); };
    while (snapshot.TellNext(add)) {
      for (uint32_t i = Random(3); i > 0; --i) StepWithAll();
    }
    for (int step = 0; step < 20; ++step) StepWithAll();
    state_.feed.Remove(watch);
    Picture there;
    Snapshot at_once(&state_, all);
    while (at_once.TellNext([&](const v1::DiscoveryEvent& event) { there.Add(event); })) {
    }
    for (const auto& [key, text] : there.there()) {
      const auto found = told.there().find(key);
      ASSERT_NE(found, told.there().end()) << key << " was not told";
      ASSERT_EQ(found->second, text) << key;
    }
    ASSERT_EQ(told.there().size(), there.there().size()) << "what is gone";
  }
  EXPECT_GT(changes, 1000u);
}

// As many as may attach to the daemon of a machine, on the host as in a guest.
TEST_F(RegistryRandomTest, TakesAsManyNodesOfAMachineAsAttachToIt) {
  const auto add = [this](uint32_t peer_id) {
    NodeRegistry::NewNode node;
    node.origin.peer_id = peer_id;
    node.name = "n";
    return registry_.AddNode(std::move(node));
  };
  for (const uint32_t peer_id : {0u, 1u}) {
    uint64_t last = 0;
    for (size_t i = 0; i < transport::kMaxNodesPerPeer; ++i) {
      const auto node = add(peer_id);
      ASSERT_TRUE(node.ok()) << i << ": " << node.status();
      last = (*node)->id;
    }
    EXPECT_EQ(add(peer_id).status().code(), absl::StatusCode::kResourceExhausted);
    registry_.Leave(last, SideEvent::kLost);
    EXPECT_FALSE(add(peer_id).ok()) << "its process may be there still";
    registry_.Leave(last, SideEvent::kDied);
    EXPECT_TRUE(add(peer_id).ok());
  }
}

}  // namespace
}  // namespace ivmq::control
