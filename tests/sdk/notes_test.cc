// What goes with a message besides its bytes, and what it costs who sends nonsense.

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "ivmq/protobuf.h"
#include "ivmq/v1/control.pb.h"
#include "ringbuf/ring_layout.h"
#include "sdk/pubsub/inbound_notes.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"
#include "transport/message_extension.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr auto kLong = 30s;
constexpr const char* kTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class NotesTest : public ::testing::Test {
 protected:
  NotesTest() : node_(Node::Open({.name = "n", .socket_path = control_.socket_path()}).value()) {}
  FakeControl control_;
  Node node_;
};

TEST_F(NotesTest, CarriesAttributesAndTraceContextToEverySubscriber) {
  auto publisher = node_.CreatePublisher("t", {.history = History(1)}).value();
  auto first = node_.CreateSubscriber("t").value();
  const std::vector<Attribute> attributes = {{"unit", "K"}, {"b", "beta"}, {"empty", ""}};
  const PublishOptions options{.attributes = attributes, .traceparent = kTraceparent};
  ASSERT_TRUE(publisher.Publish(AsBytes("300"), options).ok());
  auto late = node_.CreateSubscriber("t", {.history = History(1)}).value();
  for (auto* subscriber : {&first, &late}) {
    const auto got = subscriber->Receive(kLong).value();
    EXPECT_EQ(got.text(), "300");
    EXPECT_EQ(got.info.traceparent(), kTraceparent);
    ASSERT_EQ(got.info.attributes().size(), 3u);
    EXPECT_EQ(got.info.attributes()[0].key, "unit");
    EXPECT_EQ(got.info.attributes()[0].value, "K");
    EXPECT_EQ(got.info.attributes()[1].value, "beta");
    EXPECT_EQ(got.info.attributes()[2].value, "");
    EXPECT_FALSE(got.info.publish_time().has_value());
    EXPECT_FALSE(got.info.latency().has_value());
  }
  ASSERT_TRUE(publisher.Publish(AsBytes("plain")).ok());
  EXPECT_TRUE(first.Receive(kLong)->info.attributes().empty());
  ASSERT_TRUE(publisher.Publish(AsBytes("lent"), options).ok());
  const auto borrowed = first.Borrow(kLong).value();
  EXPECT_EQ(borrowed.bytes().size(), 4u);
  EXPECT_EQ(borrowed.info().traceparent(), kTraceparent);
}

TEST_F(NotesTest, RefusesWhatIsTooMuchAndSaysWhatIsAllowed) {
  auto publisher = node_.CreatePublisher("t").value();
  const auto publish = [&](const std::vector<Attribute>& attributes, std::string_view traceparent,
                           size_t bytes) {
    return publisher.Publish(std::vector<std::byte>(bytes), {attributes, traceparent}).status();
  };
  const std::string big(4095, 'v');
  const std::string keys = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-*/";
  const auto many = [&](size_t count) {
    std::vector<Attribute> all;
    for (size_t i = 0; i < count; ++i) all.push_back({std::string_view(keys).substr(i, 1), "v"});
    return all;
  };
  EXPECT_TRUE(publish(many(64), {}, 1).ok());
  EXPECT_THAT(publish(many(65), {}, 1).message(), HasSubstr("65 attributes: at most 64"));
  EXPECT_TRUE(publish({{"k", big}}, {}, 1).ok());
  const Status too_big = publish({{"kk", big}}, {}, 1);
  EXPECT_EQ(too_big.code(), Code::kInvalidArgument);
  EXPECT_THAT(too_big.message(), HasSubstr("4097"));
  EXPECT_THAT(too_big.message(), HasSubstr("4096"));
  for (const char* wrong : {"00", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"}) {
    EXPECT_EQ(publish({}, wrong, 1).code(), Code::kInvalidArgument);
  }
  const Status too_much = publish({{"k", "v"}}, {}, publisher.max_message_bytes());
  EXPECT_EQ(too_much.code(), Code::kInvalidArgument);
  EXPECT_THAT(too_much.message(),
              HasSubstr("a message of 8192 bytes on topic 't' and the 24 that"));
  EXPECT_THAT(too_much.message(), HasSubstr("at most 8192 in all"));
  EXPECT_TRUE(publish({}, {}, publisher.max_message_bytes()).ok());
}

TEST_F(NotesTest, SaysWhenAMessageWasPublishedAndHowLongItTook) {
  auto publisher = node_.CreatePublisher("t", {.timestamps = true}).value();
  auto subscriber = node_.CreateSubscriber("t").value();
  const auto before = std::chrono::system_clock::now();
  ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  const auto got = subscriber.Receive(kLong).value();
  EXPECT_EQ(got.text(), "x");
  ASSERT_TRUE(got.info.publish_time().has_value());
  EXPECT_GE(got.info.publish_time()->when, before);
  ASSERT_TRUE(got.info.latency().has_value());
  EXPECT_GE(got.info.latency()->value, 0ns);
  EXPECT_EQ(got.info.latency()->uncertainty, 0ns) << "both are on the host";
}

TEST_F(NotesTest, QuarantinesALinkWhoseExtensionIsNone) {
  auto publisher = node_.CreatePublisher("t").value();
  auto subscriber = node_.CreateSubscriber("t").value();
  const std::vector<Attribute> attributes = {{"k", "v"}};
  ASSERT_TRUE(publisher.Publish(AsBytes("x"), {.attributes = attributes}).ok());
  const auto link = control_.links().at(0);
  // The block's size, behind the record's header.
  const uint64_t nonsense = 1 << 20;
  std::memcpy(control_.region().data() + link.ring_offset + sizeof(ringbuf::RingDescriptor) + 8,
              &nonsense, sizeof(nonsense));
  EXPECT_EQ(subscriber.Receive(0s).status().code(), Code::kTimeout);
  EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
  EXPECT_EQ(subscriber.counters().messages, 0u);
  control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_corrupt(); });
}

TEST_F(NotesTest, BelievesAPublisherOnlyWhatItsLinkCanHaveDropped) {
  constexpr uint64_t kMost = uint64_t{1} << 56;
  struct Case {
    Reliability reliability;
    std::vector<uint64_t> dropped;  // what one message after the other tells of
    std::vector<uint64_t> sequences;
  };
  for (const Case& one : {Case{Reliable(), {1}, {}}, Case{DropNewest(), {~uint64_t{0}}, {}},
                          Case{DropNewest(), {kMost - 1, 1, 1}, {kMost - 1, kMost + 1}}}) {
    FakeControl control;
    Node node = Node::Open({.name = "n", .socket_path = control.socket_path()}).value();
    auto publisher = node.CreatePublisher("t", {.timestamps = true}).value();
    auto subscriber = node.CreateSubscriber("t", {.reliability = one.reliability}).value();
    std::byte* at = control.region().data() + control.links().at(0).ring_offset +
                    sizeof(ringbuf::RingDescriptor);
    for (const uint64_t dropped : one.dropped) {
      ASSERT_TRUE(publisher.Publish({}).ok());
      transport::MessageExtension extension;
      extension.dropped = dropped;
      // As large as the timestamp that lies there, behind the record's header.
      ASSERT_EQ(transport::ExtensionBytes(extension), 24u);
      transport::EncodeExtension(extension, std::span(at + sizeof(uint64_t), 24));
      at += sizeof(uint64_t) + 24;
    }
    std::vector<uint64_t> sequences;
    for (auto got = subscriber.Receive(0s); got.ok(); got = subscriber.Receive(0s)) {
      sequences.push_back(got->info.sequence);
    }
    EXPECT_EQ(sequences, one.sequences);
    EXPECT_EQ(subscriber.counters().corrupt_links, 1u);
    EXPECT_EQ(subscriber.counters().dropped_full, one.sequences.empty() ? 0 : kMost);
  }
}

TEST_F(NotesTest, TellsControlOnceWhatATypeLooksLike) {
  {
    auto first = node_.CreatePublisher<v1::LinkUp>("t").value();
    auto second = node_.CreatePublisher<v1::LinkUp>("u").value();
    first.Close();
    auto third = node_.CreatePublisher<v1::LinkUp>("v").value();
  }
  // Control may have forgotten it once none of them is left.
  auto fourth = node_.CreatePublisher<v1::LinkUp>("t").value();
  std::vector<std::string> sent;
  for (const v1::NodeRequest& one : control_.requests()) {
    if (one.has_register_publisher()) {
      sent.push_back(one.register_publisher().file_descriptor_set());
    }
  }
  ASSERT_EQ(sent.size(), 4u);
  google::protobuf::FileDescriptorSet files;
  ASSERT_TRUE(files.ParseFromString(sent[0]));
  EXPECT_GT(files.file_size(), 0);
  EXPECT_EQ(files.file(files.file_size() - 1).package(), "ivmq.v1");
  EXPECT_EQ(sent[1], "");
  EXPECT_EQ(sent[2], "");
  EXPECT_EQ(sent[3], sent[0]);
  // Another node asks, and is given the same.
  Node other = Node::Open({.name = "other", .socket_path = control_.socket_path()}).value();
  EXPECT_EQ(other.DescribeType("ivmq.v1.LinkUp").value(), sent[0]);
  EXPECT_EQ(other.DescribeType("no.such.Type").status().code(), Code::kNotFound);
  EXPECT_EQ(other.DescribeType("\xff").status().code(), Code::kInvalidArgument);
}

TEST(InboundNotesTest, ReadsAndWritesTraceparents) {
  transport::TraceParent parent;
  ASSERT_TRUE(internal::ParseTraceParent(kTraceparent, &parent));
  EXPECT_EQ(parent.trace_id[0], 0x4b);
  EXPECT_EQ(parent.flags, 1);
  std::array<char, 55> text;
  internal::FormatTraceParent(parent, text);
  EXPECT_EQ(std::string_view(text.data(), text.size()), kTraceparent);
  EXPECT_FALSE(internal::ParseTraceParent("", &parent));
  EXPECT_FALSE(internal::ParseTraceParent(std::string(55, '-'), &parent));
}

}  // namespace
}  // namespace ivmq::test
