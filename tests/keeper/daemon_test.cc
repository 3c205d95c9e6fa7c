#include "tests/keeper/daemon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "tests/keeper/ivshmem_client.h"
#include "transport/attach_client.h"
#include "transport/unix_socket.h"

namespace ivmq::broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

transport::Result<transport::Attached> Attach(const Daemon& daemon, std::chrono::seconds patience) {
  return transport::Attach(daemon.node_socket(), std::chrono::steady_clock::now() + patience);
}

bool ReadUntil(const std::function<bool()>& done, const std::vector<IvshmemClient*>& clients) {
  return WaitUntil([&] {
    for (IvshmemClient* client : clients) client->Read();
    return done();
  });
}

TEST(DaemonTest, TellsControlOfItsRealmsAndStopsCleanlyOnSigterm) {
  Daemon daemon;
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  const std::string events = daemon.Ask("events");
  EXPECT_THAT(events, HasSubstr("hello version=4 last=0 fds=1\n"
                                "realm 0 default bytes=1048576 vectors=2 new=1 fds=1\n"
                                "doorbells 0 0 first=0 count=2 fds=2\n"
                                "ready fds=0\n"
                                "done 1 flag=1 fds=0\n"));
  EXPECT_THAT(events, HasSubstr("admin pid=" + std::to_string(getpid()) + " fds=1"));
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(daemon.process().Wait(), 0);
  EXPECT_FALSE(Exists(daemon.vm_socket()));
  EXPECT_FALSE(Exists(daemon.node_socket()));
  EXPECT_FALSE(Exists(daemon.admin_socket()));
}

TEST(DaemonTest, LetsAGroupOfVmsConnectToVmSocketsAndToNothingElse) {
  // Groups that whoever runs the test may give away: root any two, others their own only.
  const bool root = geteuid() == 0;
  const gid_t all = root ? 12345 : getegid();
  const gid_t vms = root ? 23456 : getegid();
  Daemon daemon({.flags = {"--size", "1MiB", "--vectors", "2", "--socket-group",
                           std::to_string(all), "--vm-socket-group", std::to_string(vms)}});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  const auto group_of = [](const std::string& path) {
    struct stat found {};
    EXPECT_EQ(stat(path.c_str(), &found), 0) << path;
    return found.st_gid;
  };
  EXPECT_EQ(group_of(daemon.vm_socket()), vms);
  EXPECT_EQ(group_of(daemon.node_socket()), all);
  EXPECT_EQ(group_of(daemon.admin_socket()), all);
}

TEST(DaemonTest, AStubbornControlIsKilledWhenStopping) {
  Daemon daemon({.control_mode = "stubborn"});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  daemon.process().Signal(SIGINT);
  EXPECT_EQ(daemon.process().Wait(), 0);
  EXPECT_THAT(daemon.process().Stderr(), HasSubstr("control was killed by signal 9"));
}

TEST(DaemonTest, GreetsVmsAndReportsThemToControl) {
  Daemon daemon({.flags = {"--size", "1MiB", "--vectors", "130"}});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  IvshmemClient a = IvshmemClient::Connect(daemon.vm_socket(), 130);
  IvshmemClient b = IvshmemClient::Connect(daemon.vm_socket(), 130);
  ASSERT_TRUE(
      ReadUntil([&] { return a.complete() && b.complete() && a.peers().size() == 2; }, {&a, &b}));
  EXPECT_EQ(a.id(), 1);
  EXPECT_EQ(b.id(), 2);
  ASSERT_TRUE(
      daemon.WaitForEvent("doorbells 0 2 first=0 count=64 fds=64\n"
                          "doorbells 0 2 first=64 count=64 fds=64\n"
                          "doorbells 0 2 first=128 count=2 fds=2\n"
                          "connected 0 2 socket=0 pid=" +
                          std::to_string(getpid())));
  b.Close();
  EXPECT_TRUE(daemon.WaitForEvent("gone 0 2 proof=1"));
  EXPECT_TRUE(ReadUntil([&] { return a.peers() == std::set<uint32_t>{0}; }, {&a}));
  EXPECT_EQ(a.violation() + b.violation(), "");
}

TEST(DaemonTest, EvictsPeersAndProcessesAtControlsWord) {
  Daemon daemon;
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  IvshmemClient a = IvshmemClient::Connect(daemon.vm_socket(), 2);
  IvshmemClient b = IvshmemClient::Connect(daemon.vm_socket(), 2);
  ASSERT_TRUE(ReadUntil([&] { return a.peers().size() == 2 && b.complete(); }, {&a, &b}));
  daemon.Ask("evict-peer 0 2");
  EXPECT_TRUE(daemon.WaitForEvent("gone 0 2 proof=3 fds=0\ndone 2 flag=1"));
  EXPECT_TRUE(ReadUntil([&] { return a.peers().size() == 1; }, {&a, &b}));
  daemon.Ask("evict-peer 0 2");
  EXPECT_TRUE(daemon.WaitForEvent("done 3 flag=0"));
  EXPECT_EQ(a.violation() + b.violation(), "");
  daemon.Ask("evict-peer 7 1");
  EXPECT_TRUE(daemon.WaitForEvent("done 4 flag=0"));
  b.Close();
  EXPECT_TRUE(daemon.WaitForEvent("gone 0 2 proof=1"));
}

TEST(DaemonTest, ServesSeveralRealmsFromAFileAndSeveralVmSocketsInOne) {
  const TemporaryDirectory directory;
  {
    std::ofstream file(directory / "ivmqd.toml");
    file << "admin-socket = \"" << directory / "admin"
         << "\"\n"
         << "control-binary = \"" << FAKE_CONTROL_PATH << "\"\n"
         << "[[realm]]\nname = \"red\"\nsize = \"1MiB\"\nvectors = 2\n"
         << "vm-socket = [\"" << directory / "red-vm-1"
         << "\", \"" << directory / "red-vm-2"
         << "\"]\nnode-socket = \"" << directory / "red-node"
         << "\"\n"
         << "[[realm]]\nname = \"blue\"\nsize = 2097152\nvectors = 3\n"
         << "vm-socket = \"" << directory / "blue-vm"
         << "\"\nnode-socket = \"" << directory / "blue-node"
         << "\"\n";
  }
  Process daemon({{IVMQD_PATH, "--config", directory / "ivmqd.toml"}, {}, directory / "stderr"});
  ASSERT_TRUE(WaitUntil(
      [&] { return daemon.Stderr().find("ready: ") != std::string::npos || !daemon.running(); }));
  ASSERT_TRUE(daemon.running()) << daemon.Stderr();
  IvshmemClient red_1 = IvshmemClient::Connect(directory / "red-vm-1", 2);
  IvshmemClient blue = IvshmemClient::Connect(directory / "blue-vm", 3);
  ASSERT_TRUE(ReadUntil([&] { return red_1.complete() && blue.complete(); }, {&red_1, &blue}));
  IvshmemClient red_2 = IvshmemClient::Connect(directory / "red-vm-2", 2);
  ASSERT_TRUE(
      ReadUntil([&] { return red_2.complete() && red_1.peers().size() == 2; }, {&red_1, &red_2}));
  EXPECT_EQ(red_1.id(), 1);
  EXPECT_EQ(blue.id(), 1);
  EXPECT_EQ(red_2.id(), 2);
  EXPECT_THAT(blue.peers(), ElementsAre(0));
  struct stat info {};
  ASSERT_EQ(fstat(blue.region(), &info), 0);
  EXPECT_EQ(info.st_size, 2 << 20);
}

TEST(DaemonTest, RefusesWrongSettingsWithCodeTwoAndNamesTheRule) {
  const struct {
    std::vector<std::string> flags;
    std::string message;
  } kCases[] = {
      {{"--size", "3MiB"}, "must be a power of two"},
      {{"--size", "512KiB"}, "at least 1MiB"},
      {{"--size", "1GB"}, "is not a size"},
      {{"--size", "1099511627776GiB"}, "is not a size"},
      {{"--size", "1048576GiB"}, "more than there is memory for"},
      {{"--vectors", "0"}, "must be 1 to 256"},
      {{"--vectors", "257"}, "must be 1 to 256"},
      {{"--realm", "a/b"}, "letters, digits"},
      {{"--realm", ""}, "letters, digits"},
      {{"--vm-socket", std::string("/tmp/") + std::string(103, 'x')}, "at most 107"},
      {{"--vm-socket", "/tmp/a", "--vm-socket", "/tmp/a"}, "given twice"},
      {{"--log-level", "loud"}, "debug, info, warning or error"},
      {{"--socket-mode", "999"}, "octal"},
      {{"--config", "/nonexistent/ivmqd.toml"}, "/nonexistent/ivmqd.toml"},
      {{"--no-such-flag"}, "no-such-flag"},
  };
  for (const auto& test : kCases) {
    const TemporaryDirectory directory;
    std::vector<std::string> arguments = {IVMQD_PATH};
    arguments.insert(arguments.end(), test.flags.begin(), test.flags.end());
    Process daemon({arguments, {}, directory / "stderr"});
    EXPECT_EQ(daemon.Wait(), 2) << test.flags.front();
    EXPECT_THAT(daemon.Stderr(), HasSubstr(test.message));
  }
}

TEST(DaemonTest, RefusesASocketOfALiveBrokerNamingItsPidWithoutDisturbingIt) {
  Daemon daemon;
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  for (const std::string& path : {daemon.vm_socket(), daemon.node_socket()}) {
    const bool is_vm = path == daemon.vm_socket();
    const TemporaryDirectory directory;
    Process second({{IVMQD_PATH, "--size", "1MiB", "--vm-socket", is_vm ? path : directory / "v",
                     "--node-socket", is_vm ? directory / "n" : path, "--admin-socket",
                     directory / "a", "--control-binary", FAKE_CONTROL_PATH},
                    {},
                    directory / "stderr"});
    EXPECT_EQ(second.Wait(), 1);
    EXPECT_THAT(second.Stderr(), HasSubstr(path + " is in use"));
    EXPECT_THAT(second.Stderr(), HasSubstr(std::to_string(daemon.process().pid())));
    EXPECT_FALSE(Exists(directory / "a"));
  }
  IvshmemClient client = IvshmemClient::Connect(daemon.vm_socket(), 2);
  EXPECT_TRUE(ReadUntil([&] { return client.complete(); }, {&client}));
  EXPECT_EQ(client.id(), 1);  // the probe was no client
  EXPECT_THAT(daemon.Ask("events"), Not(HasSubstr("gone")));
}

TEST(DaemonTest, ReplacesTheSocketsOfABrokerThatWasKilled) {
  Daemon daemon;
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  daemon.process().Signal(SIGKILL);
  ASSERT_EQ(daemon.process().Wait(), 128 + SIGKILL);
  ASSERT_TRUE(Exists(daemon.vm_socket()));
  const TemporaryDirectory directory;
  Process second({{IVMQD_PATH, "--size", "1MiB", "--vm-socket", daemon.vm_socket(), "--node-socket",
                   daemon.node_socket(), "--admin-socket", daemon.admin_socket(),
                   "--control-binary", FAKE_CONTROL_PATH},
                  {},
                  directory / "stderr"});
  EXPECT_TRUE(WaitUntil([&] { return second.Stderr().find("ready: ") != std::string::npos; }))
      << second.Stderr();
}

TEST(DaemonTest, ExitsWithControlsReasonWhenItRefusesTheRealm) {
  Daemon daemon({.control_mode = "refuse"});
  EXPECT_EQ(daemon.process().Wait(), 1);
  EXPECT_THAT(daemon.process().Stderr(),
              HasSubstr("realm default cannot be served: it is too small for its peer table"));
  EXPECT_FALSE(Exists(daemon.vm_socket()));
}

TEST(DaemonTest, ExitsWhenControlEndsBeforeItWasReady) {
  Daemon daemon({.control_mode = "exit"});
  EXPECT_EQ(daemon.process().Wait(), 1);
  EXPECT_THAT(daemon.process().Stderr(), HasSubstr("control exited with code 3 before"));
}

TEST(DaemonTest, ExitsWhenThereIsNoControlToRun) {
  Daemon daemon({.control_binary = "/nonexistent/control"});
  EXPECT_EQ(daemon.process().Wait(), 1);
  EXPECT_THAT(daemon.process().Stderr(), HasSubstr("cannot execute control"));
}

TEST(DaemonTest, KeepsServingVmsAndRefusesProcessesWhenControlIsKilled) {
  Daemon daemon;
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  IvshmemClient a = IvshmemClient::Connect(daemon.vm_socket(), 2);
  ASSERT_TRUE(ReadUntil([&] { return a.complete(); }, {&a}));
  const auto attached = Attach(daemon, kPatience);
  ASSERT_TRUE(attached.ok()) << attached.status().message();
  ASSERT_TRUE(daemon.WaitForEvent("attached 0 1"));
  daemon.Ask("crash");
  ASSERT_TRUE(WaitUntil(
      [&] { return daemon.process().Stderr().find("killed by signal 9") != std::string::npos; }));
  IvshmemClient b = IvshmemClient::Connect(daemon.vm_socket(), 2);
  EXPECT_TRUE(ReadUntil([&] { return b.complete() && a.peers().size() == 2; }, {&a, &b}));
  b.Close();
  EXPECT_TRUE(ReadUntil([&] { return a.peers().size() == 1; }, {&a}));
  EXPECT_EQ(a.violation() + b.violation(), "");
  const auto refused = Attach(daemon, std::chrono::seconds(1));
  EXPECT_EQ(refused.status().code(), transport::Code::kUnavailable);
  EXPECT_THAT(refused.status().message(), HasSubstr("control is not running"));
  EXPECT_EQ(daemon.Ask("events"), "");
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(daemon.process().Wait(), 0);
}

TEST(DaemonTest, AHungControlDoesNotHoldUpVms) {
  Daemon daemon({.open_files = 1024});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  daemon.Ask("hang");
  IvshmemClient watcher = IvshmemClient::Connect(daemon.vm_socket(), 2);
  for (int i = 0; i < 1000; ++i) {
    IvshmemClient client = IvshmemClient::Connect(daemon.vm_socket(), 2);
    ASSERT_TRUE(ReadUntil([&] { return client.complete(); }, {&client, &watcher})) << i;
  }
  EXPECT_TRUE(ReadUntil([&] { return watcher.peers().size() == 1; }, {&watcher}));
  EXPECT_EQ(watcher.violation(), "");
}

}  // namespace
}  // namespace ivmq::broker
