#include "broker/control/topic_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace ivmq::control {
namespace {

using testing::HasSubstr;

TEST(TopicNameTest, AcceptsTokensByDots) {
  for (const char* topic : {"a", "camera.front", "a.b.c.d", "mit leer.zeichen", "größe.température",
                            "\xf0\x9f\x9a\x80.x", "a-b_c.1"}) {
    EXPECT_TRUE(ValidateTopic(topic).ok()) << topic;
  }
}

struct BadTopic {
  std::string topic;
  std::string said;
};

TEST(TopicNameTest, RefusesAndNamesTheToken) {
  const BadTopic cases[] = {
      {"", "empty"},
      {".a", "token 1 is empty"},
      {"a.", "token 2 is empty"},
      {"a..b", "token 2 is empty"},
      {".", "token 1 is empty"},
      {"a.*", "token 2, \"*\", has a wildcard"},
      {">", "token 1, \">\", has a wildcard"},
      {"a.b>.c", "token 2, \"b>\", has a wildcard"},
      {std::string("a.b\0c", 5), "token 2, \"b\\x00c\", is not printable UTF-8"},
      {"a.\x1b[2J", "token 2"},
      {"a.\x7f", "token 2"},
      {"a.\xc2\x85", "token 2"},          // C1 control
      {"a.\xff", "token 2"},              // not UTF-8
      {"a.\xc0\xaf", "token 2"},          // overlong
      {"a.\xed\xa0\x80", "token 2"},      // surrogate
      {"a.\xf4\x90\x80\x80", "token 2"},  // beyond U+10FFFF
      {"a.\xe2\x82", "token 2"},          // cut short
      {"a.\xef\xbf\xbf", "token 2"},      // U+FFFF
  };
  for (const BadTopic& bad : cases) {
    const absl::Status status = ValidateTopic(bad.topic);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << Quoted(bad.topic);
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.said)) << Quoted(bad.topic);
  }
}

TEST(TopicNameTest, TakesFiltersAsNatsDoes) {
  for (const char* filter : {"*", ">", "a.*", "*.b", "a.*.c", "a.>", "*.>", "*.*.*", "a.b"}) {
    EXPECT_TRUE(ValidateFilter(filter).ok()) << filter;
    EXPECT_EQ(HasWildcard(filter), std::string(filter) != "a.b") << filter;
  }
  EXPECT_TRUE(ValidateFilter(std::string(253, 'x') + ".*").ok());
  EXPECT_FALSE(ValidateFilter(std::string(254, 'x') + ".*").ok());
}

TEST(TopicNameTest, RefusesFiltersThatCouldMatchNothing) {
  const BadTopic cases[] = {
      {"", "empty"},
      {"a..>", "token 2 is empty"},
      {">.a", "token 1 of 2 is `>`, which may only be the last"},
      {"a.>.>", "token 2 of 3 is `>`"},
      {"a.b*", "token 2, \"b*\", has a wildcard among other characters"},
      {"a.**", "token 2, \"**\", has a wildcard among other characters"},
      {"a.>>", "token 2, \">>\", has a wildcard among other characters"},
      {"*.\x1b", "token 2"},
  };
  for (const BadTopic& bad : cases) {
    const absl::Status status = ValidateFilter(bad.topic);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << Quoted(bad.topic);
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.said)) << Quoted(bad.topic);
  }
}

TEST(TopicNameTest, TakesATopicOf255BytesAndNotOneMore) {
  EXPECT_TRUE(ValidateTopic(std::string(255, 'x')).ok());
  EXPECT_THAT(std::string(ValidateTopic(std::string(256, 'x')).message()), HasSubstr("256 bytes"));
}

TEST(TopicNameTest, TakesFullTypeNamesAndNone) {
  for (const char* name : {"", "Frame", "acme.camera.Frame", "_x.Y1"}) {
    EXPECT_TRUE(ValidateTypeName(name).ok()) << name;
  }
  for (const std::string& name : {std::string("a..B"), std::string("1a"), std::string(".A"),
                                  std::string("a b"), std::string("a/B"), std::string(256, 'x')}) {
    EXPECT_EQ(ValidateTypeName(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_TRUE(ValidateTypeName(std::string(255, 'x')).ok());
}

TEST(TopicNameTest, TakesNodeNamesOfOneTo63Bytes) {
  EXPECT_TRUE(ValidateNodeName("x").ok());
  EXPECT_TRUE(ValidateNodeName(std::string(63, 'x')).ok());
  for (const std::string& name : {std::string(), std::string(64, 'x'), std::string("a\nb")}) {
    EXPECT_EQ(ValidateNodeName(name).code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace ivmq::control
