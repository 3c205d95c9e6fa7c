// Messages of protobuf types, read and written as JSON, against a real ivmqd.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ivmq/protobuf.h>

#include <fstream>
#include <string>

#include "ivmq/v1/discovery.pb.h"
#include "tests/command/command_fixture.h"
#include "tests/command/descriptor_files.h"
#include "tests/sdk/texts.h"

namespace ivmq::command {
namespace {

using google::protobuf::Struct;
using test::AsBytes;
using test::Child;
using testing::HasSubstr;
using testing::IsEmpty;

class TypedTest : public CommandFixture {
 protected:
  // Writes a file into the daemon's folder and tells its path.
  std::string File(const std::string& name, const std::string& content) const {
    std::string path = daemon_.directory() + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  static v1::Topic Sample() {
    v1::Topic topic;
    topic.set_name("x \"quoted\"");
    topic.set_links(3);
    return topic;
  }
};

constexpr const char* kSampleJson =
    R"({"name":"x \"quoted\"","realm":"","type_name":"","publishers":0,"subscribers":0,"links":3})";

TEST_F(TypedTest, PrintsMessagesWhoseTypeWasToldAsJson) {
  Child people = Start({"sub", "sensors.>", "--count", "2"});
  Child programs = Start({"sub", "sensors.one", "--count", "1", "--json"});
  Node node = Open("typed");
  auto typed = node.CreatePublisher<v1::Topic>("sensors.one").value();
  auto plain = node.CreatePublisher("sensors.two").value();
  ASSERT_TRUE(typed.WaitForSubscribers(2, kPatience).ok());
  ASSERT_TRUE(plain.WaitForSubscribers(1, kPatience).ok());
  ASSERT_TRUE(typed.Publish(Sample()).ok());
  EXPECT_EQ(people.ReadLine(), std::string("sensors.one ") + kSampleJson);
  ASSERT_TRUE(plain.Publish(AsBytes("plain")).ok());
  EXPECT_EQ(people.ReadLine(), "sensors.two plain");
  const std::string line = programs.ReadLine();
  EXPECT_THAT(line, HasSubstr(std::string(R"("type":"ivmq.v1.Topic","message":)") + kSampleJson));
  const auto parsed = ParseJson<Struct>(line);
  EXPECT_EQ(FieldOf(parsed.fields().at("message").struct_value(), "name"), "x \"quoted\"");
}

TEST_F(TypedTest, NamesATypeThatNobodyDescribed) {
  Child people = Start({"sub", "t", "--count", "2"});
  Child programs = Start({"sub", "t", "--count", "2", "--json"});
  Node node = Open("unknown");
  auto publisher = node.CreateBytesPublisher("t", "acme.Unknown").value();
  ASSERT_TRUE(publisher.WaitForSubscribers(2, kPatience).ok());
  ASSERT_TRUE(publisher.Publish(AsBytes("text")).ok());
  ASSERT_TRUE(publisher.Publish(AsBytes("\xff\x01")).ok());
  EXPECT_EQ(people.ReadLine(), "<acme.Unknown> text");
  EXPECT_EQ(people.ReadLine(), "<acme.Unknown, 2 bytes> ff01");
  EXPECT_THAT(programs.ReadLine(), HasSubstr(R"("bytes":4,"type":"acme.Unknown","text":"text"})"));
  EXPECT_THAT(programs.ReadLine(),
              HasSubstr(R"("bytes":2,"type":"acme.Unknown","base64":"/wE="})"));
}

TEST_F(TypedTest, ShowsBytesThatAreNoneOfTheirType) {
  Child people = Start({"sub", "t", "--count", "2"});
  Node node = Open("liar");
  PublisherOptions options;
  options.descriptors = Codec<v1::Topic>::Descriptors();
  auto publisher = node.CreateBytesPublisher("t", "ivmq.v1.Topic", options).value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
  ASSERT_TRUE(publisher.Publish(AsBytes("\xff\xff")).ok());
  ASSERT_TRUE(publisher.Publish({}).ok());
  EXPECT_EQ(people.ReadLine(), "<ivmq.v1.Topic, 2 bytes> ffff");
  EXPECT_THAT(people.ReadLine(), HasSubstr("\"name\":\"\""));
}

TEST_F(TypedTest, EncodesJsonAsTheTypeOfTheTopic) {
  Node node = Open("typed");
  auto others = node.CreatePublisher<v1::Topic>("t").value();
  auto subscriber = node.CreateSubscriber<v1::Topic>("t").value();
  const Finished pub = Run({"pub", "t", "--json", R"({"name": "n", "typeName": "both spellings"})",
                            "--wait", "1", "--timeout", "60"});
  EXPECT_EQ(pub.exit_code, 0) << pub.err;
  const auto got = subscriber.Receive(kPatience);
  ASSERT_TRUE(got.ok()) << got.status().ToString();
  EXPECT_EQ(got->value().name(), "n");
  EXPECT_EQ(got->value().type_name(), "both spellings");
}

TEST_F(TypedTest, EncodesAndDecodesByAFile) {
  const std::string file = File("acme.desc", AcmeDescriptors());
  Child with_file = Start({"sub", "t", "--count", "1", "--descriptors", file});
  Child without = Start({"sub", "t", "--count", "1"});
  const Finished pub = Run({"pub", "t", "--type", "acme.Load", "--json", R"({"busy": 0.5})",
                            "--descriptors", file, "--wait", "2", "--timeout", "60"});
  EXPECT_EQ(pub.exit_code, 0) << pub.err;
  EXPECT_EQ(with_file.ReadLine(), R"({"busy":0.5,"host":""})");
  EXPECT_EQ(without.ReadLine(), R"({"busy":0.5,"host":""})");  // the publisher told the realm
}

TEST_F(TypedTest, EncodesEachLineOfTheStandardInput) {
  const std::string file = File("acme.desc", AcmeDescriptors());
  Child sub = Start({"sub", "t", "--count", "2", "--descriptors", file});
  const std::vector<std::string> arguments = {"pub",    "t", "--type",        "acme.Load",
                                              "--json", "-", "--descriptors", file,
                                              "--wait", "1", "--timeout",     "60"};
  const Finished pub = Run(arguments, "{\"busy\": 1}\n{\"busy\": 2}\nnonsense\n{}\n");
  EXPECT_EQ(sub.ReadLine(), R"({"busy":1,"host":""})");
  EXPECT_EQ(sub.ReadLine(), R"({"busy":2,"host":""})");
  EXPECT_EQ(pub.exit_code, 1);
  EXPECT_THAT(pub.err, HasSubstr("line 3: 'nonsense' is no acme.Load: "));
  EXPECT_THAT(pub.err, HasSubstr("published 2 messages"));
}

TEST_F(TypedTest, SaysWhatIsWrongWithTypesAndDescriptors) {
  const std::string good = File("acme.desc", AcmeDescriptors());
  const std::string bad = File("bad.desc", "no descriptors");
  const struct {
    std::vector<std::string> arguments;
    int exit_code;
    std::string said;
  } cases[] = {
      {{"pub", "t", "--type", "acme.Load", "--json", "{}", "--descriptors", bad}, 2, bad},
      {{"pub", "t", "--type", "acme.Load", "--json", "{}", "--descriptors", "/none"}, 2, "/none"},
      {{"sub", "t", "--descriptors", bad}, 2, "no google.protobuf.FileDescriptorSet"},
      {{"request", "t", "--descriptors", bad}, 2, "no google.protobuf.FileDescriptorSet"},
      {{"reply", "t", "--echo", "--descriptors", bad}, 2, "no google.protobuf.FileDescriptorSet"},
      {{"pub", "t", "--type", "acme.Load", "--json", "{\"x\":1}", "--descriptors", good},
       2,
       "is no acme.Load"},
      {{"pub", "t", "--type", "acme.Lod", "--json", "{}", "--descriptors", good},
       2,
       "which hold acme.Settings, acme.Load; nobody publishes or serves type"},
      {{"pub", "t", "--type", "acme.Lod", "--json", "{}", "--descriptors", good},
       2,
       "give --type as FILE has it"},
      {{"pub", "t", "--type", "acme.Load", "--json", "{}"}, 1, "give --descriptors FILE"},
      {{"pub", "t", "--json", "{}"}, 2, "topic 't' has no type that is known; give --type"},
      {{"pub", "t", "--type", "no/type", "x"}, 2, "no identifier"},
  };
  for (const auto& one : cases) {
    const Finished finished = Run(one.arguments);
    EXPECT_EQ(finished.exit_code, one.exit_code) << testing::PrintToString(one.arguments);
    EXPECT_THAT(finished.err, HasSubstr(one.said)) << testing::PrintToString(one.arguments);
    EXPECT_THAT(finished.out, IsEmpty());
  }
}

}  // namespace
}  // namespace ivmq::command
