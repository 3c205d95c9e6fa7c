#include "broker/control/type_book.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/control/control_harness.h"

namespace ivmq::control {
namespace {

using testing::HasSubstr;

// A set with a.T, which nests a.T.Inner, and Free, which is in no package.
std::string SetOf(const std::string& comment = "") {
  google::protobuf::FileDescriptorSet set;
  auto* file = set.add_file();
  file->set_name("a.proto" + comment);
  file->set_package("a");
  file->add_message_type()->set_name("T");
  file->mutable_message_type(0)->add_nested_type()->set_name("Inner");
  auto* other = set.add_file();
  other->set_name("free.proto");
  other->add_message_type()->set_name("Free");
  return set.SerializeAsString();
}

TEST(TypeBookTest, TakesASetThatHoldsTheTypes) {
  EXPECT_TRUE(TypeBook::Validate("", {"a.T"}).ok());
  EXPECT_TRUE(TypeBook::Validate("", {""}).ok());
  EXPECT_TRUE(TypeBook::Validate(SetOf(), {"a.T"}).ok());
  EXPECT_TRUE(TypeBook::Validate(SetOf(), {"a.T.Inner", "Free"}).ok());
  EXPECT_TRUE(TypeBook::Validate(SetOf(), {"a.T", ""}).ok());
}

TEST(TypeBookTest, RefusesASetThatIsOfNoUse) {
  const auto said = [](const std::string& set, const std::vector<std::string>& types) {
    const absl::Status status = TypeBook::Validate(set, types);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(said(SetOf(), {"a.U"}), HasSubstr("type \"a.U\" is in none"));
  EXPECT_THAT(said(SetOf(), {"T"}), HasSubstr("type \"T\""));
  EXPECT_THAT(said(SetOf(), {"a.Free"}), HasSubstr("type \"a.Free\""));
  EXPECT_THAT(said(SetOf(), {"a.T", "a.T.Outer"}), HasSubstr("a.T.Outer"));
  EXPECT_THAT(said(SetOf(), {""}), HasSubstr("without a type name"));
  EXPECT_THAT(said("\xff nonsense", {"a.T"}), HasSubstr("FileDescriptorSet"));
  EXPECT_THAT(said(SetOf().substr(0, 20), {"a.T"}), HasSubstr("FileDescriptorSet"));
  const size_t most = TypeBook::kMaxSetBytes;
  EXPECT_THAT(said(std::string(most + 1, 'x'), {"a.T"}), HasSubstr("262145 bytes"));
  // One of the largest size that is allowed.
  std::string name(most - SetOf().size(), 'x');
  while (SetOf(name).size() > most) name.pop_back();
  ASSERT_EQ(SetOf(name).size(), most);
  EXPECT_TRUE(TypeBook::Validate(SetOf(name), {"a.T"}).ok());
}

TEST(TypeBookTest, KeepsTheFirstAsLongAsSomeoneHasTheType) {
  TypeBook book;
  book.Add(1, {"a.T"}, "");
  EXPECT_THAT(std::string(book.Find("a.T").status().message()),
              HasSubstr("described it; what takes more than 262144 bytes"));
  book.Add(2, {"a.T"}, "first");
  book.Add(3, {"a.T"}, "second");
  book.Add(4, {"a.T"}, "first");
  EXPECT_EQ(**book.Find("a.T"), "first");
  EXPECT_EQ(book.conflicts(), 1u);
  book.Remove(2);
  book.Remove(4);
  book.Remove(4);
  EXPECT_EQ(**book.Find("a.T"), "first");
  book.Remove(3);
  EXPECT_EQ(**book.Find("a.T"), "first");  // the one who described nothing is still there
  book.Remove(1);
  EXPECT_EQ(**book.Find("a.T"), "first");  // for who still holds messages of it
  book.Add(5, {"a.T"}, "third");
  EXPECT_EQ(**book.Find("a.T"), "third");  // nobody is left who meant the first
  EXPECT_EQ(book.conflicts(), 1u);
  book.Remove(5);
  book.Add(6, {"a.T"}, "");
  EXPECT_EQ(**book.Find("a.T"), "third");
  EXPECT_EQ(book.used_bytes(), 5u);
}

TEST(TypeBookTest, ForgetsTypesThatNobodyHasWhenOthersNeedTheRoom) {
  TypeBook book(10);
  book.Add(1, {"a.T"}, "12345");
  book.Add(2, {"a.U"}, "12345");
  book.Remove(2);
  book.Remove(1);
  book.Add(3, {"a.T"}, "");  // has somebody again
  book.Add(4, {"a.V"}, "1234");
  EXPECT_EQ(book.Find("a.U").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(**book.Find("a.T"), "12345");
  EXPECT_EQ(**book.Find("a.V"), "1234");
  EXPECT_EQ(book.used_bytes(), 9u);
}

TEST(TypeBookTest, KeepsSoManyTypesThatNobodyHasAndForgetsTheOldest) {
  TypeBook book;
  for (uint64_t id = 1; id <= TypeBook::kMaxIdle + 1; ++id) {
    book.Add(id, {"a.T" + std::to_string(id)}, "x");
    book.Remove(id);
  }
  EXPECT_EQ(book.types(), TypeBook::kMaxIdle);
  EXPECT_EQ(book.used_bytes(), TypeBook::kMaxIdle);
  EXPECT_FALSE(book.Find("a.T1").ok());
  EXPECT_TRUE(book.Find("a.T2").ok());
  book.Add(1, {"a.Undescribed"}, "");
  book.Remove(1);
  EXPECT_EQ(book.types(), TypeBook::kMaxIdle);
}

TEST(TypeBookTest, KeepsNoMoreThanItsRoom) {
  TypeBook book(10);
  book.Add(1, {"a.T"}, "12345");
  book.Add(2, {"a.U"}, "12345");
  book.Add(3, {"a.V"}, "1");
  EXPECT_EQ(book.used_bytes(), 10u);
  EXPECT_THAT(std::string(book.Find("a.V").status().message()), HasSubstr("10 of 10 bytes"));
  book.Remove(1);
  book.Add(4, {"a.V"}, "1");
  EXPECT_EQ(**book.Find("a.V"), "1");
  EXPECT_EQ(book.used_bytes(), 6u);
}

TEST(TypeBookTest, AServerMayHaveOneTypeForBoth) {
  TypeBook book;
  book.Add(1, {"a.T", "a.T"}, "set");
  book.Add(2, {"a.T", "a.U"}, "set");
  book.Remove(1);
  EXPECT_EQ(**book.Find("a.T"), "set");
  book.Remove(2);
  EXPECT_EQ(book.types(), 2u);
  EXPECT_EQ(book.used_bytes(), 6u);
}

TEST(TypeBookTest, NodesAskForTypesAndForTheTime) {
  ControlHarness harness;
  TestNode publisher = harness.AttachNode();
  publisher.Hello("pub");
  TestNode asker = harness.AttachNode();
  asker.Hello("ask");
  v1::NodeRequest wish;
  wish.mutable_register_publisher()->set_topic("t");
  wish.mutable_register_publisher()->set_type_name("a.T");
  wish.mutable_register_publisher()->set_file_descriptor_set("nonsense");
  EXPECT_EQ(publisher.Call(wish).failure().code(), 3);
  wish.mutable_register_publisher()->set_file_descriptor_set(SetOf());
  const v1::NodeEvent made = publisher.Call(wish);
  ASSERT_TRUE(made.has_publisher_registered());
  v1::NodeRequest question;
  question.mutable_describe_type()->set_type_name("a.T");
  EXPECT_EQ(asker.Call(question).type_described().file_descriptor_set(), SetOf());
  publisher.Unregister(made.publisher_registered().publisher_id());
  EXPECT_EQ(asker.Call(question).type_described().file_descriptor_set(), SetOf());
  question.mutable_describe_type()->set_type_name(std::string(1000, '\n'));
  EXPECT_EQ(asker.Call(question).failure().code(), 5);
  // What is said anew counts once the process that said it before is gone.
  publisher.Call(wish);
  harness.NodeGone(publisher, broker::GoneProof::kEof);
  TestNode heir = harness.AttachNode();
  heir.Hello("heir");
  wish.mutable_register_publisher()->set_file_descriptor_set(SetOf("another"));
  ASSERT_TRUE(heir.Call(wish).has_publisher_registered());
  question.mutable_describe_type()->set_type_name("a.T");
  EXPECT_EQ(asker.Call(question).type_described().file_descriptor_set(), SetOf("another"));

  // A server describes both its types.
  v1::NodeRequest server;
  server.mutable_register_server()->set_service("s");
  server.mutable_register_server()->set_request_type("a.T.Inner");
  server.mutable_register_server()->set_reply_type("Free");
  server.mutable_register_server()->set_file_descriptor_set(SetOf());
  EXPECT_TRUE(asker.Call(server).has_server_registered());
  question.mutable_describe_type()->set_type_name("Free");
  EXPECT_EQ(asker.Call(question).type_described().file_descriptor_set(), SetOf());

  v1::NodeRequest clock;
  clock.mutable_read_clock();
  const auto now = [] {
    return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  };
  const int64_t before = now();
  const int64_t told = asker.Call(clock).clock_reading().realm_time_ns();
  EXPECT_LE(before, told);
  EXPECT_LE(told, now());
}

}  // namespace
}  // namespace ivmq::control
