// What needs no daemon: misuse, help, and what is said when nobody is there.

#include <absl/strings/escaping.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sdk/command/output.h"
#include "tests/command/descriptor_files.h"
#include "tests/command/run_command.h"

namespace ivmq::command {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST(MisuseTest, IsTellableFromFailureByTheExitStatus) {
  const std::vector<std::vector<std::string>> misuses = {
      {},
      {"frobnicate"},
      {"--no-such-flag", "peers"},
      {"sub"},
      {"pub", "topic"},
      {"pub", "topic", "--data", "x", "--stdin"},
      {"pub", "topic", "--data", "x", "--count", "0"},
      {"pub", "topic", "--data", "x", "--count", "many"},
      {"pub", "topic", "--data", "x", "--rate", "0"},
      {"pub", "topic", "--data", "x", "--rate", "-1"},
      {"pub", "topic", "--data", "x", "--rate", "1e-30"},
      {"pub", "topic", "--data", "x", "--rate", "nan"},
      {"pub", "topic", "--size", "2097153"},
      {"pub", "topic", "--size", "99999999999999"},
      {"sub", "topic", "--timeout", "inf"},
      {"sub", "topic", "--timeout", "soon"},
      {"sub", "topic", "--history", "65537"},
      {"sub", "topic", "--keep-last", "0"},
      {"sub", "topic", "--keep-last", "65537"},
      {"sub", "topic", "--keep-last", "1", "--reliable"},
      {"sub", "topic", "--reliable", "--drop-newest"},
      {"sub", "topic", "--every", "1"},
      {"sub", "topic", "--latency", "--every", "0"},
      {"pub", "topic", "x", "--data", "y"},
      {"pub", "topic", "x", "--json", "{}"},
      {"pub", "topic", "x", "--json"},  // prints nothing that could be JSON
      {"pub", "topic", "--json", "--type", "acme.Load", "{}"},
      {"pub", "topic", "--file", "f", "--stdin"},
      {"pub", "topic", "--json", "-", "--size", "1"},
      {"pub", "topic", "x", "--history", "65537"},
      {"request"},
      {"request", "service", "x", "--stdin"},
      {"request", "service", "x", "--json", "{}"},
      {"request", "service", "--json", "{}", "--json", "{}"},
      {"request", "service", "--stdin", "--json", "-"},
      {"request", "service", "--count", "0"},
      {"request", "service", "--timeout", "-1"},
      {"reply"},
      {"reply", "service"},
      {"reply", "service", "x", "--echo"},
      {"reply", "service", "--echo", "--command", "cat"},
      {"reply", "service", "--json", "{}"},
      {"reply", "service", "x", "--type", "acme.Load", "--json", "{}"},
      {"reply", "service", "--echo", "--type", "acme.Load", "--json", "{}"},
      {"evict"},
      {"evict", "node"},
      {"evict", "peer", "0"},
      {"evict", "peer", "65536"},
      {"evict", "everybody", "1"},
  };
  for (const auto& arguments : misuses) {
    const Finished finished = RunIvmq(arguments);
    EXPECT_EQ(finished.exit_code, 2) << testing::PrintToString(arguments);
    EXPECT_THAT(finished.out, IsEmpty()) << testing::PrintToString(arguments);
    EXPECT_FALSE(finished.err.empty()) << testing::PrintToString(arguments);
  }
}

TEST(MisuseTest, IsExplainedByWhatWasGivenAndWhatIsAllowed) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> misuses = {
      {{}, "ivmq: which command? There are pub, sub, "},
      {{"frobnicate"}, "ivmq: there is no command 'frobnicate', but pub, sub, "},
      {{"evict", "everybody", "1"},
       "ivmq: there is no command 'everybody', but node, peer; see `ivmq evict --help`\n"},
      {{"sub"}, "ivmq: TOPIC is required; see `ivmq sub --help`\n"},
      {{"sub", "topic", "--count", "0"},
       "ivmq: --count: '0' is not a whole number from 1 to 18446744073709551615; see "
       "`ivmq sub --help`\n"},
      {{"pub", "topic", "x", "--count=-1"}, "ivmq: --count: '-1' is not a whole number from 1 to "},
      {{"sub", "topic", "--count", "-1"}, "ivmq: --count: '-1' is not a whole number from 1 to "},
      {{"request", "service", "--count", "99999999999999999999"},
       "ivmq: --count: '99999999999999999999' is not a whole number from 1 to "},
      {{"reply", "service", "--echo", "--count=-18446744073709551615"},
       "ivmq: --count: '-18446744073709551615' is not a whole number from 1 to "},
      {{"pub", "topic", "x", "--wait", "-1"},
       "ivmq: --wait: '-1' is not a whole number from 0 to "},
      {{"request", "service", "--wait=-4294967295"}, "ivmq: --wait: '-4294967295' is not a whole"},
      {{"sub", "topic", "--history", "-1"}, "ivmq: --history: '-1' is not a whole number from 0 "},
      {{"evict", "node", "18446744073709551616"},
       "ivmq: ID: '18446744073709551616' is not a whole number from 1 to 18446744073709551615; "},
      {{"help", "bench", "x"}, "ivmq: there is no command 'x', but serve, throughput, "},
      {{"help", "sub", "x"}, "ivmq: there is no command 'x' of `ivmq sub`\n"},
      {{"bench", "latency", "--ring", "4096"},
       "ivmq: '--ring' is not expected; see `ivmq bench latency --help`\n"},
      {{"help", "frobnicate"}, "ivmq: there is no command 'frobnicate', but pub, sub, "},
      {{"pub", "topic", "--data", "x", "--rate", "0"},
       "ivmq: --rate: '0' is not a number from 0.001 to 1000000000; see `ivmq pub --help`\n"},
      {{"pub", "topic", "--size", "-1"},
       "ivmq: --size: '-1' is not a whole number from 0 to 2097152; see `ivmq pub --help`\n"},
      {{"sub", "topic", "--keep-last", "0"},
       "ivmq: --keep-last: '0' is not a whole number from 1 to 65536; see `ivmq sub --help`\n"},
      {{"sub", "topic", "--keep-last", "1", "--reliable"}, "ivmq: --"},
      {{"pub", "topic"}, "ivmq: pub: what shall be published? Give MESSAGE, "},
      {{"reply", "service"}, "ivmq: reply: what shall the reply be? Give MESSAGE, "},
      {{"reply", "service", "--json", "{}"}, "ivmq: reply: --json of which type? Give --type\n"},
  };
  for (const auto& [arguments, explanation] : misuses) {
    EXPECT_THAT(RunIvmq(arguments).err, StartsWith(explanation));
  }
}

TEST(MisuseTest, HelpAndVersionAreNoMisuse) {
  for (const char* argument : {"--help", "--version", "version", "help"}) {
    const Finished finished = RunIvmq({argument});
    EXPECT_EQ(finished.exit_code, 0) << argument;
    EXPECT_FALSE(finished.out.empty()) << argument;
  }
  EXPECT_THAT(RunIvmq({"--help"}).out, HasSubstr("one JSON object a line"));
  EXPECT_EQ(RunIvmq({"help"}).out, RunIvmq({"--help"}).out);
  EXPECT_EQ(RunIvmq({"help", "pub"}).out, RunIvmq({"pub", "--help"}).out);
  EXPECT_EQ(RunIvmq({"help", "bench", "serve"}).out, RunIvmq({"bench", "serve", "--help"}).out);
}

TEST(MisuseTest, TheExamplesOfTheHelpCanBeRun) {
  int examples = 0;
  for (const char* command : {"pub", "sub", "request", "reply"}) {
    const Finished help = RunIvmq({command, "--help"});
    EXPECT_EQ(help.exit_code, 0) << command;
    for (const std::string& line : help.Lines()) {
      if (!line.starts_with("  ivmq ")) continue;
      ++examples;
      // Each gets as far as to look for a daemon.
      const Finished run = RunScript(
          "cd \"$(mktemp -d)\" && trap 'rm -r \"$PWD\"' EXIT\n"
          "export IVMQ_NODE_SOCKET=/nowhere/node.sock\n"
          "printf 'x' >frame.bin; base64 -d >acme.desc <<<" +
          absl::Base64Escape(AcmeDescriptors()) + "\n" + line);
      EXPECT_EQ(run.exit_code, 1) << line << "\n" << run.err;
      EXPECT_THAT(run.err, HasSubstr("/nowhere/node.sock")) << line;
    }
  }
  EXPECT_EQ(examples, 12);
}

TEST(NoDaemonTest, SaysWhereItLookedAndWhatToDo) {
  for (const char* subcommand : {"peers", "nodes", "topics", "links", "audit", "realms", "watch"}) {
    const Finished finished = RunIvmq({"--admin-socket", "/nowhere/admin.sock", subcommand});
    EXPECT_EQ(finished.exit_code, 1) << subcommand;
    EXPECT_THAT(finished.err, HasSubstr("/nowhere/admin.sock")) << subcommand;
    EXPECT_THAT(finished.err, HasSubstr("start it")) << subcommand;
    // Its status is that of an audit that found something wrong.
    if (subcommand == std::string("audit")) {
      EXPECT_THAT(finished.err, HasSubstr("nothing was audited: "));
    }
  }
  const Finished sub = RunIvmq({"--node-socket", "/nowhere/node.sock", "sub", "topic"});
  EXPECT_EQ(sub.exit_code, 1);
  EXPECT_THAT(sub.err, HasSubstr("/nowhere/node.sock"));
  EXPECT_THAT(sub.err, HasSubstr("start ivmqd"));
  const Finished pub =
      RunIvmq({"--node-socket", "/nowhere/node.sock", "pub", "topic", "--data", "x"});
  EXPECT_EQ(pub.exit_code, 1);
}

TEST(NoDaemonTest, SaysThatADirectoryIsNoSocket) {
  for (const char* flag : {"--admin-socket", "--node-socket"}) {
    const Finished finished = RunIvmq({flag, "/tmp", "peers"});
    EXPECT_EQ(finished.exit_code, 1) << flag;
    EXPECT_EQ(finished.err, "ivmq: /tmp is a directory; name the socket in it\n") << flag;
  }
}

TEST(NoDaemonTest, TakesTheSocketsFromTheEnvironment) {
  const Finished finished = RunScript("IVMQ_ADMIN_SOCKET=/nowhere/environment ivmq peers");
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.err, HasSubstr("/nowhere/environment"));
}

TEST(NoDaemonTest, DoctorFindsNoDaemonAndNamesTheMend) {
  const Finished finished = RunIvmq(
      {"--node-socket", "/nowhere/node.sock", "--admin-socket", "/nowhere/admin.sock", "doctor"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.out, HasSubstr("FAIL daemon"));
  EXPECT_THAT(finished.out, HasSubstr("-> start ivmqd"));
}

TEST(OutputTest, QuotesWhatJsonDoesNotTake) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x7f"), "\"a\\\"b\\\\c\\u000a\\u007f\"");
  EXPECT_EQ(JsonString("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\"");
  EXPECT_EQ(JsonString("\xff"), "\"\xef\xbf\xbd\"");
  EXPECT_EQ(JsonString("\xc0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST(OutputTest, KnowsWhatCanBePrinted) {
  EXPECT_TRUE(IsPrintableUtf8(""));
  EXPECT_TRUE(IsPrintableUtf8("tab\tand \xe2\x82\xac"));
  EXPECT_FALSE(IsPrintableUtf8("line\n"));
  EXPECT_FALSE(IsPrintableUtf8(std::string_view("\0", 1)));
  EXPECT_FALSE(IsPrintableUtf8("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(IsPrintableUtf8("\xf4\x90\x80\x80"));  // beyond Unicode
  EXPECT_FALSE(IsPrintableUtf8("\xe2\x82"));          // cut short
}

TEST(OutputTest, WritesSizesAndTimesForPeople) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(64 << 10), "64 KiB");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(CountOf(0, "byte"), "0 bytes");
  EXPECT_EQ(CountOf(1, "byte"), "1 byte");
  EXPECT_EQ(HumanDuration(59'999), "59s");
  EXPECT_EQ(HumanDuration(60'000), "1m 0s");
  EXPECT_EQ(HumanDuration(3'600'000), "1h 0m");
  EXPECT_EQ(HumanDuration(90'000'000), "1d 1h");
}

}  // namespace
}  // namespace ivmq::command
