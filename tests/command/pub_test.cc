// What `ivmq pub` says of what it published.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <string>

#include "tests/command/command_fixture.h"

namespace ivmq::command {
namespace {

using google::protobuf::Struct;
using test::Child;
using test::WaitUntil;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class PubTest : public CommandFixture {};

TEST_F(PubTest, CountsWhatWentToASubscriberThatLeftMidway) {
  const std::string fifo = daemon_.directory() + "/lines";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Node node = Open("leaver");
  auto subscriber = std::make_optional(node.CreateSubscriber("t").value());
  Child pub = StartByShell("pub t --stdin --wait 1 --timeout 60 2>&1 <" + fifo);
  std::ofstream lines(fifo);
  lines << "first" << std::endl;
  ASSERT_TRUE(subscriber->Receive(kPatience).ok());
  subscriber.reset();
  ASSERT_TRUE(WaitUntil([&] { return Run({"links", "--json"}).Lines().empty(); }));
  // The publisher hears of it from control, which it has told that it let go.
  lines << "second" << std::endl;
  lines.close();
  const std::string said = pub.ReadAll();
  EXPECT_THAT(said, HasSubstr("published 2 messages (11 B) to at most 1 subscriber of 't'"));
  EXPECT_THAT(said, Not(HasSubstr("nothing was delivered")));
  EXPECT_EQ(pub.Wait(), 0);
}

TEST_F(PubTest, SaysHowManyASubscriberHadNoRoomFor) {
  Node node = Open("full");
  auto subscriber =
      node.CreateSubscriber("t", {.reliability = DropNewest(), .ring_bytes = 4096}).value();
  const Finished pub =
      Run({"pub", "t", "--size", "500", "--count", "300", "--wait", "1", "--timeout", "60"});
  EXPECT_EQ(pub.exit_code, 0);
  EXPECT_THAT(pub.err, ContainsRegex(" to 1 subscriber of 't' in .*; [0-9]+ dropped: full\n$"));
}

TEST_F(PubTest, SaysWhatASubscriberThatLeftHadNotTaken) {
  for (const bool json : {false, true}) {
    const std::string fifo = daemon_.directory() + (json ? "/json" : "/lines");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    Node node = Open("reader");
    auto witness = node.CreateSubscriber("t").value();
    auto leaver = std::make_optional(node.CreateSubscriber("t").value());
    Child pub = StartByShell((json ? "--json pub t" : "pub t") +
                             std::string(" --stdin --wait 2 --timeout 60 2>&1 <") + fifo);
    std::ofstream lines(fifo);
    lines << "taken" << std::endl;
    ASSERT_TRUE(leaver->Receive(kPatience).ok());
    lines << "left\nleft" << std::endl;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(witness.Receive(kPatience).ok());
    leaver.reset();
    ASSERT_TRUE(WaitUntil([&] { return Run({"links", "--json"}).Lines().size() == 1; }));
    lines.close();
    const std::string said = pub.ReadAll();
    if (json) {
      EXPECT_EQ(FieldOf(ParseJson<Struct>(said), "untaken"), "2");
    } else {
      EXPECT_THAT(said, HasSubstr("; 2 not taken by subscribers that left\n"));
    }
    EXPECT_EQ(pub.Wait(), 0);
  }
}

TEST_F(PubTest, PrintsASummaryForPrograms) {
  const auto summary = ParseJson<Struct>(Run({"--json", "pub", "a", "xy", "--count", "3"}).out);
  EXPECT_EQ(FieldOf(summary, "topic"), "a");
  EXPECT_EQ(FieldOf(summary, "messages"), "3");
  EXPECT_EQ(FieldOf(summary, "bytes"), "6");
  EXPECT_EQ(FieldOf(summary, "written"), "0");
  EXPECT_EQ(FieldOf(summary, "dropped_full"), "0");
  EXPECT_EQ(FieldOf(summary, "untaken"), "0");
}

TEST_F(PubTest, SaysThatItWasInterruptedWhileItWaited) {
  Child pub = StartByShell("pub t x --wait 1 --timeout 60 2>&1");
  ASSERT_TRUE(WaitUntil([&] { return Run({"topics", "--json"}).Lines().size() == 1; }));
  pub.Signal(SIGINT);
  EXPECT_EQ(pub.ReadAll(), "ivmq: interrupted; nothing was published\n");
  EXPECT_EQ(pub.Wait(), 1);
}

}  // namespace
}  // namespace ivmq::command
