// What the names of a machine may take of control's memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <string>

#include "broker/control/directory.h"
#include "broker/control/node_registry.h"
#include "broker/control/service_registry.h"
#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Chain(int number, int tokens) {
  std::string topic = std::to_string(number);
  for (int i = 1; i < tokens; ++i) topic += ".a";
  return topic;
}

uint64_t HeapBytes() { return ::mallinfo2().uordblks; }

TEST(BookBytesTest, AreWhatTheHeapSays) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the heap is the sanitizer's";
#endif
  for (const int tokens : {1, 3, 120}) {
    Directory directory;
    Node node;
    node.id = 1;
    directory.AddNode(node);
    const uint64_t before = HeapBytes();
    constexpr int kEndpoints = 500;
    for (int i = 0; i < kEndpoints; ++i) {
      Endpoint endpoint;
      endpoint.id = static_cast<uint64_t>(i) + 2;
      endpoint.node_id = 1;
      endpoint.publishes = true;
      endpoint.topic = Chain(i, tokens);
      endpoint.type_name = "a.type.of.twenty.bytes";
      directory.AddEndpoint(endpoint);
    }
    const double taken = static_cast<double>(HeapBytes() - before);
    const double estimated = static_cast<double>(directory.BookBytesOfPeer(0));
    EXPECT_GT(estimated, 0.8 * taken) << tokens;
    EXPECT_LT(estimated, 1.5 * taken) << tokens;
    for (int i = 0; i < kEndpoints; ++i) directory.RemoveEndpoint(static_cast<uint64_t>(i) + 2);
    EXPECT_EQ(directory.BookBytesOfPeer(0), 0u);
  }
}

class BookBytesOfRegistryTest : public testing::Test {
 protected:
  static constexpr uint64_t kAllowed = 100'000;

  static std::shared_ptr<transport::MemfdDevice> MakeDevice() {
    transport::MemfdDevice::Parts parts;
    parts.region =
        transport::CreateRegionMemfd("test", 4 << 20, transport::RegionPages::kOnDemand).value();
    parts.vectors = transport::CreateEventfds(1).value();
    auto device = transport::MemfdDevice::Open(std::move(parts)).value();
    transport::RegionParameters parameters;
    parameters.realm_name = "test";
    parameters.vectors = 1;
    parameters.generation = 1;
    EXPECT_TRUE(transport::FormatRegion(device->region(), parameters).ok());
    return device;
  }
  uint64_t NodeOf(uint32_t peer_id) {
    NodeRegistry::NewNode node;
    node.origin.peer_id = peer_id;
    node.name = "x";
    return registry_.AddNode(node).value()->id;
  }

  IdSource ids_;
  const std::shared_ptr<transport::MemfdDevice> device_ = MakeDevice();
  RealmState state_{"test", 0, transport::OpenRegion(device_->region()).value(), device_, &ids_};
  NodeRegistry registry_{&state_, kAllowed};
  ServiceRegistry services_{&state_, &registry_};
};

TEST_F(BookBytesOfRegistryTest, AreLimitedForAMachineAndComeBack) {
  const uint64_t first = NodeOf(1);
  const uint64_t second = NodeOf(1);
  const uint64_t other = NodeOf(2);
  int topics = 0;
  absl::Status status;
  while (status.ok()) {
    const uint64_t node = topics % 2 == 0 ? first : second;
    status = registry_.Register({node, topics % 3 == 0, Chain(topics, 120), "", {}}).status();
    ++topics;
  }
  EXPECT_LT(topics, 6);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("peer 1"), HasSubstr("at most 100000"), HasSubstr("fewer tokens")));
  EXPECT_TRUE(registry_.Register({other, true, Chain(0, 120), "", {}}).ok());
  registry_.Leave(first, SideEvent::kClosed);
  EXPECT_TRUE(registry_.Register({second, true, "a.b", "", {}}).ok());
  while (services_.Register({second, true, "s", std::string(200, 't'), "", 0}).ok()) {
  }
  EXPECT_LE(state_.directory.BookBytesOfPeer(1), kAllowed);
  registry_.LeaveAll(1, SideEvent::kDied);
  EXPECT_EQ(state_.directory.BookBytesOfPeer(1), 0u);
}

}  // namespace
}  // namespace ivmq::control
