// `ivmq bench` against `ivmq bench serve`, through a real ivmqd.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "sdk/command/bench_message.h"
#include "tests/command/command_fixture.h"

namespace ivmq::command {
namespace {

using google::protobuf::Struct;
using test::Child;
using test::WaitUntil;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class BenchTest : public CommandFixture, public testing::WithParamInterface<const char*> {
 protected:
  std::vector<std::string> Words(std::vector<std::string> more) const {
    more.insert(more.begin(), {"bench", GetParam(), "--timeout", "60"});
    return more;
  }
  Finished Bench(const std::vector<std::string>& more) const { return Run(Words(more)); }
  // Of a run that is under way.
  std::string RunTopic(const std::string& server) const {
    std::string topic;
    EXPECT_TRUE(WaitUntil([&] {
      for (const std::string& line : Run({"topics", "--json"}).Lines()) {
        const std::string name = FieldOf(ParseJson<Struct>(line), "name");
        if (name.starts_with("ivmq.bench." + server + ".") && !name.ends_with(".back"))
          topic = name;
      }
      return !topic.empty();
    }));
    return topic;
  }
};

double NumberOf(const Struct& object, const std::string& field) {
  return std::stod(FieldOf(object, field));
}
bool IsTotal(const Struct& object) { return object.fields().at("total").bool_value(); }

TEST_P(BenchTest, ShowsFiguresEachSecondAndATable) {
  Child serve = Start({"bench", "serve", "--count", "1"});
  const Finished run = Bench({"--duration", "1.5"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, AllOf(HasSubstr("1 s  "), HasSubstr("/s")));
  EXPECT_THAT(run.out, AllOf(HasSubstr("with 'default', 64 bytes, adaptive"),
                             HasSubstr("; 0 lost, 0 damaged, 0 out of order\n"), HasSubstr("p50")));
  EXPECT_THAT(serve.ReadAll(), HasSubstr(std::string(GetParam()) + " with 'ivmq-bench': "));
  EXPECT_EQ(serve.Wait(), 0);
}

TEST_P(BenchTest, PrintsObjectsForPrograms) {
  Child serve = Start({"bench", "serve", "--name", "a", "--json"});
  Child other = Start({"bench", "serve", "--name", "b"});
  for (const std::string wait : {"spin", "adaptive", "block"}) {
    const Finished run =
        Bench({"--server", "a", "--json", "--duration", "0.2", "--size", "1000", "--wait", wait});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const auto total = ParseJson<Struct>(run.Lines().back());
    EXPECT_TRUE(IsTotal(total));
    EXPECT_EQ(FieldOf(total, "bench"), GetParam());
    EXPECT_EQ(FieldOf(total, "server"), "a");
    EXPECT_EQ(FieldOf(total, "size_bytes"), "1000");
    EXPECT_EQ(FieldOf(total, "wait"), wait);
    EXPECT_EQ(FieldOf(total, "lost"), "0");
    EXPECT_EQ(FieldOf(total, "ended"), "complete");
    EXPECT_GT(NumberOf(total, "messages"), 0);
    const auto measured = total.fields().at("measured_seconds").number_value();
    const auto rate = total.fields().at("messages_per_second").number_value();
    EXPECT_NEAR(rate * measured, NumberOf(total, "messages"), 1 + 0.01 * rate * measured);
    const auto served = ParseJson<Struct>(serve.ReadLine());
    EXPECT_EQ(FieldOf(served, "messages"), FieldOf(total, "messages"));
  }
}

TEST_P(BenchTest, TakesTheSmallestAndTheLargestMessage) {
  Child serve = Start({"bench", "serve"});
  const std::string most = GetParam() == std::string("request") ? "2097128" : "2097152";
  for (const std::string& size : {std::string("8"), most}) {
    const Finished run = Bench({"--duration", "0.2", "--size", size});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.out, HasSubstr(size + " bytes"));
  }
}

TEST_P(BenchTest, SendsNoMoreThanTheRateAllows) {
  Child serve = Start({"bench", "serve"});
  for (const std::string wait : {"spin", "block"}) {
    const Finished run = Bench({"--duration", "0.5", "--rate", "200", "--json", "--wait", wait});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const auto total = ParseJson<Struct>(run.Lines().back());
    EXPECT_GT(NumberOf(total, "messages"), 1);
    EXPECT_LE(NumberOf(total, "messages"), NumberOf(total, "seconds") * 200 + 1);
  }
}

TEST_P(BenchTest, SaysThatTheRateWasNotReached) {
  Child serve = Start({"bench", "serve"});
  const Finished run = Bench({"--duration", "0.3", "--rate", "1000000000"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr(" due and never sent; 0 lost"));
}

TEST_P(BenchTest, EndsAtCtrlCAndPrintsWhatItHas) {
  Child serve = Start({"bench", "serve"});
  Child run = Start(Words({"--duration", "1000", "--json"}));
  EXPECT_FALSE(IsTotal(ParseJson<Struct>(run.ReadLine())));
  run.Signal(SIGINT);
  std::string last;
  for (std::string line = run.ReadLine(); !line.empty(); line = run.ReadLine()) last = line;
  const auto total = ParseJson<Struct>(last);
  EXPECT_TRUE(IsTotal(total));
  EXPECT_EQ(FieldOf(total, "ended"), "interrupted");
  EXPECT_GT(NumberOf(total, "messages"), 0);
  EXPECT_EQ(run.Wait(), 0);
}

TEST_P(BenchTest, FailsWhereTheServerDies) {
  for (const int signal : {SIGKILL, SIGTERM}) {
    Child serve = Start({"bench", "serve"});
    const std::string errors = daemon_.directory() + "/errors";
    Child run = StartByShell(std::string("bench ") + GetParam() +
                             " --duration 1000 --timeout 60 --json 2>" + errors);
    EXPECT_FALSE(IsTotal(ParseJson<Struct>(run.ReadLine())));
    serve.Signal(signal);
    EXPECT_EQ(serve.Wait(), signal == SIGKILL ? 128 + SIGKILL : 0);
    EXPECT_THAT(run.ReadAll(), HasSubstr(R"("ended":"failed","total":true)"));
    EXPECT_EQ(run.Wait(), 1);
    EXPECT_THAT(RunScript("cat " + errors).out,
                HasSubstr(signal == SIGKILL ? "went away" : "the server was told to end"));
  }
}

TEST_P(BenchTest, FailsWhereTheServerHangs) {
  Child serve = Start({"bench", "serve"});
  Child run = Start(Words({"--duration", "1000", "--json"}));
  EXPECT_FALSE(IsTotal(ParseJson<Struct>(run.ReadLine())));
  serve.Stop();
  EXPECT_THAT(run.ReadAll(), HasSubstr("\"total\":true"));
  EXPECT_EQ(run.Wait(), 1);
}

TEST_P(BenchTest, ServesTheNextClientWhenOneHasDied) {
  Child serve = Start({"bench", "serve", "--count", "2"});
  {
    Child run = Start(Words({"--duration", "1000", "--json"}));
    EXPECT_FALSE(IsTotal(ParseJson<Struct>(run.ReadLine())));
    const Finished waits = Run({"bench", GetParam(), "--timeout", "0.3"});
    EXPECT_EQ(waits.exit_code, 1);
    EXPECT_THAT(waits.err, HasSubstr("one client at a time"));
    run.Signal(SIGKILL);
    run.Wait();
  }
  const Finished next = Bench({"--duration", "0.2"});
  EXPECT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(serve.Wait(), 0);
}

TEST_P(BenchTest, SaysThatThereIsNoServer) {
  const Finished run = Run({"bench", GetParam(), "--server", "x", "--timeout", "0.1"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, IsEmpty());
  EXPECT_THAT(run.err, HasSubstr("there is no server 'x'; start `ivmq bench serve --name x`"));
}

TEST_P(BenchTest, ExplainsMistakes) {
  const auto expect = [&](const std::vector<std::string>& flags, const std::string& what) {
    std::vector<std::string> words{"bench", GetParam()};
    words.insert(words.end(), flags.begin(), flags.end());
    const Finished run = Run(words);
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_THAT(run.err, HasSubstr(what));
    EXPECT_THAT(run.out, IsEmpty());
  };
  const std::string most = GetParam() == std::string("request") ? "2097128" : "2097152";
  expect({"--size", "7"}, "'7' is not a whole number from 8 to " + most);
  expect({"--size", "2097153"}, "'2097153' is not a whole number from 8 to " + most);
  expect({"--rate", "0"}, "'0' is not a number from 0.001 to ");
  expect({"--duration", "0"}, "'0' is not a number from 0.1 to ");
  expect({"--wait", "maybe"}, "'maybe' is not one of adaptive, block and spin");
  expect({"--server", "a.*"}, "not to a filter");
}

INSTANTIATE_TEST_SUITE_P(Each, BenchTest, testing::Values("throughput", "latency", "request"),
                         [](const auto& info) { return std::string(info.param); });

class BenchThroughputTest : public BenchTest {};

TEST_P(BenchThroughputTest, TakesTheSmallestAndTheLargestRing) {
  Child serve = Start({"bench", "serve"});
  for (const std::string ring : {"4096", "16777216"}) {
    Child run = Start(Words({"--duration", "1000", "--json", "--ring", ring}));
    EXPECT_FALSE(IsTotal(ParseJson<Struct>(run.ReadLine())));
    const std::string topic = RunTopic("default");
    std::string ring_bytes;
    for (const std::string& line : Run({"links", "--json"}).Lines()) {
      const auto link = ParseJson<Struct>(line);
      if (FieldOf(link, "topic") == topic) ring_bytes = FieldOf(link, "ring_bytes");
    }
    EXPECT_EQ(ring_bytes, ring);
    run.Signal(SIGINT);
    EXPECT_THAT(run.ReadAll(), HasSubstr("\"total\":true"));
    EXPECT_EQ(run.Wait(), 0);
  }
}

TEST_P(BenchThroughputTest, ExplainsWhichRingsThereAre) {
  const auto expect = [&](const std::string& ring, const std::string& what) {
    const Finished run = Bench({"--ring", ring, "--duration", "0.2"});
    EXPECT_EQ(run.exit_code, 2) << run.out;
    EXPECT_THAT(run.err, HasSubstr(what));
  };
  Child serve = Start({"bench", "serve"});
  expect("4095", "'4095' is not a whole number from 4096 to 16777216");
  expect("16777217", "'16777217' is not a whole number from 4096 to 16777216");
  expect("5000", "--ring: '5000' is not a power of two");
  expect("5KiB", "--ring: '5120' is not a power of two");
}

TEST_P(BenchThroughputTest, TakesBatchesAndSizesWithUnits) {
  Child serve = Start({"bench", "serve"});
  const auto expect_all = [&](const std::string& batch) {
    const Finished run = Bench({"--batch", batch, "--json", "--size", "1KiB", "--ring", "1MiB",
                                "--wait", "block", "--duration", "0.3"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const auto total = ParseJson<Struct>(run.Lines().back());
    EXPECT_EQ(FieldOf(total, "batch"), batch);
    EXPECT_EQ(FieldOf(total, "size_bytes"), "1024");
    EXPECT_EQ(FieldOf(total, "ring_bytes"), "1048576");
    EXPECT_EQ(FieldOf(total, "lost"), "0");
  };
  expect_all("1");
  expect_all("100");
  const Finished none = Bench({"--batch", "0"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("'0' is not a whole number from 1 to 1000000"));
}

INSTANTIATE_TEST_SUITE_P(Each, BenchThroughputTest, testing::Values("throughput"),
                         [](const auto& info) { return std::string(info.param); });

class BenchLinkTest : public BenchTest {};

TEST_P(BenchLinkTest, FailsWhereMessagesAreLostOrDamaged) {
  for (const bool damaged : {true, false}) {
    const std::string server = damaged ? "damaged" : "lost";
    Child serve = Start({"bench", "serve", "--name", server});
    Child run = Start(Words({"--duration", "1000", "--json", "--rate", "100", "--server", server}));
    Node node = Open("stranger");
    auto publisher = node.CreatePublisher(RunTopic(server)).value();
    ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
    std::vector<std::byte> message(64);
    FillBenchMessage(1'000'000, message);
    if (damaged) message[63] ^= std::byte{1};
    ASSERT_TRUE(publisher.Publish(message).ok());
    while (NumberOf(ParseJson<Struct>(run.ReadLine()), server) < 1) continue;  // till ctest's time
    run.Signal(SIGINT);
    std::string last;
    for (std::string line = run.ReadLine(); !line.empty(); line = run.ReadLine()) last = line;
    EXPECT_GE(NumberOf(ParseJson<Struct>(last), server), 1) << last;
    EXPECT_EQ(run.Wait(), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Each, BenchLinkTest, testing::Values("throughput", "latency"),
                         [](const auto& info) { return std::string(info.param); });

class BenchRoundTripTest : public BenchTest {};

// Whoever sends only when the last one is back sends nothing while the server pauses, and then has
// one long time among many short ones.
TEST_P(BenchRoundTripTest, CountsTheTimeOfEachMessageThatWasDueInAPause) {
  Child serve = Start({"bench", "serve"});
  Child run = Start(Words({"--duration", "4", "--json", "--rate", "500"}));
  EXPECT_FALSE(IsTotal(ParseJson<Struct>(run.ReadLine())));
  serve.Stop();
  const auto begin = std::chrono::steady_clock::now();
  run.ReadLine();
  run.ReadLine();  // they come each second
  const auto paused = std::chrono::steady_clock::now() - begin;
  serve.Signal(SIGCONT);
  std::string last;
  for (std::string line = run.ReadLine(); !line.empty(); line = run.ReadLine()) last = line;
  EXPECT_EQ(run.Wait(), 0);
  const auto total = ParseJson<Struct>(last);
  // Those that were due in the first half of the pause waited for the other half, and are many more
  // than one of a hundred.
  EXPECT_GE(NumberOf(total, "p99_ns"), static_cast<double>(paused.count()) / 2) << last;
  EXPECT_GE(NumberOf(total, "max_ns"), NumberOf(total, "p99_ns"));
  EXPECT_GE(NumberOf(total, "p99_ns"), NumberOf(total, "p50_ns"));
  EXPECT_GE(NumberOf(total, "p50_ns"), NumberOf(total, "min_ns"));
}

TEST_P(BenchRoundTripTest, SaysHowManyCouldNotBeSentInTime) {
  Child serve = Start({"bench", "serve"});
  const Finished run = Bench({"--duration", "0.3", "--rate", "1e9", "--json"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_GT(NumberOf(ParseJson<Struct>(run.Lines().back()), "unsent"), 1000);
  EXPECT_THAT(Bench({"--duration", "0.3", "--rate", "1e9"}).out,
              HasSubstr(" due and never sent; 0 lost"));
}

INSTANTIATE_TEST_SUITE_P(Each, BenchRoundTripTest, testing::Values("latency", "request"),
                         [](const auto& info) { return std::string(info.param); });

class BenchRequestTest : public BenchTest {};

TEST_P(BenchRequestTest, FailsWhereAReplyIsDamaged) {
  Child serve = Start({"bench", "serve"});
  Child run = Start(Words({"--duration", "1000", "--json", "--rate", "100"}));
  // Takes its turn with the other.
  Child stranger = Start({"reply", RunTopic("default"), "something else", "--count", "1"});
  EXPECT_THAT(stranger.ReadAll(), Not(IsEmpty()));
  EXPECT_EQ(stranger.Wait(), 0);
  run.Signal(SIGINT);
  std::string last;
  for (std::string line = run.ReadLine(); !line.empty(); line = run.ReadLine()) last = line;
  EXPECT_EQ(FieldOf(ParseJson<Struct>(last), "damaged"), "1");
  EXPECT_EQ(FieldOf(ParseJson<Struct>(last), "lost"), "0");
  EXPECT_EQ(run.Wait(), 1);
}

INSTANTIATE_TEST_SUITE_P(Each, BenchRequestTest, testing::Values("request"),
                         [](const auto& info) { return std::string(info.param); });

class BenchServeTest : public CommandFixture {};

TEST_F(BenchServeTest, RefusesASecondServerOfTheSameName) {
  Child serve = Start({"bench", "serve", "--name", "a"});
  ASSERT_TRUE(
      WaitUntil([&] { return Run({"topics"}).out.find("ivmq.bench.a") != std::string::npos; }));
  const Finished second = Run({"bench", "serve", "--name", "a"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("there is a server 'a' already"));
  EXPECT_EQ(Run({"bench", "serve", "--count", "0"}).exit_code, 2);
  EXPECT_EQ(Run({"bench"}).exit_code, 2);
  serve.Signal(SIGINT);
  EXPECT_EQ(serve.Wait(), 0);
}

}  // namespace
}  // namespace ivmq::command
