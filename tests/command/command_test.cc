// Every subcommand against a real ivmqd.

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ivmq/ivmq.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "ivmq/v1/admin.pb.h"
#include "tests/command/command_fixture.h"
#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/texts.h"
#include "transport/unix_socket.h"

namespace ivmq::command {
namespace {

using google::protobuf::Struct;
using test::AsBytes;
using test::Child;
using test::WaitUntil;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;

using CommandTest = CommandFixture;

// From then on a signal is what the command makes of it.
bool BlocksSigterm(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string name, value; status >> name >> value;) {
    if (name == "SigBlk:") return (std::stoull(value, nullptr, 16) >> (SIGTERM - 1) & 1) != 0;
    std::getline(status, value);
  }
  return false;
}

TEST_F(CommandTest, PublishesToASubscriber) {
  Child sub = Start({"sub", "news", "--count", "3"});
  const Finished pub =
      Run({"pub", "news", "--data", "hello", "--count", "3", "--wait", "1", "--timeout", "60"});
  EXPECT_EQ(pub.exit_code, 0) << pub.err;
  EXPECT_THAT(pub.out, IsEmpty());
  EXPECT_THAT(pub.err, HasSubstr("published 3 messages (15 B) to 1 subscriber of 'news'"));
  EXPECT_EQ(sub.ReadAll(), "hello\nhello\nhello\n");
  EXPECT_EQ(sub.Wait(), 0);
}

TEST_F(CommandTest, PublishesLinesOfTheStandardInput) {
  Child sub = Start({"sub", "lines", "--count", "3", "--json"});
  const Finished pub = Run({"pub", "lines", "--stdin", "--wait", "1", "--timeout", "60"},
                           "first\n\nthird \"quoted\"\n");
  EXPECT_EQ(pub.exit_code, 0) << pub.err;
  const char* texts[] = {"first", "", "third \"quoted\""};
  for (int i = 0; i < 3; ++i) {
    const auto message = ParseJson<Struct>(sub.ReadLine());
    EXPECT_EQ(FieldOf(message, "topic"), "lines");
    EXPECT_EQ(FieldOf(message, "sequence"), std::to_string(i));
    EXPECT_EQ(FieldOf(message, "text"), texts[i]);
  }
  EXPECT_EQ(sub.Wait(), 0);
}

TEST_F(CommandTest, ShowsBytesThatAreNoTextAsWhatTheyAre) {
  Child people = Start({"sub", "binary", "--count", "1"});
  Child programs = Start({"sub", "binary", "--count", "1", "--json"});
  Node node = Open("binary");
  auto publisher = node.CreatePublisher("binary").value();
  ASSERT_TRUE(publisher.WaitForSubscribers(2, kPatience).ok());
  const std::byte bytes[] = {std::byte{0xff}, std::byte{0x00}, std::byte{0x41}};
  ASSERT_TRUE(publisher.Publish(bytes).ok());
  EXPECT_EQ(people.ReadLine(), "<3 bytes> ff0041");
  const auto message = ParseJson<Struct>(programs.ReadLine());
  EXPECT_EQ(FieldOf(message, "base64"), "/wBB");
}

TEST_F(CommandTest, RepeatsOrCutsTheDataToTheSizeAskedFor) {
  Child sub = Start({"sub", "sized", "--count", "1"});
  EXPECT_EQ(Run({"pub", "sized", "--data", "abc", "--size", "8", "--wait", "1", "--timeout", "60"})
                .exit_code,
            0);
  EXPECT_EQ(sub.ReadLine(), "abcabcab");
  Child empty = Start({"sub", "sized", "--count", "1", "--json"});
  EXPECT_EQ(Run({"pub", "sized", "--size", "0", "--wait", "1", "--timeout", "60"}).exit_code, 0);
  EXPECT_EQ(FieldOf(ParseJson<Struct>(empty.ReadLine()), "text"), "");
}

TEST_F(CommandTest, SaysThatNobodyListens) {
  const Finished pub = Run({"pub", "void", "--data", "x"});
  EXPECT_EQ(pub.exit_code, 0);
  EXPECT_THAT(pub.err, HasSubstr("nobody subscribes"));
  const Finished waits = Run({"pub", "void", "--data", "x", "--wait", "1", "--timeout", "0.2"});
  EXPECT_EQ(waits.exit_code, 1);
  EXPECT_THAT(waits.err, HasSubstr("0 of 1 subscribers came"));
}

TEST_F(CommandTest, FailsWhenTimeIsUpBeforeAllMessagesCame) {
  const Finished few = Run({"sub", "silence", "--count", "2", "--timeout", "0.2"});
  EXPECT_EQ(few.exit_code, 1);
  EXPECT_THAT(few.err, HasSubstr("0 of 2 messages came in time"));
  EXPECT_EQ(Run({"sub", "silence", "--timeout", "0.2"}).exit_code, 0);
}

TEST_F(CommandTest, NamesWhatIsWrongWithATopic) {
  const std::vector<std::string> topics = {"a..b",        "a.b*", ">.a", "", std::string(256, 't'),
                                           "bad\x01token"};
  for (const std::string& topic : topics) {
    for (const Finished& finished :
         {Run({"pub", topic, "--data", "x"}), Run({"sub", topic, "--timeout", "1"})}) {
      EXPECT_EQ(finished.exit_code, 2) << testing::PrintToString(topic);
      EXPECT_THAT(finished.err, HasSubstr("ivmq: ")) << testing::PrintToString(topic);
    }
  }
  EXPECT_THAT(Run({"pub", "a.*", "--data", "x"}).err, HasSubstr("*"));
}

TEST_F(CommandTest, MakesARingThatTakesALargeMessage) {
  Child sub = Start({"sub", "large", "--json", "--count", "1"});
  const Finished pub = Run({"pub", "large", "--size", "2097152", "--wait", "1", "--timeout", "60"});
  EXPECT_EQ(pub.exit_code, 0) << pub.err;
  EXPECT_THAT(sub.ReadLine(), HasSubstr("\"bytes\":2097152"));
  EXPECT_EQ(sub.Wait(), 0);
}

TEST_F(CommandTest, RefusesALineOverTheLimitWithBothSizes) {
  const Finished pub = Run({"pub", "large", "--stdin"}, std::string(200'000, 'x') + "\n");
  EXPECT_EQ(pub.exit_code, 1);
  EXPECT_THAT(pub.err, HasSubstr("200000"));
  EXPECT_THAT(pub.err, HasSubstr("131072"));
  EXPECT_EQ(Run({"pub", "large", "--stdin"}, std::string(100'000, 'x') + "\n").exit_code, 0);
}

TEST_F(CommandTest, NamesBothTypesThatDiffer) {
  Node node = Open("typed");
  auto subscriber = node.CreateBytesSubscriber("typed", "pkg.One").value();
  const Finished pub = Run({"pub", "typed", "--data", "x", "--type", "pkg.Two"});
  EXPECT_EQ(pub.exit_code, 1);
  EXPECT_THAT(pub.err, HasSubstr("pkg.One"));
  EXPECT_THAT(pub.err, HasSubstr("pkg.Two"));
}

TEST_F(CommandTest, ListsWhatThereIs) {
  Node listener = Open("listener");
  Node node = Open("lister");
  auto subscriber = listener.CreateSubscriber("listed.topic").value();
  auto publisher = node.CreatePublisher("listed.topic").value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
  const std::byte bytes[100] = {};
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(publisher.Publish(bytes).ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(subscriber.Receive(kPatience).ok());

  const auto realm = ParseJson<v1::Realm>(Run({"realms", "--json"}).Lines().at(0));
  EXPECT_EQ(realm.name(), "default");
  const auto host = ParseJson<v1::Peer>(Run({"peers", "--json"}).Lines().at(0));
  EXPECT_EQ(host.peer_id(), 0U);
  EXPECT_EQ(host.nodes(), 2U);
  const auto listed = ParseJson<v1::Node>(Run({"nodes", "--json"}).Lines().at(1));
  EXPECT_EQ(listed.name(), "lister");
  EXPECT_EQ(listed.node_id(), node.id());
  const auto topic = ParseJson<v1::Topic>(Run({"topics", "--json"}).Lines().at(0));
  EXPECT_EQ(topic.name(), "listed.topic");
  EXPECT_EQ(topic.publishers(), 1U);
  EXPECT_EQ(topic.subscribers(), 1U);
  const auto link = ParseJson<v1::Link>(Run({"links", "--json"}).Lines().at(0));
  EXPECT_EQ(link.state(), v1::Link::UP);
  EXPECT_EQ(link.counters().published(), 5U);
  EXPECT_EQ(link.counters().published_bytes(), 500U);
  EXPECT_EQ(link.counters().delivered(), 4U);
  EXPECT_TRUE(link.counters().publisher_answered());
  EXPECT_THAT(Run({"links", "--json", "--topic", "another"}).Lines(), IsEmpty());
}

TEST_F(CommandTest, AccountsForEveryMessage) {
  Node node = Open("audited");
  auto subscriber = std::make_optional(node.CreateSubscriber("audit.topic").value());
  auto publisher = node.CreatePublisher("audit.topic").value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
  const std::byte bytes[100] = {};
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(publisher.Publish(bytes).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(subscriber->Receive(kPatience).ok());
  const auto audit = ParseJson<v1::LinkAudit>(Run({"audit", "--json"}).Lines().at(0));
  EXPECT_EQ(audit.verdict(), v1::LinkAudit::EXACT) << audit.DebugString();
  EXPECT_EQ(audit.counters().in_flight().most(), 2U);
  Finished finished = Run({"audit", "--topic", "audit.topic"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("counters: 5 = 3 delivered + 2 in flight, exact"));

  subscriber.reset();
  ASSERT_TRUE(WaitUntil([&] {
    finished = Run({"audit"});
    return finished.out.find("ended: adds up") != std::string::npos;
  }));
  EXPECT_THAT(
      finished.out,
      HasSubstr("5 = 3 delivered + 2 dropped: subscriber closed (of 3 to 4) + 0 in flight"));
  const Finished misspelt = Run({"audit", "--topic", "another"});
  EXPECT_EQ(misspelt.exit_code, 1);
  EXPECT_THAT(misspelt.out, IsEmpty());
  EXPECT_EQ(misspelt.err, "ivmq: nothing was audited: no link of topic 'another'\n");
}

TEST_F(CommandTest, CutsNoNameWhereTheOutputIsNoTerminal) {
  const std::string name(63, 'n');
  Node node = Open(name);
  const std::string topic(255, 't');
  auto subscriber = node.CreateSubscriber(topic).value();
  auto publisher = node.CreatePublisher(topic).value();
  for (const char* list : {"realms", "peers", "nodes", "topics", "links"}) {
    const Finished finished = Run({list});
    EXPECT_EQ(finished.exit_code, 0) << list << finished.err;
    EXPECT_EQ(finished.Lines().size(), 2U) << list << finished.out;
  }
  EXPECT_THAT(Run({"nodes"}).out, HasSubstr(" " + name + " "));
  EXPECT_THAT(Run({"links"}).out, HasSubstr(topic + "  " + name + "@0  " + name + "@0"));
}

TEST_F(CommandTest, ListsThroughTheNodeSocketWhereThereIsNoAdminSocket) {
  Node node = Open("seen");
  auto publisher = node.CreatePublisher("seen.topic").value();
  const auto run = [&](const std::string& list) {
    return RunIvmq({"--node-socket", daemon_.node_socket(), list, "--json"});
  };
  EXPECT_EQ(ParseJson<v1::Peer>(run("peers").Lines().at(0)).peer_id(), 0U);
  const auto seen = ParseJson<v1::Node>(run("nodes").Lines().at(0));
  EXPECT_EQ(seen.name(), "seen");
  EXPECT_EQ(run("nodes").Lines().size(), 1U);  // without the command itself
  EXPECT_EQ(ParseJson<v1::Topic>(run("topics").Lines().at(0)).name(), "seen.topic");
}

TEST_F(CommandTest, SaysNothingOfWhatANodeSocketDoesNotTell) {
  Node node = Open("a");
  Node other = Open(R"(b,"pid":1)");
  auto publisher = node.CreatePublisher("t").value();
  auto subscriber = other.CreateSubscriber("t").value();
  auto client = node.CreateBytesClient("s", "", "").value();
  const auto run = [&](const std::string& list, bool json) {
    std::vector<std::string> arguments{"--node-socket", daemon_.node_socket(), list};
    if (json) arguments.push_back("--json");
    return RunIvmq(arguments).Lines();
  };
  EXPECT_EQ(run("peers", true).at(0),
            R"({"peer_id":0,"realm":"default","state":"READY","nodes":2})");
  EXPECT_THAT(run("peers", false).at(1), ContainsRegex("^ *0 +default +host +2 +interrupts +-"));
  const std::string topic = R"({"name":"t","realm":"default","type_name":"","publishers":1,)"
                            R"("subscribers":1})";
  EXPECT_EQ(run("topics", true).at(0), topic);
  EXPECT_EQ(run("topics", true).at(1), R"({"name":"s","realm":"default","request_type":"",)"
                                       R"("reply_type":"","servers":0,"clients":1})");
  EXPECT_THAT(run("topics", false).at(1), ContainsRegex("^t +default +bytes +1 +1 +-$"));
  EXPECT_THAT(run("topics", false).at(4), ContainsRegex("^s +default +bytes +bytes +0 +1 +-$"));
  const auto node_line = [](const Node& of, const std::string& name, const std::string& counts) {
    return fmt::format(R"({{"node_id":"{}","name":"{}","realm":"default","peer_id":0,{}}})",
                       of.id(), name, counts);
  };
  const std::vector<std::string> nodes{
      node_line(node, "a",
                R"("publishers":1,"subscribers":0,"state":"ONLINE","clients":1,"servers":0)"),
      node_line(other, R"(b,\"pid\":1)",
                R"("publishers":0,"subscribers":1,"state":"ONLINE","clients":0,"servers":0)")};
  EXPECT_EQ(run("nodes", true), nodes);
  Child watch({IvmqPath(), "--node-socket", daemon_.node_socket(), "watch", "--json"});
  EXPECT_EQ(watch.ReadLine(),
            R"({"kind":"ADDED","peer":{"peer_id":0,"realm":"default","state":"READY"}})");
  EXPECT_EQ(watch.ReadLine(), R"({"kind":"ADDED","node":)" + nodes[0] + "}");
  EXPECT_EQ(watch.ReadLine(), R"({"kind":"ADDED","node":)" + nodes[1] + "}");
  EXPECT_EQ(watch.ReadLine(), R"({"kind":"ADDED","topic":)" + topic + "}");
}

TEST_F(CommandTest, NamesASubscriberThatIsStoppedAndSinceWhenItReadsNothing) {
  for (const char* qos : {"--reliable", "--keep-last=4"}) {
    const Child sub = Start({"sub", "t", qos});
    Node node = Open("teller");
    auto publisher = node.CreatePublisher("t").value();
    ASSERT_TRUE(publisher.WaitForSubscribers(1, std::chrono::minutes(1)).ok());
    sub.Stop();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
    publisher.Flush();
    std::string links;
    const auto shows = [&](const std::string& what) {
      return WaitUntil([&] {
        links = Run({"links", "--topic", "t"}).out;
        return links.find(what) != std::string::npos;
      });
    };
    EXPECT_TRUE(shows("s ago, does not answer ")) << links;
    EXPECT_THAT(links, ContainsRegex(" ivmq-sub@0 .*, last read [0-9]+s ago, does not answer "));
    sub.Signal(SIGCONT);
    EXPECT_TRUE(shows("  up  ")) << links;
  }
}

TEST_F(CommandTest, WatchesWhatComesAndGoes) {
  for (const bool by_node_socket : {false, true}) {
    std::vector<std::string> arguments{IvmqPath(), "--node-socket", daemon_.node_socket()};
    if (!by_node_socket) {
      arguments.insert(arguments.end(), {"--admin-socket", daemon_.admin_socket()});
    }
    arguments.insert(arguments.end(), {"watch", "--json"});
    Child watch(arguments);
    while (ParseJson<v1::DiscoveryEvent>(watch.ReadLine()).kind() !=
           v1::DiscoveryEvent::SNAPSHOT_DONE) {
    }
    std::optional<Node> node = Open("comes-and-goes");
    v1::DiscoveryEvent event;
    do {
      event = ParseJson<v1::DiscoveryEvent>(watch.ReadLine());
    } while (event.node().name() != "comes-and-goes");
    EXPECT_EQ(event.kind(), v1::DiscoveryEvent::ADDED);
    node.reset();
    do {
      event = ParseJson<v1::DiscoveryEvent>(watch.ReadLine());
    } while (event.kind() != v1::DiscoveryEvent::REMOVED);
    watch.Signal(SIGTERM);
    EXPECT_EQ(watch.Wait(), 0);
  }
}

TEST_F(CommandTest, WatchEndsOnASignalAlsoWhereNobodyTakesItsConnection) {
  for (const auto type :
       {transport::UnixSocketType::kStream, transport::UnixSocketType::kSeqpacket}) {
    const bool by_node = type == transport::UnixSocketType::kSeqpacket;
    const std::string path = daemon_.directory() + (by_node ? "/full.node" : "/full.admin");
    const auto listener = transport::ListenUnix(path, type, 0600, 0).value();
    const auto first = transport::ConnectUnix(path, type, {}).value();  // fills the backlog
    ASSERT_FALSE(transport::ConnectUnix(path, type, {}).ok());
    Child watch({IvmqPath(), by_node ? "--node-socket" : "--admin-socket", path, "watch"});
    ASSERT_TRUE(WaitUntil([&] { return BlocksSigterm(watch.pid()); }));
    watch.Signal(SIGTERM);
    EXPECT_EQ(watch.Wait(), 0) << path;
  }
}

TEST_F(CommandTest, EvictsANode) {
  Node node = Open("victim");
  const Finished evict = Run({"evict", "node", std::to_string(node.id())});
  EXPECT_EQ(evict.exit_code, 0) << evict.err;
  EXPECT_TRUE(WaitUntil([&] { return !node.connected(); }));
  const Finished again = Run({"evict", "node", std::to_string(node.id())});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("was evicted or lost before"));
  const Finished unknown = Run({"evict", "node", "999999"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("999999"));
  const Finished peer = Run({"evict", "peer", "77"});
  EXPECT_EQ(peer.exit_code, 1);
  EXPECT_THAT(peer.err, HasSubstr("77"));
}

TEST_F(CommandTest, ListsOnlyTheRealmThatWasAskedFor) {
  EXPECT_EQ(Run({"realms", "--realm", "default", "--json"}).Lines().size(), 1U);
  const Finished unknown = Run({"realms", "--realm", "nope"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_EQ(unknown.err, "ivmq: there is no realm 'nope', but default\n");
}

TEST_F(CommandTest, SaysThatASocketIsNotTheAdminSocket) {
  for (const std::string& socket : {daemon_.vm_socket(), daemon_.node_socket()}) {
    const Finished links = RunIvmq({"--admin-socket", socket, "links"});
    EXPECT_EQ(links.exit_code, 1);
    EXPECT_THAT(links.err, ContainsRegex("^ivmq: " + socket +
                                         " .*is it another of ivmqd's "
                                         "sockets\\? Name the one that its --admin-socket says"));
    EXPECT_EQ(links.err.find(socket), links.err.rfind(socket)) << links.err;
  }
}

TEST_F(CommandTest, EndsQuietlyWhenNobodyReadsAnyMore) {
  const Finished finished = RunScript(
      "set -o pipefail; ivmq " + Sockets() +
      " pub flood --data x --count 1000000 --rate 1000 --wait 1 --timeout 60 2>/dev/null & "
      "ivmq " +
      Sockets() + " sub flood --timeout 60 | head -n 1; status=$?; kill $!; exit $status");
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(finished.out, "x\n");
  EXPECT_THAT(finished.err, IsEmpty());
}

TEST_F(CommandTest, EndsWellOnATerminationSignal) {
  Child sub = Start({"sub", "signals"});
  ASSERT_TRUE(WaitUntil([&] { return !Run({"topics", "--json"}).Lines().empty(); }));
  sub.Signal(SIGTERM);
  EXPECT_EQ(sub.Wait(), 0);
  Child counts = Start({"sub", "signals", "--count", "1"});
  ASSERT_TRUE(WaitUntil([&] { return !Run({"topics", "--json"}).Lines().empty(); }));
  counts.Signal(SIGINT);
  EXPECT_EQ(counts.Wait(), 1);
}

TEST_F(CommandTest, SaysThatControlIsGone) {
  ASSERT_EQ(Run({"peers"}).exit_code, 0);  // it was there
  daemon_.KillControl();
  const Finished peers = Run({"peers"});
  EXPECT_EQ(peers.exit_code, 1);
  EXPECT_THAT(peers.err, HasSubstr("restart ivmqd"));
}

}  // namespace
}  // namespace ivmq::command
