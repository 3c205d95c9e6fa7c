// `ivmq request` and `ivmq reply` against a real ivmqd, with each other and with the SDK.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ivmq/protobuf.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
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
using test::WaitUntil;
using testing::HasSubstr;
using testing::IsEmpty;

class RequestReplyTest : public CommandFixture {
 protected:
  Finished Request(std::vector<std::string> arguments, const std::string& input = "") const {
    arguments.insert(arguments.begin(), {"request", "s", "--wait", "1", "--timeout", "60"});
    return Run(arguments, input);
  }
};

TEST_F(RequestReplyTest, AnswersWithATextAndEndsAfterSoMany) {
  Child reply = Start({"reply", "s", "pong", "--count", "2"});
  const Finished first = Request({"ping"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.out, "pong\n");
  EXPECT_THAT(first.err, IsEmpty());
  EXPECT_EQ(Request({}).out, "pong\n");
  EXPECT_EQ(reply.ReadAll(), "ping\n\n");
  EXPECT_EQ(reply.Wait(), 0);
}

TEST_F(RequestReplyTest, EchoesWhatWasAsked) {
  Child reply = Start({"reply", "s", "--echo", "--json"});
  EXPECT_EQ(Request({"hello"}).out, "hello\n");
  const auto printed = ParseJson<Struct>(reply.ReadLine());
  EXPECT_EQ(FieldOf(printed, "service"), "s");
  EXPECT_EQ(FieldOf(printed, "client"), "ivmq-request");
  EXPECT_EQ(FieldOf(printed, "text"), "hello");
  const std::string large(60'000, 'x');  // what is printed still fits a pipe
  EXPECT_EQ(Request({"--file", "-"}, large).out, large + "\n");
  EXPECT_THAT(reply.ReadLine(), HasSubstr("\"bytes\":60000,"));
  EXPECT_EQ(Request({"--stdin"}, "a\nb\n").out, "a\nb\n");
  EXPECT_EQ(Request({"again", "--count", "2"}).out, "again\nagain\n");
  const std::string file = daemon_.directory() + "/request";
  std::ofstream(file) << "of a file";
  EXPECT_EQ(Request({"--file", file}).out, "of a file\n");
  const Finished absent = Request({"--file", "/nonexistent"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_THAT(absent.err, HasSubstr("/nonexistent"));
  reply.Signal(SIGTERM);
  EXPECT_EQ(reply.Wait(), 0);
}

TEST_F(RequestReplyTest, RunsACommandForEachRequest) {
  Child reply = StartByShell("reply s --command 'tr a-z A-Z; echo -$IVMQ_SERVICE-$IVMQ_CLIENT'",
                             "IVMQ_SERVICE=old IVMQ_CLIENT=old");
  const auto got = ParseJson<Struct>(
      RunIvmq(WithSockets({"--json", "request", "s", "loud", "--wait", "1", "--timeout", "60"}))
          .Lines()
          .at(0));
  EXPECT_EQ(FieldOf(got, "service"), "s");
  EXPECT_EQ(FieldOf(got, "reply"), "0");
  EXPECT_EQ(FieldOf(got, "text"), "LOUD-s-ivmq-request\n");
  EXPECT_EQ(Request({"loud"}).out, "LOUD-s-ivmq-request\n");
}

TEST_F(RequestReplyTest, FailsWhereTheCommandFails) {
  Child reply = Start({"reply", "s", "--command", "exit 3"});
  const Finished failed = Request({"x"});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.out, IsEmpty());
  EXPECT_EQ(failed.err, "ivmq: INTERNAL: the command ended with status 3\n");
  EXPECT_EQ(Request({"x"}).exit_code, 1);  // and lives on
}

TEST_F(RequestReplyTest, StopsACommandWhoseClientHasGivenUp) {
  Child reply = Start({"reply", "s", "--command", "sleep 60", "--count", "1"});
  ASSERT_TRUE(WaitUntil([&] { return Run({"topics"}).out.find('s') != std::string::npos; }));
  const Finished late = Run({"request", "s", "x", "--wait", "1", "--timeout", "0.5"});
  EXPECT_EQ(late.exit_code, 1);
  EXPECT_THAT(late.err, HasSubstr("DEADLINE_EXCEEDED"));
  EXPECT_EQ(reply.Wait(), 0);
}

TEST_F(RequestReplyTest, LeavesNoCommandBehindHoweverItIsKilled) {
  for (const int signal : {SIGTERM, SIGINT, SIGKILL}) {
    const std::string file = daemon_.directory() + "/pids" + std::to_string(signal);
    std::string command = "trap '' TERM INT HUP; file=";
    command += file;
    command += "; sleep 1000 & echo $$ $! >$file.new; mv $file.new $file; wait";
    Child reply = Start({"reply", "s", "--command", command});
    Child request = Start({"request", "s", "--wait", "1", "--timeout", "60"});
    ASSERT_TRUE(WaitUntil([&] { return std::filesystem::exists(file); }));
    std::string shell;
    std::string sleep;
    std::ifstream(file) >> shell >> sleep;
    ASSERT_FALSE(HasEnded(shell));
    ASSERT_FALSE(HasEnded(sleep));
    reply.Signal(signal);
    EXPECT_EQ(reply.Wait(), signal == SIGKILL ? 128 + SIGKILL : 0);
    EXPECT_TRUE(WaitUntil([&] { return HasEnded(shell) && HasEnded(sleep); })) << signal;
    EXPECT_EQ(request.Wait(), 1);
  }
}

TEST_F(RequestReplyTest, PrintsEachOfSeveralReplies) {
  Node node = Open("streams");
  auto server = node.Serve<Bytes, Bytes>("s", [](const Bytes&, ReplyStream<Bytes>& stream) {
    for (const char* text : {"one", "two"}) {
      const auto bytes = AsBytes(text);
      if (Status status = stream.Write(Bytes(bytes.begin(), bytes.end())); !status.ok()) {
        return status;
      }
    }
    return Status(Code::kOutOfRange, "no more");
  });
  const Finished finished = Request({});
  EXPECT_EQ(finished.out, "one\ntwo\n");
  EXPECT_EQ(finished.err, "ivmq: OUT_OF_RANGE: no more\n");
  EXPECT_EQ(finished.exit_code, 1);
  const Finished json = Request({"--json"});
  ASSERT_EQ(json.Lines().size(), 2u);
  EXPECT_EQ(FieldOf(ParseJson<Struct>(json.Lines()[1]), "reply"), "1");
  EXPECT_EQ(Request({"a message", "--json", "--count", "1"}).out, json.out);
}

TEST_F(RequestReplyTest, TellsCodeAndTextOfAFailure) {
  const Finished nobody = Run({"request", "s", "x"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, testing::StartsWith("ivmq: UNAVAILABLE: service 's': nobody serves it"));
  const Finished none = Run({"request", "s", "--wait", "1", "--timeout", "0.1"});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("0 of 1 servers of 's' came"));
  for (const char* filter : {"a.*", ">", "a..b"}) {
    const Finished misused = Run({"request", filter, "x"});
    EXPECT_EQ(misused.exit_code, 2) << filter;
    EXPECT_EQ(Run({"reply", filter, "x"}).exit_code, 2) << filter;
  }
  EXPECT_THAT(Run({"request", "a.*", "x"}).err, HasSubstr("requests go to one service"));
}

TEST_F(RequestReplyTest, FailsAtOnceWhereTheServerDies) {
  Child server = Start({"reply", "s", "--command", "kill -9 $PPID"});
  const Finished finished = Request({"x"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.err, testing::StartsWith("ivmq: ABORTED: "));
  EXPECT_EQ(server.Wait(), 128 + SIGKILL);
}

TEST_F(RequestReplyTest, ReplyEndsWhenTheLastClientLeavesWhileTheDaemonIsAway) {
  test::Daemon daemon;
  std::optional<Node> node =
      Node::Open({.name = "last", .socket_path = daemon.node_socket()}).value();
  Child reply(
      {"/bin/sh", "-c",
       "exec " + IvmqPath() + " --node-socket " + daemon.node_socket() + " reply s --echo 2>&1"});
  EXPECT_THAT(reply.ReadLine(), HasSubstr("serving 's'"));
  auto client = std::make_optional(node->CreateClient<Bytes, Bytes>("s").value());
  ASSERT_TRUE(client->Call(Bytes(1), kPatience).ok());
  EXPECT_THAT(reply.ReadLine(), HasSubstr("<1 byte"));
  daemon.Stop();
  EXPECT_EQ(reply.ReadLine(),
            "ivmq: the daemon has gone away; 1 client left, and nobody notices if one is killed "
            "(Ctrl-C ends)");
  ASSERT_TRUE(WaitUntil([&] { return !node->connected(); }));
  client.reset();
  node.reset();
  EXPECT_EQ(reply.ReadLine(), "ivmq: the daemon has gone away, and no client is left");
  EXPECT_EQ(reply.Wait(), 1);
}

TEST_F(RequestReplyTest, AsksInJsonAndPrintsJson) {
  Node node = Open("typed");
  auto server = node.Serve<v1::Topic, v1::Service>("s", [](const v1::Topic& topic) {
    v1::Service service;
    service.set_name(topic.name() + " served");
    return service;
  });
  ASSERT_TRUE(server.ok());
  const Finished finished = Request({"--json", R"({"name": "x"})"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr(R"({"name":"x served","realm":"",)"));
  const Finished both = Run({"--json", "request", "s", "--json", R"({"name": "x"})"});
  ASSERT_EQ(both.Lines().size(), 1u) << both.err;
  EXPECT_EQ(FieldOf(ParseJson<Struct>(both.Lines()[0]), "service"), "s");
  for (const char* json : {R"({"nam": "x"})", ""}) {
    const Finished unfit = Request({"--json", json});
    EXPECT_EQ(unfit.exit_code, 2) << json;
    EXPECT_THAT(unfit.err, HasSubstr("is no ivmq.v1.Topic")) << json;
  }
  const Finished none = Request({"--json="});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("is no ivmq.v1.Topic"));
  // Where --json is a flag alone, what follows it stays as it is.
  EXPECT_THAT(Run({"sub", "--json", ""}).err, HasSubstr("empty"));
  const Finished bytes = Request({"bytes"});  // the service takes a type
  EXPECT_EQ(bytes.exit_code, 1);
  EXPECT_THAT(bytes.err, HasSubstr("ivmq.v1.Topic"));
  const Finished garbage = Request({"\xff", "--type", "ivmq.v1.Topic"});
  EXPECT_EQ(garbage.exit_code, 1);
  EXPECT_THAT(garbage.err, HasSubstr("DATA_LOSS"));
}

TEST_F(RequestReplyTest, ServesTypes) {
  const std::string file = daemon_.directory() + "/acme.desc";
  std::ofstream(file, std::ios::binary) << AcmeDescriptors();
  {
    Child constant = Start({"reply", "s", "--type", "acme.Load", "--json", R"({"busy": 0.25})",
                            "--descriptors", file});
    EXPECT_EQ(Request({}).out, "{\"busy\":0.25,\"host\":\"\"}\n");
  }
  {
    Child command = Start({"reply", "s", "--type", "acme.Load", "--command",
                           R"(sed 's/"id":"7"/"busy":7/; s/,.*/}/')", "--descriptors", file});
    const Finished got =
        Request({"--type", "acme.Settings", "--json", R"({"id": 7})", "--descriptors", file});
    EXPECT_EQ(got.out, "{\"busy\":7,\"host\":\"\"}\n") << got.err;
    EXPECT_EQ(command.ReadLine(), R"({"id":"7"})");
    // A reply that is none of the type is the server's failure.
    const Finished unfit = Request({"nonsense"});
    EXPECT_EQ(unfit.exit_code, 1);
    EXPECT_THAT(unfit.err, HasSubstr("INTERNAL: 'nonsense' is no acme.Load"));
  }
  {
    Child echo = Start({"reply", "s", "--echo", "--type", "acme.Load", "--descriptors", file});
    EXPECT_EQ(Request({"--json", R"({"host": "h"})"}).out, "{\"busy\":0,\"host\":\"h\"}\n");
    EXPECT_EQ(Run({"request", "s", "--wait", "1", "--timeout", "60", "bytes"}).exit_code, 1);
  }
  for (const char* empty : {"--json ''", "--json="}) {
    Child none = StartByShell(std::string("reply s --type acme.Load ") + empty + " --descriptors " +
                              file + " 2>&1");
    EXPECT_EQ(none.Wait(), 2) << empty;
    EXPECT_THAT(none.ReadAll(), HasSubstr("is no acme.Load")) << empty;
  }
  Child bytes = Start({"reply", "s", "--echo"});
  const Finished typed = Request({"--json", "{}"});
  EXPECT_EQ(typed.exit_code, 2);
  EXPECT_THAT(typed.err, HasSubstr("service 's' takes bytes"));
}

TEST_F(RequestReplyTest, EndsQuietlyWhenNobodyReadsAnyMore) {
  Child reply = Start({"reply", "s", "--echo"});
  const Finished finished =
      RunScript("set -o pipefail; yes | ivmq " + Sockets() +
                " request s --stdin --wait 1 --timeout 60 | head -n 1; echo ${PIPESTATUS[1]}");
  EXPECT_EQ(finished.out, "y\n0\n");
  EXPECT_THAT(finished.err, IsEmpty());
}

}  // namespace
}  // namespace ivmq::command
