// Control keeps the description of a type while anybody publishes it, so whoever of a node comes
// first has to bring it, however many come and go at once.

#include <gmock/gmock.h>
#include <google/protobuf/api.pb.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/type.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/fake_control.h"

namespace ivmq {
namespace test {
// Whose codec takes so many bytes to describe it.
template <size_t kBytes>
struct Described {};
}  // namespace test

template <size_t kBytes>
struct Codec<test::Described<kBytes>> {
  static std::string TypeName() { return "a.Described"; }
  static std::string Descriptors() { return std::string(kBytes, 'd'); }
  static size_t Size(const test::Described<kBytes>&) { return 0; }
  static bool Encode(const test::Described<kBytes>&, std::span<std::byte>) { return true; }
  static bool Decode(std::span<const std::byte>, test::Described<kBytes>*) { return true; }
};

}  // namespace ivmq

namespace ivmq::test {
namespace {

using google::protobuf::Api;
using google::protobuf::FileDescriptorSet;
using google::protobuf::StringValue;
using google::protobuf::Type;
using ::testing::AllOf;
using ::testing::HasSubstr;

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

TEST(DescribeTest, RefusesADescriptionThatIsTooLargeAndNamesBothSizes) {
  FakeControl control;
  Node node = Node::Open({.name = "n", .socket_path = control.socket_path()}).value();
  PublisherOptions offer;
  offer.descriptors = std::string(kMaxDescriptorBytes + 1, 'd');
  ServerOptions own;
  own.descriptors = offer.descriptors;
  const auto handler = [](BytesServerCall&) { return Status(); };
  for (const Status& refused : {node.CreateBytesPublisher("t", "a.T", offer).status(),
                                node.CreatePublisher<StringValue>("t", offer).status(),
                                node.CreateBytesServer("s", "a.T", {}, handler, own).status(),
                                node.ServeBytes("s", "a.T", {}, handler, own).status()}) {
    EXPECT_EQ(refused.code(), Code::kInvalidArgument);
    EXPECT_THAT(refused.message(), AllOf(HasSubstr("262145"), HasSubstr("262144")));
  }
  offer.descriptors.pop_back();
  EXPECT_TRUE(node.CreateBytesPublisher("t", "a.T", offer).ok());
  EXPECT_EQ(Heard(control).said(), 1u);
}

TEST(DescribeTest, GoesWithoutWhatACodecSaysWhereThatIsTooLarge) {
  FakeControl control;
  Node node = Node::Open({.name = "n", .socket_path = control.socket_path()}).value();
  EXPECT_TRUE(node.CreatePublisher<Described<kMaxDescriptorBytes + 1>>("t").ok());
  EXPECT_EQ(Heard(control).said(), 0u);
  EXPECT_TRUE(node.CreatePublisher<Described<kMaxDescriptorBytes>>("t").ok());
  EXPECT_EQ(Heard(control).said(), 1u);
}

TEST(DescribeTest, AServerDescribesEachFileOfRequestsAndRepliesOnce) {
  FakeControl control;
  Node node = Node::Open({.name = "n", .socket_path = control.socket_path()}).value();
  auto server = node.CreateServer<Type, Api>("s", [](const Type&) { return Api(); }).value();
  const auto request =
      control.AwaitRequest([](const v1::NodeRequest& one) { return one.has_register_server(); });
  FileDescriptorSet set;
  ASSERT_TRUE(set.ParseFromString(request.register_server().file_descriptor_set()));
  std::multiset<std::string> names;
  for (const auto& file : set.file()) names.insert(file.name());
  EXPECT_THAT(names, ::testing::ElementsAre(
                         "google/protobuf/any.proto", "google/protobuf/api.proto",
                         "google/protobuf/source_context.proto", "google/protobuf/type.proto"));
}

TEST(DescribeTest, PutsSetsThatItCannotTakeApartOneBehindTheOther) {
  using internal::MergeDescriptorSets;
  const std::string file("\x0a\x02xy");
  EXPECT_EQ(MergeDescriptorSets(file, file), file);
  EXPECT_EQ(MergeDescriptorSets({}, file), file);
  EXPECT_EQ(MergeDescriptorSets(file, {}), file);
  EXPECT_EQ(MergeDescriptorSets(file, file + "\x0a\x01z"), file + "\x0a\x01z");
  const std::string endless = "\x0a" + std::string(11, '\x80');
  for (const std::string& odd :
       {std::string("\x0a"), std::string("\x0a\x03xy"), std::string("\x12\x02xy"), endless}) {
    EXPECT_EQ(MergeDescriptorSets(file, odd), file + odd);
    EXPECT_EQ(MergeDescriptorSets(odd, file), odd + file);
  }
}

}  // namespace
}  // namespace ivmq::test
