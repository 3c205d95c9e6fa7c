// Watches of more than may wait for a watcher at once.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <set>
#include <string>

#include "broker/control/admin_watch.h"
#include "broker/control/frame_session.h"
#include "tests/control/admin_client.h"
#include "tests/control/control_harness.h"

namespace ivmq::control {
namespace {

constexpr int kNodes = 6;
constexpr int kTopicsOfNode = 4000;
constexpr size_t kPadding = 230;
static_assert(kNodes * kTopicsOfNode * kPadding > FrameSession::kMaxQueuedBytes);
static_assert(kNodes * kTopicsOfNode * kPadding > AdminWatch::kMaxQueuedBytes);

class LargeWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string padding(kPadding, 'x');
    for (int i = 0; i < kNodes; ++i) {
      TestNode& node = Publishers(fmt::format("n{}", i));
      for (int j = 0; j < kTopicsOfNode; ++j) {
        Publish(&node, fmt::format("t{}.{:04}.{}", i, j, padding));
      }
    }
  }
  TestNode& Publishers(const std::string& name) {
    TestNode& node = nodes_.emplace_back(harness_.AttachNode());
    EXPECT_NE(node.Hello(name), 0u);
    return node;
  }
  void Publish(TestNode* node, const std::string& topic) {
    ASSERT_TRUE(node->Publish(topic).has_publisher_registered());
    topics_.insert(topic);
  }
  // The topics of one node go, and others come, before and behind all others.
  void Go(int place) {
    harness_.NodeGone(nodes_[place], broker::GoneProof::kExited);
    const std::string prefix = fmt::format("t{}.", place);
    std::erase_if(topics_, [&](const std::string& topic) { return topic.starts_with(prefix); });
  }
  void Change() {
    TestNode& node = Publishers("late");
    Publish(&node, "a");
    Publish(&node, "z");
  }
  // Applies what comes, up to the end of the snapshot and a last topic.
  void ReadAll(const std::function<v1::DiscoveryEvent()>& next, std::set<std::string>* told) {
    bool done = false;
    while (!done || told->count("last") == 0) {
      const v1::DiscoveryEvent event = next();
      ASSERT_NE(event.kind(), v1::DiscoveryEvent::KIND_UNSPECIFIED) << "after " << told->size();
      if (event.kind() == v1::DiscoveryEvent::SNAPSHOT_DONE) {
        ASSERT_FALSE(done);
        done = true;
      }
      if (!event.has_topic()) continue;
      if (event.kind() == v1::DiscoveryEvent::ADDED) {
        ASSERT_TRUE(told->insert(event.topic().name()).second) << event.topic().name();
      } else if (event.kind() == v1::DiscoveryEvent::REMOVED) {
        ASSERT_EQ(told->erase(event.topic().name()), 1u) << event.topic().name();
      }
    }
  }

  ControlHarness harness_;
  AdminClient admin_{harness_.ConnectAdmin()};
  std::deque<TestNode> nodes_;
  std::set<std::string> topics_;  // those there are
};

TEST_F(LargeWatchTest, IsToldToAProcessAsItReadsAndEndsWithWhatIsThere) {
  TestNode watcher = harness_.AttachNode();
  ASSERT_NE(watcher.Hello("watcher"), 0u);
  v1::NodeRequest request;
  request.mutable_watch()->set_topics(true);
  ASSERT_TRUE(watcher.Call(request).has_done());
  Go(kNodes - 1);
  Change();
  Publish(&nodes_.back(), "last");
  std::set<std::string> told;
  ReadAll([&] { return watcher.Next().discovery(); }, &told);
  EXPECT_EQ(told, topics_);
}

TEST_F(LargeWatchTest, IsToldToAnOperatorAsHeReadsAndEndsWithWhatIsThere) {
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_topics(true);
  const auto watch = admin_.stub()->Watch(&context, request);
  v1::WatchResponse response;
  std::set<std::string> told;
  ASSERT_TRUE(watch->Read(&response));
  told.insert(response.event().topic().name());
  Go(kNodes - 1);
  Change();
  Publish(&nodes_.back(), "last");
  const auto next = [&] {
    return watch->Read(&response) ? response.event() : v1::DiscoveryEvent();
  };
  ReadAll(next, &told);
  EXPECT_EQ(told, topics_);
  context.TryCancel();
}

}  // namespace
}  // namespace ivmq::control
