// The whole path of a guest but for QEMU: ivmqd, its control, an agent on an ivshmem device, and
// processes on both sides.

#include <gtest/gtest.h>
#include <ivmq/ivmq.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/agent/pseudo_vm.h"
#include "tests/control/admin_client.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "transport/unix_socket.h"

namespace ivmq::agent {
namespace {

using std::chrono::seconds;
using test::WaitUntil;

constexpr uint32_t kVectors = 4;
constexpr seconds kPatience{60};

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// Sizes from 0 to the largest, each message telling its number in its bytes.
std::string NumberedMessage(uint64_t number, size_t max_bytes) {
  std::string message(number * 7919 % (max_bytes + 1), static_cast<char>('a' + number % 26));
  if (message.size() >= sizeof(number)) std::memcpy(message.data(), &number, sizeof(number));
  return message;
}

class GuestPathTest : public testing::TestWithParam<bool> {
 protected:
  GuestPathTest() : daemon_({"--vectors", std::to_string(kVectors)}) {}

  std::unique_ptr<PseudoGuest> Boot(const std::string& name, bool interrupts = GetParam()) {
    auto guest =
        std::make_unique<PseudoGuest>(daemon_.vm_socket(), SocketOf(name), kVectors, interrupts);
    EXPECT_TRUE(WaitUntil([&] { return guest->connected(); }));
    return guest;
  }
  std::string SocketOf(const std::string& name) const {
    return daemon_.directory() + "/" + name + ".sock";
  }
  Node Open(const std::string& socket, const std::string& name) {
    return Node::Open({.name = name, .socket_path = socket, .timeout = kPatience}).value();
  }

  // All messages, in order, each as it was sent.
  void Exchange(Node& from, Node& to, const std::string& topic, uint64_t count) {
    auto subscriber = to.CreateBytesSubscriber(topic, "", {.join_timeout = kPatience}).value();
    auto publisher =
        from.CreateBytesPublisher(topic, "", {.reliability = Block(kPatience)}).value();
    ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
    const size_t max_bytes = publisher.max_message_bytes();
    std::thread sender([&] {
      for (uint64_t i = 0; i < count; ++i) {
        const auto sent = publisher.Publish(Bytes(NumberedMessage(i, max_bytes)));
        ASSERT_TRUE(sent.ok()) << sent.status().ToString();
      }
    });
    for (uint64_t i = 0; i < count; ++i) {
      const auto got = subscriber.Receive(kPatience);
      if (!got.ok()) ADD_FAILURE() << "message " << i << ": " << got.status().ToString();
      if (!got.ok()) break;
      EXPECT_EQ(got->info.sequence, i);
      ASSERT_EQ(got->text(), NumberedMessage(i, max_bytes)) << i;
    }
    sender.join();
  }

  test::Daemon daemon_;
};

TEST_P(GuestPathTest, CarriesMessagesBetweenGuestsAndHostInAllDirections) {
  const auto one = Boot("one");
  const auto two = Boot("two");
  EXPECT_NE(one->peer_id(), two->peer_id());
  Node in_one = Open(SocketOf("one"), "in-one");
  Node in_two = Open(SocketOf("two"), "in-two");
  Node on_host = Open(daemon_.node_socket(), "on-host");
  EXPECT_EQ(in_one.peer_id(), one->peer_id());
  EXPECT_EQ(on_host.peer_id(), 0U);
  Exchange(in_one, in_two, "guest.to.guest", 2000);
  Exchange(on_host, in_one, "host.to.guest", 2000);
  Exchange(in_two, on_host, "guest.to.host", 2000);
}

TEST_P(GuestPathTest, ServesThreeProcessesOfOneGuest) {
  const auto guest = Boot("one");
  Node first = Open(SocketOf("one"), "first");
  Node second = Open(SocketOf("one"), "second");
  Node third = Open(SocketOf("one"), "third");
  Exchange(first, second, "a", 500);
  Exchange(second, third, "b", 500);
  Exchange(third, first, "c", 500);
  EXPECT_TRUE(WaitUntil([&] { return guest->agent().processes() == 3; }));
}

TEST_P(GuestPathTest, AGuestThatDiesLeavesTheOthersAlone) {
  const auto stays = Boot("stays");
  Node in_stays = Open(SocketOf("stays"), "in-stays");
  Node on_host = Open(daemon_.node_socket(), "on-host");
  for (int round = 0; round < 3; ++round) {
    auto goes = Boot("goes");
    Node in_goes = Open(SocketOf("goes"), "in-goes");
    Exchange(in_goes, in_stays, "round." + std::to_string(round), 200);
    goes->device().Die();
  }
  Exchange(on_host, in_stays, "still.here", 200);
}

TEST_P(GuestPathTest, AnEvictedGuestsProcessesHearOfItAndItsMemoryComesBackWithItsEnd) {
  control::AdminClient admin(transport::ConnectUnix(daemon_.admin_socket(),
                                                    transport::UnixSocketType::kStream,
                                                    std::chrono::steady_clock::now() + kPatience)
                                 .value());
  const auto used = [&] { return admin.Realm().arena_used_bytes(); };
  const uint64_t empty = used();
  {
    auto guest = Boot("one");
    test::Events events;
    Node in_guest = Node::Open({.name = "in-guest",
                                .socket_path = SocketOf("one"),
                                .timeout = kPatience,
                                .on_event = events.handler()})
                        .value();
    auto publisher = in_guest.CreateBytesPublisher("t", "").value();
    {
      Node on_host = Open(daemon_.node_socket(), "on-host");
      auto subscriber = on_host.CreateBytesSubscriber("t", "").value();
      ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
      for (int i = 0; i < 10; ++i) ASSERT_TRUE(publisher.Publish(Bytes("x")).ok());
      publisher.Flush();
      for (int i = 0; i < 4; ++i) ASSERT_TRUE(subscriber.Receive(kPatience).ok());
      ASSERT_TRUE(admin.EvictPeer("", guest->peer_id()).ok());
      EXPECT_NE(events.Await(Event::Kind::kEvicted).detail, "");
      EXPECT_EQ(publisher.Publish(Bytes("x")).status().code(), Code::kClosed);
    }
    EXPECT_TRUE(WaitUntil([&] { return !guest->connected(); }));
    // The VM maps the region still: nobody else gets what it knew.
    EXPECT_GT(used(), empty + (uint64_t{64} << 10));
    v1::LinkAudit audit = admin.Audit("t").links(0);
    EXPECT_TRUE(audit.ended()) << audit.DebugString();
    EXPECT_EQ(audit.counters().in_flight().most(), 0U);
    guest->device().Die();
    EXPECT_TRUE(WaitUntil([&] { return used() == empty; }));
    audit = admin.Audit("t").links(0);
    EXPECT_EQ(audit.verdict(), v1::LinkAudit::EXACT) << audit.DebugString();
    EXPECT_EQ(audit.counters().published().most(), 10U);
    ASSERT_EQ(audit.counters().drops_size(), 1);
    EXPECT_EQ(audit.counters().drops(0).reason(), v1::Drop::SUBSCRIBER_CLOSED);
    EXPECT_EQ(audit.counters().drops(0).count().least(), 6U);
  }
  EXPECT_EQ(admin.Realm().arena_orphaned_bytes(), 0U);
}

TEST_P(GuestPathTest, TrafficGoesOnWhenControlIsKilled) {
  const auto one = Boot("one");
  const auto two = Boot("two");
  Node in_one = Open(SocketOf("one"), "in-one");
  Node in_two = Open(SocketOf("two"), "in-two");
  auto publisher = in_one.CreateBytesPublisher("t", "", {.reliability = Block(kPatience)}).value();
  auto subscriber = in_two.CreateBytesSubscriber("t", "", {.join_timeout = kPatience}).value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
  constexpr uint64_t kCount = 20'000;
  std::thread sender([&] {
    for (uint64_t i = 0; i < kCount; ++i) {
      ASSERT_TRUE(publisher.Publish(Bytes(std::to_string(i))).ok());
    }
  });
  for (uint64_t i = 0; i < kCount; ++i) {
    if (i == kCount / 4) daemon_.KillControl();
    const auto got = subscriber.Receive(kPatience);
    ASSERT_TRUE(got.ok()) << got.status().ToString();
    ASSERT_EQ(got->text(), std::to_string(i));
  }
  sender.join();
}

INSTANTIATE_TEST_SUITE_P(By, GuestPathTest, testing::Bool(), [](const auto& info) {
  return info.param ? std::string("Interrupts") : std::string("Polling");
});

}  // namespace
}  // namespace ivmq::agent
