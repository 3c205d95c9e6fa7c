// What `ivmq sub` asks publishers for, and `ivmq pub` offers.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "tests/command/command_fixture.h"
#include "tests/sdk/texts.h"
#include "transport/unique_fd.h"

namespace ivmq::command {
namespace {

using google::protobuf::Struct;
using test::AsBytes;
using test::Child;
using test::WaitUntil;
using testing::HasSubstr;
using testing::IsEmpty;

class SubTest : public CommandFixture {};

TEST_F(SubTest, GetsThePublishersHistoryFirst) {
  Node node = Open("history");
  auto publisher = node.CreatePublisher("t", {.history = History(3)}).value();
  for (const char* text : {"1", "2", "3", "4"}) ASSERT_TRUE(publisher.Publish(AsBytes(text)).ok());
  EXPECT_EQ(Run({"sub", "t", "--history", "2", "--count", "2"}).out, "3\n4\n");
  EXPECT_EQ(Run({"sub", "t", "--history", "9", "--reliable", "--count", "3"}).out, "2\n3\n4\n");
}

TEST_F(SubTest, GetsTheHistoryThatPubKeeps) {
  Child pub = Start({"pub", "t", "x", "--count", "1000000", "--rate", "100", "--history", "5"});
  ASSERT_TRUE(WaitUntil([&] { return Run({"topics", "--json"}).Lines().size() == 1; }));
  Child sub = Start({"sub", "t", "--history", "9"});
  EXPECT_EQ(LinkOf("t").history(), 5u);
}

TEST_F(SubTest, SaysWhereNoHistoryIsKept) {
  Node node = Open("forgetful");
  auto publisher = node.CreatePublisher("t").value();
  const Finished sub = Run({"sub", "t", "--history", "2"});
  EXPECT_EQ(sub.exit_code, 1);
  EXPECT_THAT(sub.err, HasSubstr("keeps no messages for latecomers"));
  // One that fits by a filter, one that does not.
  auto keeper = node.CreatePublisher("u", {.history = History(1)}).value();
  ASSERT_TRUE(keeper.Publish(AsBytes("kept")).ok());
  Child both = StartByShell("sub '>' --history 1 2>&1");
  const std::string lines = both.ReadLine() + "\n" + both.ReadLine() + "\n";
  EXPECT_THAT(lines, HasSubstr("u kept\n"));
  EXPECT_THAT(lines, HasSubstr("ivmq: left out: topic \"t\""));
}

TEST_F(SubTest, AgreesOnWhatItAskedFor) {
  Node node = Open("offers");
  auto publisher = node.CreatePublisher("t", {.reliability = Fail()}).value();
  const auto agreed = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments{"sub", "t"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    Child sub = Start(arguments);
    const v1::Link link = LinkOf("t");
    sub.Signal(SIGTERM);
    EXPECT_EQ(sub.Wait(), 0);
    EXPECT_TRUE(WaitUntil([&] { return publisher.subscribers() == 0; }));
    return link;
  };
  EXPECT_EQ(agreed({}).depth(), 16u);  // who only looks slows nobody down
  EXPECT_EQ(agreed({}).reliability(), v1::Qos::KEEP_LAST);
  EXPECT_EQ(agreed({"--reliable"}).reliability(), v1::Qos::RELIABLE);
  EXPECT_EQ(agreed({"--drop-newest"}).reliability(), v1::Qos::DROP_NEWEST);
  EXPECT_EQ(agreed({"--keep-last", "7"}).depth(), 7u);
  auto last = node.CreatePublisher("last", {.reliability = KeepLast(2)}).value();
  const Finished refused = Run({"sub", "last", "--reliable"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("asks for reliable"));
}

TEST_F(SubTest, SaysWhatWasLost) {
  for (const bool json : {false, true}) {
    const std::string topic = json ? "programs" : "people";
    const std::string flags = "--keep-last 1 --count 2" + std::string(json ? " --json" : "");
    Child sub = StartByShell("sub " + topic + " " + flags + " 2>&1");
    Node node = Open("fast");
    auto publisher = node.CreatePublisher(topic).value();
    ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
    ASSERT_TRUE(publisher.Publish(AsBytes("first")).ok());
    const std::string first = sub.ReadLine();
    EXPECT_THAT(first, HasSubstr("first"));
    sub.Stop();
    for (const char* text : {"lost", "lost", "last"}) {
      ASSERT_TRUE(publisher.Publish(AsBytes(text)).ok());
    }
    sub.Signal(SIGCONT);
    if (json) {
      EXPECT_EQ(FieldOf(ParseJson<Struct>(sub.ReadLine()), "gap"), "2");
    } else {
      EXPECT_EQ(sub.ReadLine(), "ivmq: topic 'people': 2 messages lost before the next one");
      EXPECT_EQ(sub.ReadLine(), "last");
    }
    EXPECT_EQ(sub.Wait(), 0);
  }
}

TEST_F(SubTest, TellsHowLongMessagesWereOnTheWay) {
  // Reliable: on a busy machine links that keep the last lose some, and 100 never come.
  Child people = Start({"sub", "t", "--reliable", "--latency", "--count", "100"});
  Child programs =
      Start({"sub", "t", "--reliable", "--latency", "--count", "100", "--json", "--every", "0.05"});
  const Finished pub = Run({"pub", "t", "x", "--timestamps", "--count", "100", "--rate", "200",
                            "--wait", "2", "--timeout", "60"});
  EXPECT_EQ(pub.exit_code, 0) << pub.err;
  const std::string line = people.ReadAll();
  EXPECT_THAT(line, testing::MatchesRegex("100 messages: min .+, p50 .+, p99 .+, p99.9 .+, max .+, "
                                          "each \xc2\xb1"
                                          "0 ns\n"));
  EXPECT_EQ(people.Wait(), 0);
  int lines = 0;
  int messages = 0;
  for (;;) {
    const auto figures = ParseJson<Struct>(programs.ReadLine());
    ASSERT_FALSE(figures.fields().empty());
    const bool total = figures.fields().at("total").bool_value();
    const int seen = std::stoi(FieldOf(figures, "messages"));
    EXPECT_EQ(FieldOf(figures, "uncertainty_ns"), "0");  // both are on the host
    EXPECT_LE(std::stoll(FieldOf(figures, "min_ns")), std::stoll(FieldOf(figures, "p50_ns")));
    EXPECT_LE(std::stoll(FieldOf(figures, "p50_ns")), std::stoll(FieldOf(figures, "p99_ns")));
    EXPECT_LE(std::stoll(FieldOf(figures, "p999_ns")), std::stoll(FieldOf(figures, "max_ns")));
    ++lines;
    if (total) {
      EXPECT_EQ(seen, 100);
      break;
    }
    messages += seen;
  }
  EXPECT_GT(lines, 1);
  EXPECT_LE(messages, 100);
  EXPECT_EQ(programs.Wait(), 0);
}

TEST_F(SubTest, EndsWhenTheLastPublisherLeavesWhileTheDaemonIsAway) {
  for (const char* qos : {"--keep-last=4", "--reliable"}) {
    test::Daemon daemon;
    std::optional<Node> node =
        Node::Open({.name = "last", .socket_path = daemon.node_socket()}).value();
    auto publisher = std::make_optional(node->CreatePublisher("t").value());
    Child sub({"/bin/sh", "-c",
               "exec " + IvmqPath() + " --node-socket " + daemon.node_socket() + " sub t " + qos +
                   " 2>&1"});
    ASSERT_TRUE(publisher->WaitForSubscribers(1, kPatience).ok());
    daemon.Stop();
    EXPECT_EQ(sub.ReadLine(),
              "ivmq: the daemon has gone away; 1 publisher left, and nobody notices if one is "
              "killed (Ctrl-C ends)");
    ASSERT_TRUE(publisher->Publish(AsBytes("still")).ok());
    publisher->Flush();
    EXPECT_EQ(sub.ReadLine(), "still");
    ASSERT_TRUE(WaitUntil([&] { return !node->connected(); }));
    publisher.reset();
    node.reset();
    EXPECT_EQ(sub.ReadLine(), "ivmq: the daemon has gone away, and nobody publishes any more");
    EXPECT_EQ(sub.Wait(), 1);
  }
}

TEST_F(SubTest, EndsWhenThePublisherOfAnotherProcessIsInterruptedAfterTheDaemonWasKilled) {
  test::Daemon daemon;
  const std::string start = "exec " + IvmqPath() + " --node-socket " + daemon.node_socket();
  Child sub({"/bin/sh", "-c", start + " sub t --reliable 2>&1"});
  Child pub(
      {"/bin/sh", "-c", start + " pub t x --count 1000000 --rate 100 --wait 1 --timeout 60 >&2"});
  EXPECT_EQ(sub.ReadLine(), "x");
  daemon.KillKeeper();
  pub.Signal(SIGINT);
  EXPECT_NE(pub.Wait(), 128 + SIGINT);
  std::string line;
  do {
    line = sub.ReadLine();
  } while (line == "x" || line.find("1 publisher left") != std::string::npos);
  EXPECT_EQ(line, "ivmq: the daemon has gone away, and nobody publishes any more");
  EXPECT_EQ(sub.Wait(), 1);
}

TEST_F(SubTest, SaysThatMessagesHaveNoTime) {
  Child sub = Start({"sub", "t", "--latency", "--count", "2"});
  EXPECT_EQ(Run({"pub", "t", "x", "--count", "2", "--wait", "1", "--timeout", "60"}).exit_code, 0);
  EXPECT_EQ(sub.ReadAll(), "2 messages; 2 without a time\n");
  EXPECT_EQ(sub.Wait(), 1);
  const Finished none = Run({"sub", "t", "--latency", "--timeout", "0.1"});
  EXPECT_EQ(none.out, "0 messages\n");
  EXPECT_EQ(none.exit_code, 0);
}

TEST_F(SubTest, ShowsToProgramsWhatGoesWithAMessage) {
  Child sub = Start({"sub", "t", "--count", "1", "--json"});
  Node node = Open("notes");
  auto publisher = node.CreatePublisher("t", {.timestamps = true}).value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
  const std::vector<Attribute> attributes = {{"unit", "\"K\""}, {"b", "2"}};
  const std::string traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  ASSERT_TRUE(
      publisher.Publish(AsBytes("300"), {.attributes = attributes, .traceparent = traceparent})
          .ok());
  const auto message = ParseJson<Struct>(sub.ReadLine());
  EXPECT_EQ(FieldOf(message.fields().at("attributes").struct_value(), "unit"), "\"K\"");
  EXPECT_EQ(FieldOf(message.fields().at("attributes").struct_value(), "b"), "2");
  EXPECT_EQ(FieldOf(message, "traceparent"), traceparent);
  EXPECT_GT(std::stoll(FieldOf(message, "published_ns")), 0);
  EXPECT_GE(std::stoll(FieldOf(message, "latency_ns")), 0);
}

TEST_F(SubTest, SaysOnATerminalThatItWaits) {
  const Finished terminal =
      RunScript("script -qec \"ivmq " + Sockets() + " sub t --timeout 0.1\" /dev/null");
  EXPECT_THAT(terminal.out, HasSubstr("nobody publishes 't'; waiting"));
  const Finished plain = Run({"sub", "t", "--timeout", "0.1"});
  EXPECT_THAT(plain.err, IsEmpty());
  EXPECT_THAT(plain.out, IsEmpty());
}

TEST_F(SubTest, EndsWithItsReaderAlsoWhileNothingComes) {
  // Nothing is ever published: only the closed pipe can end it.
  for (const char* command : {"sub t", "sub t --latency", "watch", "request s --wait 1"}) {
    const Finished finished =
        RunScript("set -o pipefail; ivmq " + Sockets() + " " + command + " | head -n 0");
    EXPECT_EQ(finished.exit_code, 0) << command;
    EXPECT_THAT(finished.err, IsEmpty()) << command;
  }
  const Finished reply =
      RunScript("set -o pipefail; ivmq " + Sockets() + " reply s --echo 2>/dev/null | true");
  EXPECT_EQ(reply.exit_code, 0);
  // What prints nothing needs no reader.
  const Finished pub =
      RunScript("set -o pipefail; ivmq " + Sockets() + " pub t x --count 3 --rate 10 | true");
  EXPECT_EQ(pub.exit_code, 0);
  EXPECT_THAT(pub.err, HasSubstr("published 3 messages"));
}

TEST_F(SubTest, PubEndsOnASignalWhileItWaitsForALine) {
  const std::string fifo = daemon_.directory() + "/lines";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const transport::UniqueFd input(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  Child pub = StartByShell("pub t --stdin 2>&1 <" + fifo);
  Child sub = Start({"sub", "t", "--count", "2"});
  ASSERT_EQ(LinkOf("t").state(), v1::Link::UP);
  ASSERT_EQ(::write(input.get(), "one\ntwo\nunfini", 14), 14);
  EXPECT_EQ(sub.ReadAll(), "one\ntwo\n");
  pub.Signal(SIGTERM);
  EXPECT_THAT(pub.ReadLine(), HasSubstr("published 2 messages (6 B)"));
  EXPECT_EQ(pub.Wait(), 0);
}

}  // namespace
}  // namespace ivmq::command
