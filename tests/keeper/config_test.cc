#include "broker/keeper/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "broker/keeper/command_line.h"
#include "tests/keeper/daemon.h"

namespace ivmq::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using transport::Code;

const Machine kMachine = {.available_bytes = uint64_t{1} << 30, .socket_directory = "/run/ivmq"};

ConfigText WithSize(const std::string& size) {
  ConfigText text;
  text.realm.size = size;
  return text;
}

transport::Result<ConfigText> ReadText(const std::string& toml) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "ivmqd.toml") << toml;
  return ReadConfigFile(directory / "ivmqd.toml");
}

TEST(SizeTextTest, ReadsBytesAndBinaryUnits) {
  EXPECT_EQ(ParseSize("1048576").value(), 1048576u);
  EXPECT_EQ(ParseSize("64KiB").value(), 65536u);
  EXPECT_EQ(ParseSize("256MiB").value(), uint64_t{256} << 20);
  EXPECT_EQ(ParseSize("2GiB").value(), uint64_t{2} << 30);
  EXPECT_EQ(ParseSize("17179869183GiB").value(), uint64_t{17179869183} << 30);
}

TEST(SizeTextTest, RefusesEverythingElse) {
  for (const char* text : {"", "MiB", "1 MiB", "1MB", "1mib", "-1", "0x100", "1.5GiB", "1MiBx",
                           "17179869184GiB", "18446744073709551616"}) {
    EXPECT_FALSE(ParseSize(text).ok()) << text;
  }
}

TEST(SizeTextTest, WritesWhatItReads) {
  for (const char* text : {"1MiB", "3MiB", "64KiB", "2GiB"}) {
    EXPECT_EQ(FormatSize(ParseSize(text).value()), text);
  }
  EXPECT_EQ(FormatSize(1000), "1000 B");
  EXPECT_EQ(FormatSize(0), "0 B");
}

TEST(ConfigTest, DefaultsAreThoseThatTheSdkTries) {
  const auto config = Resolve({}, kMachine);
  ASSERT_TRUE(config.ok()) << config.status().message();
  ASSERT_EQ(config.value().realms.size(), 1u);
  const RealmConfig& realm = config.value().realms[0];
  EXPECT_EQ(realm.name, "default");
  EXPECT_EQ(realm.region_bytes, uint64_t{256} << 20);
  EXPECT_EQ(realm.vectors, 8u);
  EXPECT_THAT(realm.vm_sockets, ElementsAre("/run/ivmq/vm.sock"));
  EXPECT_EQ(realm.node_socket, "/run/ivmq/node.sock");
  EXPECT_EQ(config.value().admin_socket, "/run/ivmq/admin.sock");
  EXPECT_EQ(config.value().socket_mode, 0660u);
}

TEST(ConfigTest, FurtherRealmsHaveTheirNameInTheirSockets) {
  ConfigText text;
  text.realms.resize(2);
  text.realms[0].name = "default";
  text.realms[1].name = "lab";
  const auto config = Resolve(text, {.available_bytes = 0, .socket_directory = "/s"});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config.value().realms[1].node_socket, "/s/lab-node.sock");
  EXPECT_THAT(config.value().realms[1].vm_sockets, ElementsAre("/s/lab-vm.sock"));
}

TEST(ConfigTest, SizeIsAPowerOfTwoOfAtLeastOneMebibyteAndAtMostTheMemory) {
  EXPECT_TRUE(Resolve(WithSize("1MiB"), kMachine).ok());
  EXPECT_TRUE(Resolve(WithSize("1GiB"), kMachine).ok());
  EXPECT_THAT(Resolve(WithSize("1048575"), kMachine).status().message(), HasSubstr("at least"));
  EXPECT_THAT(Resolve(WithSize("1048577"), kMachine).status().message(), HasSubstr("power of two"));
  EXPECT_THAT(Resolve(WithSize("2GiB"), kMachine).status().message(), HasSubstr("1024 MiB are"));
  EXPECT_TRUE(Resolve(WithSize("2GiB"), {.available_bytes = 0, .socket_directory = "/s"}).ok());
}

TEST(ConfigTest, AllRealmsTogetherMustFitIntoTheMemory) {
  ConfigText text;
  text.realms.resize(2);
  text.realms[0].name = "a";
  text.realms[1].name = "b";
  text.realms[0].size = text.realms[1].size = "1GiB";
  EXPECT_THAT(Resolve(text, kMachine).status().message(), HasSubstr("more than there is memory"));
  text.realms[0].size = text.realms[1].size = "512MiB";
  EXPECT_TRUE(Resolve(text, kMachine).ok());
}

TEST(ConfigTest, VectorsAreOneTo256) {
  ConfigText text;
  for (const int64_t good : {1, 256}) {
    text.realm.vectors = good;
    EXPECT_TRUE(Resolve(text, kMachine).ok()) << good;
  }
  for (const int64_t bad : {int64_t{-1}, int64_t{0}, int64_t{257}, int64_t{1} << 40}) {
    text.realm.vectors = bad;
    EXPECT_EQ(Resolve(text, kMachine).status().code(), Code::kInvalidArgument) << bad;
  }
}

TEST(ConfigTest, SaysWhichVectorsOfTheCommandLineAreNoNumber) {
  std::string program = "ivmqd";
  std::string flag = "--vectors";
  for (std::string given : {"99999999999999999999", "-99999999999999999999", "8x", "many", ""}) {
    char* arguments[] = {program.data(), flag.data(), given.data(), nullptr};
    testing::internal::CaptureStderr();
    EXPECT_EQ(ParseCommandLine(3, arguments).exit_code, 2) << given;
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("'" + given + "' is not a whole number from 1 to 256"));
  }
  // The range is that of a file's.
  std::string given = "99999999999999";
  char* arguments[] = {program.data(), flag.data(), given.data(), nullptr};
  const CommandLine line = ParseCommandLine(3, arguments);
  EXPECT_EQ(line.exit_code, std::nullopt);
  EXPECT_THAT(Resolve(line.flags, kMachine).status().message(),
              HasSubstr("vectors 99999999999999: must be 1 to 256"));
}

TEST(ConfigTest, RealmNamesAreShortPlainAndUnique) {
  ConfigText text;
  text.realm.name = std::string(63, 'x');
  EXPECT_TRUE(Resolve(text, kMachine).ok());
  for (const std::string& bad : {std::string(64, 'x'), std::string("a b"), std::string(".hidden"),
                                 std::string("ä"), std::string("a/b")}) {
    text.realm.name = bad;
    EXPECT_FALSE(Resolve(text, kMachine).ok()) << bad;
  }
  ConfigText twice;
  twice.realms.resize(2);
  twice.realms[0].name = twice.realms[1].name = "x";
  twice.realms[0].size = twice.realms[1].size = "1MiB";
  twice.realms[1].vm_sockets = {"/s/vm"};
  twice.realms[1].node_socket = "/s/node";
  EXPECT_THAT(Resolve(twice, kMachine).status().message(), HasSubstr("given twice"));
}

TEST(ConfigTest, FlagsLieOverTheFile) {
  auto file = ReadText(
      "realm = 'lab'\nsize = '2MiB'\nhuge-pages = true\nvectors = 4\nvm-socket = '/s/vm'\n");
  ASSERT_TRUE(file.ok()) << file.status().message();
  ConfigText flags;
  flags.realm.vectors = 16;
  flags.realm.vm_sockets = {"/s/a", "/s/b"};
  const auto merged = Merge(file.value(), flags);
  ASSERT_TRUE(merged.ok());
  const auto config = Resolve(merged.value(), kMachine);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config.value().realms[0].name, "lab");
  EXPECT_EQ(config.value().realms[0].region_bytes, uint64_t{2} << 20);
  EXPECT_TRUE(config.value().realms[0].huge_pages);
  EXPECT_EQ(config.value().realms[0].vectors, 16u);
  EXPECT_THAT(config.value().realms[0].vm_sockets, ElementsAre("/s/a", "/s/b"));
}

TEST(ConfigTest, EachRealmsVmSocketsMayHaveAGroupOfTheirOwn) {
  auto file = ReadText(
      "socket-group = '1'\n[[realm]]\nname = 'a'\nvm-socket-group = '2'\n[[realm]]\nname = 'b'\n");
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto config = Resolve(file.value(), kMachine);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config.value().socket_group, gid_t{1});
  EXPECT_EQ(config.value().realms[0].vm_socket_group, gid_t{2});
  EXPECT_FALSE(config.value().realms[1].vm_socket_group.has_value());
  ConfigText text;
  text.realm.vm_socket_group = "no-such-group";
  EXPECT_EQ(Resolve(text, kMachine).status().message(),
            "vm-socket-group no-such-group: no such group");
}

TEST(ConfigTest, HugePagesNeedARegionOfAtLeastOne) {
  ConfigText text = WithSize("1MiB");
  text.realm.huge_pages = true;
  EXPECT_THAT(Resolve(text, kMachine).status().message(),
              HasSubstr("size 1MiB: a region on huge pages has at least 2MiB"));
}

TEST(ConfigTest, HugePagesAreNotTakenFromOrdinaryMemory) {
  ConfigText text = WithSize("1024GiB");
  EXPECT_FALSE(Resolve(text, kMachine).ok());
  text.realm.huge_pages = true;
  EXPECT_TRUE(Resolve(text, kMachine).ok());
}

TEST(ConfigTest, FlagsOfARealmAndRealmTablesExcludeEachOther) {
  auto file = ReadText("[[realm]]\nname = 'a'\n");
  ASSERT_TRUE(file.ok()) << file.status().message();
  ConfigText flags;
  flags.admin_socket = "/s/admin";
  EXPECT_TRUE(Merge(file.value(), flags).ok());
  flags.realm.size = "1MiB";
  EXPECT_EQ(Merge(file.value(), flags).status().code(), Code::kInvalidArgument);
}

TEST(ConfigTest, ADirectoryIsNoFile) {
  const auto text = ReadConfigFile(testing::TempDir());
  ASSERT_FALSE(text.ok());
  EXPECT_THAT(text.status().message(), HasSubstr(testing::TempDir() + ": is a directory"));
}

TEST(ConfigTest, MistakesInAFileAreNamedWithLineAndColumn) {
  const struct {
    const char* toml;
    const char* message;
  } kCases[] = {
      {"size = ", "ivmqd.toml:1:"},
      {"\nsizes = '1MiB'\n", "ivmqd.toml:2:9: unknown key \"sizes\": expected realm, "},
      {"vectors = 'many'", "vectors must be a number"},
      {"size = true", "size must be a text"},
      {"huge-pages = 'yes'", "huge-pages must be true or false"},
      {"realm = 3", "realm must be a name"},
      {"[[realm]]\nsize = '1MiB'", "needs a name"},
      {"[[realm]]\nname = 'a'\nadmin-socket = '/s'",
       "unknown key \"admin-socket\" in [[realm]]: expected name, size, "},
      {"vectors = 2\n[[realm]]\nname = 'a'", "belong into them"},
  };
  for (const auto& test : kCases) {
    const auto text = ReadText(test.toml);
    ASSERT_FALSE(text.ok()) << test.toml;
    EXPECT_THAT(text.status().message(), HasSubstr(test.message)) << test.toml;
  }
}

TEST(ConfigTest, NamesTheFlagsWhereSocketsHaveNoPlace) {
  Machine machine = kMachine;
  machine.no_sockets = "XDG_RUNTIME_DIR is not set";
  ConfigText text;
  const auto refused = [&] { return Resolve(text, machine).status().message(); };
  for (const char* part : {"XDG_RUNTIME_DIR", "--vm-socket", "--node-socket", "--admin-socket"}) {
    EXPECT_THAT(refused(), HasSubstr(part));
  }
  text.realm.vm_sockets = {"/tmp/vm"};
  text.realm.node_socket = "/tmp/node";
  EXPECT_THAT(refused(), HasSubstr("--admin-socket"));
  text.admin_socket = "/tmp/admin";
  EXPECT_TRUE(Resolve(text, machine).ok());
  text.realm.node_socket.reset();
  EXPECT_THAT(refused(), HasSubstr("--node-socket"));
}

}  // namespace
}  // namespace ivmq::broker
