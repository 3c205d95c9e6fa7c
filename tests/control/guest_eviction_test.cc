// What becomes of a VM, and of a process in it, that an operator evicts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/control/guest_fixture.h"

namespace ivmq::control {
namespace {

using broker::GoneProof;
using testing::HasSubstr;
using Event = v1::NodeEvent;

class GuestEvictionTest : public GuestFixture {
 protected:
  // As the keeper does when it is told to evict the VM.
  void PutOut() {
    harness_.PeerGone(1, GoneProof::kNone);
    EXPECT_TRUE(WaitUntil([&] { return Peer().state() == v1::Peer::EVICTED; }));
  }
};

TEST_F(GuestEvictionTest, EvictsAVm) {
  Start();
  EXPECT_EQ(admin_.EvictPeer("test", 0).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(admin_.EvictPeer("test", 5).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(admin_.EvictPeer("other", 1).error_code(), grpc::StatusCode::NOT_FOUND);
  ASSERT_TRUE(admin_.EvictPeer("test", 1).ok());
  const auto command = harness_.NextCommand();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->kind, broker::KeeperCommandKind::kEvictPeer);
  EXPECT_EQ(command->peer, 1u);
  PutOut();
}

TEST_F(GuestEvictionTest, ShowsAnEvictedVmUntilItsQemuEnds) {
  Start();
  v1::WatchRequest request;
  request.set_peers(true);
  grpc::ClientContext context;
  const auto watch = admin_.stub()->Watch(&context, request);
  v1::WatchResponse seen;
  const auto next_of = [&](v1::DiscoveryEvent::Kind kind) {
    while (watch->Read(&seen) && seen.event().kind() != kind) {
    }
    return seen.event().peer();
  };
  next_of(v1::DiscoveryEvent::SNAPSHOT_DONE);
  PutOut();
  EXPECT_EQ(next_of(v1::DiscoveryEvent::CHANGED).state(), v1::Peer::EVICTED);
  EXPECT_EQ(Peer().pid(), 4711);
  EXPECT_EQ(admin_.Realm().peers_connected(), 0u);
  const grpc::Status again = admin_.EvictPeer("test", 1);
  EXPECT_EQ(again.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(again.error_message(), HasSubstr("QEMU (pid 4711)"));
  {
    grpc::ClientContext later;
    const auto late = admin_.stub()->Watch(&later, request);
    ASSERT_TRUE(late->Read(&seen) && late->Read(&seen));
    EXPECT_EQ(seen.event().peer().state(), v1::Peer::EVICTED);
    later.TryCancel();
  }
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_EQ(next_of(v1::DiscoveryEvent::REMOVED).peer_id(), 1u);
  EXPECT_EQ(admin_.Peers().peers_size(), 1);
  EXPECT_EQ(admin_.EvictPeer("test", 1).error_code(), grpc::StatusCode::NOT_FOUND);
  context.TryCancel();
}

// The keeper does so by itself with a VM that breaks the ivshmem protocol.
TEST_F(GuestEvictionTest, ProcessesOfAVmThatIsPutOutAreToldSo) {
  Start();
  GuestNode node(&*agent_, 7, "x");
  GuestNode stranger(&*agent_);  // said no hello before
  stranger.Attach(8);
  TestNode host = harness_.AttachNode();
  host.Hello("host");
  host.Subscribe("a");
  node.Call(PublisherOf("a"));
  EXPECT_TRUE(host.NextOf(Event::kLinkUp).has_link_up());
  PutOut();
  EXPECT_THAT(node.NextOf(Event::kEvicted).evicted().reason(), HasSubstr("put this machine out"));
  EXPECT_TRUE(node.Finish().ok());
  EXPECT_EQ(host.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::LOST);
  EXPECT_EQ(stranger.Hello("late"), 0u);
  EXPECT_EQ(admin_.Nodes().nodes_size(), 2);
}

TEST_F(GuestEvictionTest, WhatAnEvictedVmKnewIsUsedAgainOnceTheVmIsGone) {
  const uint64_t before = used();
  Start();
  GuestNode node(&*agent_, 7, "x");
  GuestNode idle(&*agent_, 8, "y");
  node.Call(PublisherOf("a"));
  TestNode host = harness_.AttachNode();
  host.Hello("host");
  host.Subscribe("a");
  const v1::LinkUp up = host.NextOf(Event::kLinkUp).link_up();
  ASSERT_TRUE(admin_.EvictPeer("test", 1).ok());
  harness_.PeerGone(1, GoneProof::kNone);
  for (GuestNode* each : {&node, &idle}) {
    EXPECT_THAT(each->NextOf(Event::kEvicted).evicted().reason(), HasSubstr("machine"));
    EXPECT_TRUE(each->Finish().ok());
  }
  EXPECT_EQ(host.NextOf(Event::kLinkDown).link_down().reason(), v1::LinkDown::EVICTED);
  host.LinkClosed(up.link_id());
  // Its stream is open for a moment, but takes no session any more.
  EXPECT_TRUE(WaitUntil([&] {
    GuestNode late(&*agent_);
    late.Attach(9);
    return late.Finish().error_code() == grpc::StatusCode::UNAVAILABLE;
  }));
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
  EXPECT_EQ(admin_.Links().links(0).state(), v1::Link::ORPHANED);
  harness_.NodeGone(host, GoneProof::kExited);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Nodes().nodes_size() == 2; }));
  {
    // Nobody else gets the ring that it may write to.
    TestNode both = harness_.AttachNode();
    both.Hello("both");
    both.Publish("b");
    both.Subscribe("b");
    EXPECT_NE(both.NextOf(Event::kLinkUp).link_up().ring_offset(), up.ring_offset());
    harness_.NodeGone(both, GoneProof::kExited);
  }
  EXPECT_GT(used(), before);
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Nodes().nodes_size(), 0);
  EXPECT_EQ(admin_.Links().links_size(), 0);
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
}

TEST_F(GuestEvictionTest, ABootThatSpeaksAfterItsDeathWasProvenIsHeardAlsoOfAnEvictedVm) {
  Start();
  GuestNode node(&*agent_, 7, "x");
  Start({{9, 9}, 4});  // believed, and given the memory of the first boot
  transport::PeerEntry* const entry = agent_->entry();
  ASSERT_TRUE(admin_.EvictPeer("test", 1).ok());
  PutOut();
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
  const FakeAgent::Identity first;
  entry->boot_id[0].store(first.boot_id[0]);
  entry->boot_id[1].store(first.boot_id[1]);
  entry->hello.fetch_add(1);
  const auto kept = [&] { return admin_.Realm().arena_orphaned_bytes() >= uint64_t{2} << 16; };
  EXPECT_TRUE(WaitUntil(kept));
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return admin_.Nodes().nodes_size() == 0; }));
  EXPECT_TRUE(kept());
}

TEST_F(GuestEvictionTest, AnEvictedNodeOfAGuestIsFreeWhenItsVmIsGone) {
  const uint64_t before = used();
  Start();
  GuestNode node(&*agent_);
  node.Attach(7);
  const uint64_t id = node.Hello("x");
  ASSERT_TRUE(admin_.EvictNode(id).ok());
  EXPECT_TRUE(node.NextOf(Event::kEvicted).has_evicted());
  EXPECT_TRUE(node.Finish().ok());
  EXPECT_EQ(admin_.Nodes().nodes(0).state(), v1::Node::DETACHED);
  harness_.PeerGone(1, GoneProof::kEof);
  EXPECT_TRUE(WaitUntil([&] { return used() == before; }));
  EXPECT_EQ(admin_.Realm().arena_orphaned_bytes(), 0u);
}

}  // namespace
}  // namespace ivmq::control
