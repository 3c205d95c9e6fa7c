#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"
#include "transport/unix_socket.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr auto kLong = 30s;

Node Open(const FakeControl& control, const std::string& name = "n") {
  return Node::Open({.name = name, .socket_path = control.socket_path()}).value();
}

TEST(NodeTest, SaysWhereItLookedForADaemonAndWhatToStart) {
  const auto node = Node::Open({.socket_path = "/nonexistent/node.sock"});
  EXPECT_EQ(node.status().code(), Code::kUnavailable);
  EXPECT_THAT(node.status().message(), HasSubstr("/nonexistent/node.sock"));
  EXPECT_THAT(node.status().message(), HasSubstr("ivmqd"));
  EXPECT_THAT(node.status().message(), HasSubstr("ivmq-agent"));
}

TEST(NodeTest, SaysThatADaemonDoesNotAnswer) {
  FakeControl control(FakeControl::Options{.answers_hello = false});
  const auto start = std::chrono::steady_clock::now();
  const auto node = Node::Open({.socket_path = control.socket_path(), .timeout = 50ms});
  EXPECT_EQ(node.status().code(), Code::kDeadlineExceeded);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 50ms);
}

TEST(NodeTest, SaysThatADaemonListensButDoesNotServe) {
  std::string directory = "/tmp/ivmq-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/node.sock";
  {
    const auto stalled = transport::ListenUnix(path, transport::UnixSocketType::kSeqpacket);
    ASSERT_TRUE(stalled.ok());
    const auto node = Node::Open({.socket_path = path, .timeout = 50ms});
    EXPECT_EQ(node.status().code(), Code::kDeadlineExceeded) << node.status().ToString();
  }
  const auto node = Node::Open({.socket_path = path, .timeout = 50ms});
  EXPECT_EQ(node.status().code(), Code::kUnavailable) << node.status().ToString();
  std::filesystem::remove_all(directory);
}

TEST(NodeTest, RefusesANameThatIsTooLong) {
  FakeControl control;
  const std::string longest(63, 'x');
  EXPECT_TRUE(Node::Open({.name = longest, .socket_path = control.socket_path()}).ok());
  const auto refused = Node::Open({.name = longest + "x", .socket_path = control.socket_path()});
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
}

TEST(NodeTest, KnowsWhoItIs) {
  FakeControl control;
  Node node = Open(control, "camera-1");
  EXPECT_EQ(node.name(), "camera-1");
  EXPECT_EQ(node.realm(), "fake");
  EXPECT_EQ(node.id(), 1u);
  EXPECT_EQ(node.peer_id(), 0u);
  EXPECT_TRUE(node.connected());
  const Node copy = node;
  EXPECT_EQ(copy.id(), node.id());
  Node unnamed = Node::Open({.socket_path = control.socket_path()}).value();
  EXPECT_THAT(unnamed.name(), HasSubstr("-" + std::to_string(::getpid())));
}

TEST(NodeTest, GoesOnWithItsLinksWhenTheDaemonIsGone) {
  for (const bool with_keeper : {false, true}) {
    FakeControl control;
    Node sender = Open(control);
    Node receiver = Open(control);
    auto publisher = sender.CreatePublisher("t").value();
    auto subscriber = receiver.CreateSubscriber("t").value();
    if (with_keeper) {
      control.DieWithKeeper();
    } else {
      control.Die();
    }
    ASSERT_TRUE(WaitUntil([&] { return !sender.connected() && !receiver.connected(); }));
    for (int i = 0; i < 1000; ++i) {
      ASSERT_TRUE(publisher.Publish(AsBytes(std::to_string(i))).ok());
      ASSERT_EQ(subscriber.Receive(kLong).value().text(), std::to_string(i));
    }
    const Status none = sender.CreatePublisher("u").status();
    EXPECT_EQ(none.code(), Code::kUnavailable);
    EXPECT_THAT(none.message(), HasSubstr("daemon is gone"));
    EXPECT_EQ(sender.CreateSubscriber("u").status().code(), Code::kUnavailable);
    EXPECT_EQ(sender.WatchDiscovery([](const Node::Discovery&) {}).code(), Code::kUnavailable);
  }
}

TEST(NodeTest, EndsAnOpenThatWaitsWhenTheDaemonDies) {
  FakeControl control(FakeControl::Options{.answers_hello = false});
  std::thread killer([&] {
    control.AwaitRequest([](const auto& one) { return one.has_hello(); });
    control.Die();
  });
  const auto node = Node::Open({.socket_path = control.socket_path(), .timeout = kLong});
  EXPECT_EQ(node.status().code(), Code::kUnavailable) << node.status().ToString();
  EXPECT_THAT(node.status().message(), HasSubstr("`ivmq doctor` says what to restart"));
  killer.join();
}

TEST(NodeTest, EndsACreateThatWaitsWhenTheDaemonDies) {
  FakeControl control(FakeControl::Options{.answers_registrations = false});
  Node node = Open(control);
  std::thread killer([&] {
    control.AwaitRequest([](const auto& one) { return one.has_register_publisher(); });
    control.Die();
  });
  EXPECT_EQ(node.CreatePublisher("t").status().code(), Code::kUnavailable);
  killer.join();
}

TEST(NodeTest, TakesBackARegistrationWhoseAnswerCameTooLate) {
  FakeControl control(FakeControl::Options{.answers_registrations = false});
  Node node = Node::Open({.socket_path = control.socket_path(), .timeout = 100ms}).value();
  EXPECT_EQ(node.CreatePublisher("t").status().code(), Code::kDeadlineExceeded);
  const auto asked =
      control.AwaitRequest([](const auto& one) { return one.has_register_publisher(); });
  v1::NodeEvent late;
  late.set_request_id(asked.request_id());
  late.mutable_publisher_registered()->set_publisher_id(4711);
  control.SendEvent(1, late);
  const auto back = control.AwaitRequest([](const auto& one) { return one.has_unregister(); });
  EXPECT_EQ(back.unregister().id(), 4711u);
}

TEST(NodeTest, PassesOnWhyARegistrationFailed) {
  FakeControl control(FakeControl::Options{.answers_registrations = false});
  Node node = Open(control);
  std::thread refuser([&] {
    const auto asked =
        control.AwaitRequest([](const auto& one) { return one.has_register_subscriber(); });
    v1::NodeEvent event;
    event.set_request_id(asked.request_id());
    event.mutable_failure()->set_code(8);
    event.mutable_failure()->set_message("no memory left");
    control.SendEvent(1, event);
  });
  const Status status = node.CreateSubscriber("t").status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_EQ(status.message(), "no memory left");
  refuser.join();
}

TEST(NodeTest, NamesThePublishersThatDoNotAttach) {
  FakeControl control(FakeControl::Options{.sends_link_ready = false});
  auto publisher = Open(control).CreatePublisher("t").value();
  Node node = Open(control);
  const auto late = node.CreateSubscriber("t", {.join_timeout = 50ms});
  EXPECT_EQ(late.status().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(late.status().message(), HasSubstr("node-1"));
  control.AwaitRequest([](const auto& one) { return one.has_unregister(); });
  EXPECT_TRUE(node.CreateSubscriber("t", {.join_timeout = 0s}).ok()) << "does not wait";
}

TEST(NodeTest, JoinsWhenAPublisherGoesAwayInsteadOfAttaching) {
  FakeControl control(FakeControl::Options{.sends_link_ready = false});
  auto publisher = std::make_unique<BytesPublisher>(Open(control).CreatePublisher("t").value());
  Node node = Open(control);
  std::thread leaver([&] {
    control.AwaitRequest([](const auto& one) { return one.has_register_subscriber(); });
    publisher.reset();
  });
  const auto joined = node.CreateSubscriber("t", {.join_timeout = 60s});
  EXPECT_TRUE(joined.ok()) << joined.status().ToString();
  leaver.join();
}

TEST(NodeTest, TellsItsCountersWhenAsked) {
  FakeControl control;
  Node node = Open(control);
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = node.CreateSubscriber("t").value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("12345")).ok());
  ASSERT_TRUE(subscriber.Receive(kLong).ok());
  v1::NodeEvent event;
  event.set_request_id(99);
  event.mutable_counters_wanted();
  control.SendEvent(1, event);
  const auto told = control.AwaitRequest([](const auto& one) { return one.has_counters(); });
  EXPECT_EQ(told.request_id(), 99u);
  uint64_t published = 0;
  uint64_t published_bytes = 0;
  uint64_t delivered = 0;
  for (const auto& link : told.counters().links()) {
    published += link.published();
    published_bytes += link.published_bytes();
    delivered += link.delivered();
  }
  EXPECT_EQ(published, 3u);
  EXPECT_EQ(published_bytes, 15u);
  EXPECT_EQ(delivered, 1u);
}

TEST(NodeTest, TellsDiscoveryOnceANode) {
  FakeControl control;
  Node node = Open(control);
  std::mutex mutex;
  std::vector<Node::Discovery> seen;
  const auto watch = [&](const Node::Discovery& one) {
    const std::lock_guard lock(mutex);
    seen.push_back(one);
    // Waiting here would be for ever: it is refused instead.
    EXPECT_EQ(node.CreatePublisher("t").status().code(), Code::kFailedPrecondition);
  };
  ASSERT_TRUE(node.WatchDiscovery(watch).ok());
  EXPECT_EQ(node.WatchDiscovery(watch).code(), Code::kAlreadyExists);
  v1::NodeEvent event;
  event.mutable_discovery()->set_kind(v1::DiscoveryEvent::ADDED);
  event.mutable_discovery()->mutable_topic()->set_name("a.b");
  event.mutable_discovery()->mutable_topic()->set_publishers(2);
  control.SendEvent(1, event);
  event.mutable_discovery()->set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
  event.mutable_discovery()->clear_subject();
  control.SendEvent(1, event);
  ASSERT_TRUE(WaitUntil([&] {
    const std::lock_guard lock(mutex);
    return seen.size() == 2;
  }));
  EXPECT_EQ(seen[0].subject, Node::Discovery::Subject::kTopic);
  EXPECT_EQ(seen[0].name, "a.b");
  EXPECT_EQ(seen[0].publishers, 2u);
  EXPECT_EQ(seen[1].kind, Node::Discovery::Kind::kSnapshotDone);
  EXPECT_EQ(seen[1].subject, Node::Discovery::Subject::kNone);
}

// Of the first one control tells when nobody waits any more.
TEST(NodeTest, WatchesAgainAfterAWatchThatFailed) {
  FakeControl control({.answers_watches = false});
  Node node =
      Node::Open({.name = "n", .socket_path = control.socket_path(), .timeout = 2s}).value();
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> handler = held;
  std::atomic<int> calls = 0;
  EXPECT_EQ(node.WatchDiscovery([held, &calls](const Node::Discovery&) { ++calls; }).code(),
            Code::kDeadlineExceeded);
  held.reset();
  EXPECT_TRUE(handler.expired());
  const auto is_watch = [](const auto& one) { return one.has_watch(); };
  const uint64_t first = control.AwaitRequest(is_watch).request_id();
  std::promise<std::string> seen;
  auto second = std::async(std::launch::async, [&] {
    return node.WatchDiscovery([&](const Node::Discovery& one) { seen.set_value(one.name); });
  });
  const auto is_second = [&](const auto& one) {
    return one.has_watch() && one.request_id() != first;
  };
  const uint64_t second_id = control.AwaitRequest(is_second).request_id();
  for (const auto& [id, name] : {std::pair(first, "late"), std::pair(second_id, "a.b")}) {
    v1::NodeEvent done;
    done.set_request_id(id);
    done.mutable_done();
    control.SendEvent(1, done);
    v1::NodeEvent event;
    event.mutable_discovery()->mutable_topic()->set_name(name);
    control.SendEvent(1, event);
  }
  EXPECT_TRUE(second.get().ok());
  EXPECT_EQ(seen.get_future().get(), "a.b");
  EXPECT_EQ(calls, 0);
}

TEST(NodeTest, SurvivesADiscoveryHandlerThatThrows) {
  FakeControl control;
  Node node = Open(control);
  std::atomic<int> calls = 0;
  ASSERT_TRUE(node.WatchDiscovery([&](const Node::Discovery&) {
                    if (++calls == 1) throw std::runtime_error("no");
                  })
                  .ok());
  v1::NodeEvent event;
  event.mutable_discovery()->set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
  control.SendEvent(1, event);
  control.SendEvent(1, event);
  EXPECT_TRUE(WaitUntil([&] { return calls == 2; }));
  EXPECT_EQ(node.failed_handlers(), 1u);
}

TEST(NodeTest, SurvivesLosingItsLastCopyInItsOwnHandler) {
  FakeControl control;
  auto holder = std::make_unique<Node>(Open(control));
  std::atomic<bool> dropped{false};
  ASSERT_TRUE(holder
                  ->WatchDiscovery([&](const Node::Discovery&) {
                    holder.reset();
                    dropped = true;
                  })
                  .ok());
  v1::NodeEvent event;
  event.mutable_discovery()->set_kind(v1::DiscoveryEvent::SNAPSHOT_DONE);
  control.SendEvent(1, event);
  EXPECT_TRUE(WaitUntil([&] { return dropped.load(); }));
  control.AwaitRequest([](const auto& one) { return one.has_goodbye(); });
}

TEST(NodeTest, IgnoresWhatALaterDaemonMaySend) {
  FakeControl control;
  Node node = Open(control);
  control.SendEvent(1, v1::NodeEvent());
  v1::NodeEvent unasked;
  unasked.set_request_id(12345);
  unasked.mutable_done();
  control.SendEvent(1, unasked);
  v1::NodeEvent stray;
  stray.mutable_link_down()->set_link_id(77);
  control.SendEvent(1, stray);
  EXPECT_TRUE(node.CreatePublisher("t").ok());
}

TEST(NodeTest, LetsPublishersAndSubscribersMoveAndOutliveIt) {
  FakeControl control;
  std::vector<BytesPublisher> publishers;
  std::vector<BytesSubscriber> subscribers;
  {
    Node node = Open(control);
    subscribers.push_back(node.CreateSubscriber("t").value());
    publishers.push_back(node.CreatePublisher("t").value());
    publishers.push_back(node.CreatePublisher("t").value());
  }
  BytesPublisher moved = std::move(publishers[0]);
  EXPECT_EQ(publishers[0].Publish(AsBytes("x")).status().code(), Code::kClosed);
  EXPECT_EQ(publishers[0].topic(), "");
  ASSERT_TRUE(moved.Publish(AsBytes("moved")).ok());
  BytesSubscriber other = std::move(subscribers[0]);
  EXPECT_EQ(subscribers[0].Receive(kLong).status().code(), Code::kClosed);
  EXPECT_EQ(other.Receive(kLong).value().text(), "moved");
  moved = std::move(publishers[1]);
  ASSERT_TRUE(moved.Publish(AsBytes("again")).ok());
  EXPECT_EQ(other.Receive(kLong).value().text(), "again");
}

TEST(NodeTest, ClosesFromAnotherThreadInTheMiddleOfTraffic) {
  for (int round = 0; round < 20; ++round) {
    FakeControl control;
    Node node = Open(control);
    auto subscriber = node.CreateSubscriber("t").value();
    auto publisher = node.CreatePublisher("t", {.reliability = Block(kLong)}).value();
    std::thread sending([&] {
      while (publisher.Publish(AsBytes("x")).ok()) {
      }
      EXPECT_EQ(publisher.Publish(AsBytes("x")).status().code(), Code::kClosed);
    });
    std::thread receiving([&] {
      while (subscriber.Receive(kLong).ok()) {
      }
      EXPECT_EQ(subscriber.Receive(kLong).status().code(), Code::kClosed);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 5));
    node.Close();
    sending.join();
    receiving.join();
  }
}

TEST(NodeTest, MissesNothingOfPublishersThatWereThereBefore) {
  FakeControl control;
  Node sender = Open(control);
  Node receiver = Open(control);
  auto publisher = sender.CreatePublisher("t", {.reliability = Block(kLong)}).value();
  std::atomic<uint64_t> published{0};
  std::atomic<bool> stop{false};
  std::thread sending([&] {
    for (uint64_t i = 0; !stop; ++i) {
      const std::string text = std::to_string(i);
      ASSERT_TRUE(publisher.Publish(AsBytes(text)).ok());
      published = i + 1;
    }
  });
  for (int round = 0; round < 100; ++round) {
    auto subscriber = receiver.CreateSubscriber("t").value();
    const uint64_t before = published;
    const auto first = subscriber.Receive(kLong);
    ASSERT_TRUE(first.ok());
    // One may be under way: counted as published only after it was written.
    EXPECT_LE(std::stoull(std::string(first->text())), before + 1);
  }
  stop = true;
  sending.join();
}

}  // namespace
}  // namespace ivmq::test
