// Once a link is up, neither side takes memory from the heap; what has gone keeps none.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "sdk/services/client_cache.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace {

thread_local uint64_t allocations = 0;
std::atomic<int64_t> allocated_bytes{0};  // in use, of all threads

void* Allocate(size_t bytes) {
  ++allocations;
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  allocated_bytes.fetch_add(static_cast<int64_t>(::malloc_usable_size(memory)),
                            std::memory_order_relaxed);
  return memory;
}

void Free(void* memory) {
  allocated_bytes.fetch_sub(static_cast<int64_t>(::malloc_usable_size(memory)),
                            std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { Free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { Free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { Free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, size_t) noexcept { Free(memory); }

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

TEST(AllocationTest, NeitherPublishingNorReceivingTakesMemory) {
  FakeControl control;
  Node node = Node::Open({.socket_path = control.socket_path()}).value();
  auto publisher = node.CreatePublisher("t", {.reliability = Block(30s)}).value();
  auto first = node.CreateSubscriber("t").value();
  auto second = node.CreateSubscriber("t").value();
  const std::vector<std::byte> message(publisher.max_message_bytes());
  uint64_t received = 0;
  const auto count = [&received](const BytesMessage&) { ++received; };
  const BytesPublisher::Fill fill = [](std::span<std::byte> out) {
    out[0] = std::byte{1};
    return true;
  };
  const auto round = [&](size_t bytes) {
    ASSERT_TRUE(publisher.Publish(std::span(message).first(bytes)).ok());
    ASSERT_TRUE(publisher.Write(std::span(message).first(bytes)).ok());
    publisher.Flush();
    ASSERT_TRUE(publisher.PublishInPlace(bytes, fill).ok());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(first.Receive(30s).ok());
    ASSERT_EQ(first.Receive(0s).status().code(), Code::kTimeout);
    ASSERT_EQ(first.Receive(1us).status().code(), Code::kTimeout);
    ASSERT_EQ(second.Poll(3, count).value(), 3u);
  };
  round(message.size());  // The subscribers' own buffers grow with the first large message.
  const uint64_t before = allocations;
  for (int i = 0; i < 1000; ++i) round(1 + static_cast<size_t>(i) * 8);
  EXPECT_EQ(allocations, before);
}

TEST(AllocationTest, ANodeKeepsTheClientsThatWereAskedLast) {
  constexpr size_t kServices = internal::ClientCache::kClientsMax + 30;
  FakeControl control;
  Node node = Node::Open({.socket_path = control.socket_path()}).value();
  Node other = Node::Open({.socket_path = control.socket_path()}).value();
  auto server =
      other.Serve<Bytes, Bytes>("often", [](const Bytes& query) { return query; }).value();
  for (size_t i = 0; i < kServices; ++i) {
    const auto asked = node.Request<Bytes>("s" + std::to_string(i), Bytes());
    ASSERT_EQ(asked.status().code(), Code::kUnavailable);
    ASSERT_TRUE(node.Request<Bytes>("often", Bytes()).ok());
  }
  const auto count = [&control](const auto& fits) {
    const auto requests = control.requests();
    return static_cast<size_t>(std::count_if(requests.begin(), requests.end(), fits));
  };
  EXPECT_TRUE(WaitUntil([&] {
    return count([](const v1::NodeRequest& one) { return one.has_unregister(); }) == 31;
  })) << "one more than kServices, which was asked all the time";
  EXPECT_EQ(count([](const v1::NodeRequest& one) {
              return one.has_register_client() && one.register_client().service() == "often";
            }),
            1u);
}

TEST(AllocationTest, TopicsOfPublishersThatHaveGoneKeepNoMemory) {
  Daemon daemon;
  Node node = Node::Open({.name = "reader", .socket_path = daemon.node_socket()}).value();
  Node writer = Node::Open({.name = "writer", .socket_path = daemon.node_socket()}).value();
  auto subscriber = node.CreateSubscriber("churn.>").value();
  int number = 0;
  const auto come_and_go = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const std::string topic =
          "churn." + std::to_string(number++) + "." + std::string(60, 'x') + std::string(60, 'y');
      auto publisher = writer.CreatePublisher(topic, {.ring_bytes = 4096}).value();
      ASSERT_TRUE(publisher.WaitForSubscribers(1, 60s).ok());
      ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
      const auto got = subscriber.Receive(60s);
      ASSERT_TRUE(got.ok());
      publisher.Close();
      ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 0; }));
      ASSERT_EQ(got->info.topic, topic) << "until the next call";
    }
  };
  come_and_go(50);
  const int64_t before = allocated_bytes;
  constexpr int kTimes = 500;
  come_and_go(kTimes);
  EXPECT_LT(allocated_bytes, before + kTimes * 60) << "less than half of each topic";
}

TEST(AllocationTest, OfLinksThatHaveGoneTheLastMessagesNamesAreKept) {
  constexpr int kPublishers = 100;
  Daemon daemon;
  Node node = Node::Open({.name = "reader", .socket_path = daemon.node_socket()}).value();
  Node writer = Node::Open({.name = "writer", .socket_path = daemon.node_socket()}).value();
  auto subscriber = node.CreateSubscriber("churn.>").value();
  const auto come_and_go = [&](const std::string& name) {
    std::vector<BytesPublisher> publishers;
    for (int i = 0; i < kPublishers; ++i) {
      publishers.push_back(
          writer.CreatePublisher(name + std::to_string(i), {.ring_bytes = 4096}).value());
      ASSERT_TRUE(publishers.back().WaitForSubscribers(1, 60s).ok());
      ASSERT_TRUE(publishers.back().Publish(AsBytes("x")).ok());
    }
    std::string_view topic;
    for (int i = 0; i < kPublishers; ++i) {
      const auto got = subscriber.Receive(60s);
      ASSERT_TRUE(got.ok());
      topic = got->info.topic;
    }
    const std::string last(topic);
    publishers.clear();
    ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 0; }));
    ASSERT_EQ(topic, last) << "until the next call";
  };
  come_and_go("churn.");
  const int64_t before = allocated_bytes;
  come_and_go("churn." + std::string(200, 'x'));
  EXPECT_LT(allocated_bytes, before + kPublishers * 100) << "less than half of each topic";
}

}  // namespace
}  // namespace ivmq::test
