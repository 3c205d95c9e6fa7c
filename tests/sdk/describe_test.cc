// Control keeps the description of a type while anybody publishes it, so whoever of a node comes
// first has to bring it, however many come and go at once.

#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/fake_control.h"

namespace ivmq::test {
namespace {

using google::protobuf::StringValue;

// In the order in which control has heard it.
class TypeBook {
 public:
  void Hear(const v1::NodeRequest& request) {
    if (request.has_register_publisher()) {
      const bool says = !request.register_publisher().file_descriptor_set().empty();
      said_ += says ? 1 : 0;
      known_ = known_ || says;
      unknown_ += known_ ? 0 : 1;
      users_.insert(next_id_++);
    } else if (request.has_unregister()) {
      users_.erase(request.unregister().id());
      if (users_.empty()) known_ = false;
    }
  }
  uint64_t said() const { return said_; }
  // Registrations of a type that control had no description of then.
  uint64_t unknown() const { return unknown_; }

 private:
  uint64_t next_id_ = 100;  // as FakeControl counts
  std::set<uint64_t> users_;
  bool known_ = false;
  uint64_t said_ = 0;
  uint64_t unknown_ = 0;
};

TypeBook Heard(const FakeControl& control) {
  TypeBook book;
  for (const auto& request : control.requests()) book.Hear(request);
  return book;
}

TEST(DescribeTest, SaysWhatATypeLooksLikeOnceWhileItIsInUse) {
  FakeControl control;
  Node node = Node::Open({.name = "n", .socket_path = control.socket_path()}).value();
  {
    auto first = node.CreatePublisher<StringValue>("t").value();
    auto second = node.CreatePublisher<StringValue>("u").value();
    EXPECT_EQ(Heard(control).said(), 1u);
  }
  auto third = node.CreatePublisher<StringValue>("t").value();
  EXPECT_EQ(Heard(control).said(), 2u);
  EXPECT_EQ(Heard(control).unknown(), 0u);
}

TEST(DescribeTest, LeavesNoTypeUndescribedHoweverManyComeAndGo) {
  constexpr int kThreads = 4;
  constexpr int kPublishers = 250;
  FakeControl control;
  Node node = Node::Open({.name = "n", .socket_path = control.socket_path()}).value();
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&node] {
      for (int n = 0; n < kPublishers; ++n) {
        EXPECT_TRUE(node.CreatePublisher<StringValue>("t").ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(Heard(control).unknown(), 0u);
}

}  // namespace
}  // namespace ivmq::test
