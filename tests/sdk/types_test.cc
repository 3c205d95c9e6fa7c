// What travels about types: names with links, descriptions through control.

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <span>
#include <string>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "tests/sdk/daemon.h"

namespace ivmq {
namespace test {
struct Undescribed {};
}  // namespace test

template <>
struct Codec<test::Undescribed> {
  static std::string TypeName() { return "a.Undescribed"; }
  static size_t Size(const test::Undescribed&) { return 0; }
  static bool Encode(const test::Undescribed&, std::span<std::byte>) { return true; }
  static bool Decode(std::span<const std::byte>, test::Undescribed*) { return true; }
};

}  // namespace ivmq

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using google::protobuf::StringValue;
using google::protobuf::Struct;

constexpr auto kLong = 60s;
constexpr const char* kStringValue = "google.protobuf.StringValue";
constexpr const char* kStruct = "google.protobuf.Struct";

class TypesTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = daemon_.node_socket(), .timeout = kLong})
        .value();
  }

  Daemon daemon_;
};

StringValue Text(const std::string& text) {
  StringValue value;
  value.set_value(text);
  return value;
}

TEST_F(TypesTest, AMessageNamesItsType) {
  Node node = Open("n");
  auto typed = node.CreatePublisher<StringValue>("a.typed").value();
  auto plain = node.CreatePublisher("a.plain").value();
  auto subscriber = node.CreateBytesSubscriber("a.*", "").value();
  ASSERT_TRUE(typed.Publish(Text("x")).ok());
  EXPECT_EQ(subscriber.Receive(kLong)->info.type_name(), kStringValue);
  ASSERT_TRUE(plain.Publish({}).ok());
  EXPECT_EQ(subscriber.Receive(kLong)->info.type_name(), "");
}

TEST_F(TypesTest, ANewcomerByAFilterHearsWhomItDoesNotFit) {
  Node node = Open("n");
  auto fits = node.CreatePublisher<StringValue>("a.fits").value();
  auto misfit = node.CreatePublisher<Struct>("a.misfit").value();
  std::promise<Event> told;
  SubscriberOptions options;
  options.on_event = [&told](const Event& event) {
    if (event.kind == Event::Kind::kIncompatible) told.set_value(event);
  };
  auto subscriber = node.CreateSubscriber<StringValue>("a.*", options).value();
  auto event = told.get_future();
  ASSERT_EQ(event.wait_for(kLong), std::future_status::ready);
  const Event incompatible = event.get();
  EXPECT_EQ(incompatible.topic, "a.misfit");
  EXPECT_EQ(incompatible.node, "n");
  EXPECT_THAT(incompatible.detail, testing::HasSubstr(kStruct));
  EXPECT_EQ(subscriber.publishers(), 1u);
}

TEST_F(TypesTest, ATypeStaysDescribedForWhoStillHoldsItsMessages) {
  Node node = Open("n");
  Node asker = Open("asker");
  auto publisher = std::make_optional(node.CreatePublisher<StringValue>("t").value());
  auto subscriber = asker.CreateBytesSubscriber("t", "").value();
  ASSERT_TRUE(publisher->Publish(Text("x")).ok());
  publisher.reset();
  ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 0; }));
  EXPECT_EQ(subscriber.Receive(kLong)->info.type_name(), kStringValue);
  EXPECT_TRUE(asker.DescribeType(kStringValue).ok());
}

TEST_F(TypesTest, AServerDescribesRequestsAndReplies) {
  Node node = Open("server");
  Node asker = Open("asker");
  std::string asked;
  const auto handler = [&asked](const StringValue&, ServerContext& context) {
    asked = context.query_type();
    return Struct();
  };
  auto server = node.Serve<StringValue, Struct>("s", handler).value();
  for (const char* type : {kStringValue, kStruct}) {
    const auto described = asker.DescribeType(type);
    ASSERT_TRUE(described.ok()) << described.status().ToString();
    google::protobuf::FileDescriptorSet files;
    ASSERT_TRUE(files.ParseFromString(described.value()));
    EXPECT_EQ(files.file_size(), 2);
  }
  ASSERT_TRUE(asker.Request<Struct>("s", Text("x"), kLong).ok());
  EXPECT_EQ(asked, kStringValue);
}

TEST_F(TypesTest, AServerOfBytesTakesQueriesOfAnyTypeAndTellsWhich) {
  Node node = Open("server");
  auto server = node.ServeBytes("s", "", "",
                                [](BytesServerCall& call) {
                                  return call.Reply(std::as_bytes(std::span(call.query_type())));
                                })
                    .value();
  const auto ask = [&](const char* type) {
    auto client = node.CreateBytesClient("s", type, "").value();
    const Bytes reply = client.Call({}, kLong).value();
    return std::string(reinterpret_cast<const char*>(reply.data()), reply.size());
  };
  EXPECT_EQ(ask("a.Query"), "a.Query");
  EXPECT_EQ(ask(""), "");
}

TEST_F(TypesTest, SaysNothingWhereOneOfTwoTypesIsUnknown) {
  Node node = Open("server");
  auto server =
      node.Serve<StringValue, Undescribed>("s", [](const StringValue&) { return Undescribed(); });
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  EXPECT_EQ(node.DescribeType(kStringValue).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace ivmq::test
