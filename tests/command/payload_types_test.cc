// Descriptions of types, hostile ones included, and payloads that are none of them.

#include "sdk/command/payload_types.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sdk/command/descriptor_book.h"
#include "tests/command/descriptor_files.h"
#include "tests/sdk/texts.h"

namespace ivmq::command {
namespace {

using google::protobuf::FileDescriptorSet;
using test::AsBytes;
using testing::HasSubstr;

// A file of descriptors for as long as it lives.
class DescriptorFile {
 public:
  explicit DescriptorFile(const std::string& content)
      : path_(testing::TempDir() + "ivmq-descriptors-" + std::to_string(::getpid())) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~DescriptorFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(DescriptorBookTest, FindsTypesInFilesOfAnyOrder) {
  const auto book = DescriptorBook::Parse(AcmeDescriptors()).value();
  EXPECT_EQ(book->Find("acme.Load").value()->GetTypeName(), "acme.Load");
  EXPECT_EQ(book->Find("acme.Settings").value()->GetTypeName(), "acme.Settings");
}

TEST(DescriptorBookTest, TellsWhatATypeNeedsAndNoMore) {
  const auto book = DescriptorBook::Parse(AcmeDescriptors()).value();
  ASSERT_TRUE(book->Find("acme.Load").ok());
  FileDescriptorSet set;
  ASSERT_TRUE(set.ParseFromString(book->SetOf("acme.Load")));
  ASSERT_EQ(set.file_size(), 2);
  EXPECT_EQ(set.file(0).name(), "google/protobuf/timestamp.proto");
  EXPECT_EQ(set.file(1).name(), "load.proto");
}

TEST(DescriptorBookTest, TakesTheSameFileTwice) {
  const auto book = DescriptorBook::Parse(AcmeDescriptors() + AcmeDescriptors()).value();
  EXPECT_TRUE(book->Find("acme.Settings").ok());
}

TEST(DescriptorBookTest, RefusesWhatIsNoSet) {
  EXPECT_THAT(DescriptorBook::Parse("\xff\xff").status().message(),
              HasSubstr("2 bytes that are no google.protobuf.FileDescriptorSet"));
  EXPECT_THAT(DescriptorBook::Parse("").status().message(), HasSubstr("without a file"));
  const std::string cut = AcmeDescriptors();
  EXPECT_EQ(DescriptorBook::Parse(cut.substr(0, cut.size() / 2)).status().code(),
            Code::kInvalidArgument);
}

TEST(DescriptorBookTest, SaysWhatThereIsWhereATypeIsNot) {
  const auto book = DescriptorBook::Parse(AcmeDescriptors()).value();
  const Status status = book->Find("acme.Lod").status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(),
            "type 'acme.Lod' is in none of 2 files, which hold acme.Settings, acme.Load");
  for (const char* none : {"", ".", "acme", "acme.Load.busy", "\xff", "acme..Load"}) {
    EXPECT_EQ(book->Find(none).status().code(), Code::kNotFound) << none;
  }
}

TEST(DescriptorBookTest, SurvivesDescriptionsThatContradictThemselves) {
  FileDescriptorSet good;
  ASSERT_TRUE(good.ParseFromString(AcmeDescriptors()));
  const auto said = [](const FileDescriptorSet& set, const char* type) {
    auto book = DescriptorBook::Parse(set.SerializeAsString());
    if (!book.ok()) return book.status().message();
    return book.value()->Find(type).status().message();
  };
  FileDescriptorSet missing = good;  // what it needs is not there
  missing.mutable_file()->DeleteSubrange(1, 1);
  EXPECT_THAT(said(missing, "acme.Settings"), HasSubstr("load.proto"));
  FileDescriptorSet twice = good;  // two fields of one number
  twice.mutable_file(1)->mutable_message_type(0)->mutable_field(1)->set_number(1);
  EXPECT_THAT(said(twice, "acme.Load"), HasSubstr("type 'acme.Load'"));
  FileDescriptorSet circle = good;  // each needs the other
  circle.mutable_file(1)->add_dependency("settings.proto");
  EXPECT_THAT(said(circle, "acme.Load"), HasSubstr("type 'acme.Load'"));
  FileDescriptorSet itself = good;
  itself.mutable_file(1)->add_dependency("load.proto");
  EXPECT_THAT(said(itself, "acme.Load"), HasSubstr("type 'acme.Load'"));
  FileDescriptorSet nameless = good;
  nameless.mutable_file(1)->set_name("");
  nameless.mutable_file(1)->mutable_message_type(0)->set_name("a b\n");
  EXPECT_THAT(said(nameless, "acme.Load"), HasSubstr("type 'acme.Load'"));
}

class PayloadTypesTest : public testing::Test {
 protected:
  PayloadTypesTest() : file_(AcmeDescriptors()) { EXPECT_TRUE(types_.ReadFile(file_.path()).ok()); }

  const DescriptorFile file_;
  PayloadTypes types_;
};

TEST_F(PayloadTypesTest, EncodesJsonAndDecodesIt) {
  const auto encoded = types_.FromJson(
      "acme.Settings", R"({"id": 7, "load": {"busy": 0.5, "at": "1970-01-01T00:00:01Z"}})");
  ASSERT_TRUE(encoded.ok()) << encoded.status().ToString();
  EXPECT_EQ(types_.ToJson("acme.Settings", AsBytes(encoded.value()), 1),
            R"({"id":"7","load":{"busy":0.5,"host":"","at":"1970-01-01T00:00:01Z"}})");
  EXPECT_EQ(types_.ToJson("acme.Load", {}, 1), R"({"busy":0,"host":""})");
}

TEST_F(PayloadTypesTest, SaysWhatDoesNotFit) {
  const auto status = [&](const char* json) { return types_.FromJson("acme.Load", json).status(); };
  for (const char* json : {R"({"bussy": 1})", R"({"busy": "a lot"})", "{", "", "[]", "7"}) {
    EXPECT_EQ(status(json).code(), Code::kInvalidArgument) << json;
    EXPECT_THAT(status(json).message(), HasSubstr(" is no acme.Load: ")) << json;
  }
  EXPECT_THAT(status(R"({"bussy": 1})").message(), HasSubstr("bussy"));
  // The file that was given does not have it; without one the realm might.
  EXPECT_EQ(types_.FromJson("acme.Unknown", "{}").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(PayloadTypes().FromJson("acme.Unknown", "{}").status().code(), Code::kNotFound);
}

TEST_F(PayloadTypesTest, DecodesOnlyWhatIsOfTheType) {
  EXPECT_EQ(types_.ToJson("", AsBytes("x"), 1), std::nullopt);
  EXPECT_EQ(types_.ToJson("acme.Load", AsBytes("\xff\xff\xff"), 1), std::nullopt);
  EXPECT_EQ(types_.ToJson("acme.Load", AsBytes("\x12\x02\xff\xff"), 1), std::nullopt);  // no UTF-8
  testing::internal::CaptureStderr();
  EXPECT_EQ(types_.ToJson("acme.Unknown", AsBytes("x"), 1), std::nullopt);
  EXPECT_EQ(types_.ToJson("acme.Unknown", AsBytes("x"), 2), std::nullopt);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("acme.Unknown"));
  EXPECT_EQ(said.find('\n'), said.size() - 1) << said;  // once
}

TEST(PayloadTypesFileTest, NamesTheFileThatIsNoSetOrNotThere) {
  PayloadTypes types;
  EXPECT_TRUE(types.ReadFile("").ok());
  const DescriptorFile bad("no descriptors");
  EXPECT_EQ(types.ReadFile(bad.path()).code(), Code::kInvalidArgument);
  EXPECT_THAT(types.ReadFile(bad.path()).message(), HasSubstr(bad.path()));
  EXPECT_EQ(types.ReadFile("/nonexistent").code(), Code::kInvalidArgument);
  EXPECT_THAT(types.ReadFile("/nonexistent").message(), HasSubstr("/nonexistent"));
  EXPECT_EQ(types.ReadFile("/").code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ivmq::command
