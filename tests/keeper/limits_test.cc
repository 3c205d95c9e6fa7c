// ivmqd where descriptors are short, processes come and go in masses, or nothing happens at all.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <span>

#include "tests/keeper/daemon.h"
#include "tests/keeper/ivshmem_client.h"
#include "transport/attach_protocol.h"
#include "transport/fd_passing.h"
#include "transport/unix_socket.h"

namespace ivmq::broker {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using transport::UniqueFd;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// A number from /proc/PID/status.
uint64_t StatusOf(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
  }
  return 0;
}

uint64_t PrivateKib(pid_t pid) { return StatusOf(pid, "RssAnon") + StatusOf(pid, "RssFile"); }

IvshmemClient ConnectLight(const Daemon& daemon, uint32_t vectors) {
  return IvshmemClient::Connect(daemon.vm_socket(), vectors, IvshmemClient::Keep::kOwnVectors);
}

// Reads all of them until `done`.
bool ReadUntil(const std::function<bool()>& done, std::vector<IvshmemClient>& clients) {
  return WaitUntil([&] {
    for (IvshmemClient& client : clients) client.Read();
    return done();
  });
}

// Host processes as the keeper sees them, without their mappings of the region: `count` of them
// attach and then all leave. Returns the vectors they were given; fewer if one was not welcome.
std::vector<uint32_t> AttachAndLeave(const std::string& path, int count) {
  std::vector<UniqueFd> sockets;
  std::vector<uint32_t> vectors;
  for (int i = 0; i < count; ++i) {
    auto socket = transport::ConnectUnix(path, transport::UnixSocketType::kSeqpacket,
                                         std::chrono::steady_clock::now() + kPatience);
    if (!socket.ok()) return vectors;
    sockets.push_back(std::move(socket).value());
  }
  for (const UniqueFd& socket : sockets) {
    pollfd readable{socket.get(), POLLIN, 0};
    if (poll(&readable, 1, 60'000) != 1) return vectors;
    transport::AttachMessage welcome{};
    std::vector<UniqueFd> fds;
    const auto got =
        transport::ReceiveWithFds(socket.get(), std::as_writable_bytes(std::span(&welcome, 1)),
                                  transport::kMaxAttachFds, &fds);
    if (got.bytes != sizeof welcome || welcome.kind != transport::AttachKind::kWelcome ||
        fds.size() != 3) {
      return vectors;
    }
    vectors.push_back(welcome.vector);
  }
  return vectors;
}

TEST(LimitsTest, OutOfDescriptorsRefusesCountsAndRecovers) {
  Daemon daemon({.open_files = 64});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  std::vector<IvshmemClient> clients;
  for (int i = 0; i < 60; ++i) clients.push_back(ConnectLight(daemon, 2));
  EXPECT_TRUE(ReadUntil(
      [&] {
        return std::all_of(clients.begin(), clients.end(), [](const IvshmemClient& client) {
          return client.complete() || client.at_eof();
        });
      },
      clients));
  const auto refused = std::count_if(clients.begin(), clients.end(),
                                     [](const IvshmemClient& client) { return client.at_eof(); });
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 60);
  for (const IvshmemClient& client : clients) {
    EXPECT_EQ(client.violation(), "");
    EXPECT_TRUE(!client.at_eof() || client.log().empty());  // never half a greeting
  }
  clients.clear();
  EXPECT_TRUE(WaitUntil([&] {
    IvshmemClient again = ConnectLight(daemon, 2);
    return WaitUntil([&] {
             again.Read();
             return again.complete() || again.at_eof();
           }) &&
           again.complete();
  }));
  EXPECT_TRUE(daemon.WaitForEvent("refused 0 reason=3 count="));
  EXPECT_THAT(daemon.process().Stderr(), testing::HasSubstr("the limit of 64 open files"));
}

// A VM's process that may open only so many files, until the object goes.
class FrugalClient {
 public:
  FrugalClient(const Daemon& daemon, uint64_t open_files) : pid_(fork()) {
    if (pid_ != 0) return;
    const rlimit limit{open_files, open_files};
    setrlimit(RLIMIT_NOFILE, &limit);
    IvshmemClient client = ConnectLight(daemon, 2);
    for (;;) {
      client.Read();
      poll(nullptr, 0, 10);
    }
  }
  FrugalClient(const FrugalClient&) = delete;
  FrugalClient& operator=(const FrugalClient&) = delete;
  ~FrugalClient() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  const pid_t pid_;
};

TEST(LimitsTest, WarnsOnceOfAVmThatMayNotOpenTheDoorbellsOfAllPeers) {
  Daemon daemon;  // two vectors
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  // 64 of its own and two a peer: enough for three, the host and itself among them.
  const FrugalClient frugal(daemon, 64 + 3 * 2);
  ASSERT_TRUE(daemon.WaitForEvent("connected 0 1 "));
  std::vector<IvshmemClient> ample;
  const auto join = [&] {
    ample.push_back(ConnectLight(daemon, 2));
    ASSERT_TRUE(ReadUntil([&] { return ample.back().complete(); }, ample));
    // By the answer the keeper has gone on to the next event.
    ASSERT_TRUE(
        daemon.WaitForEvent("connected 0 " + std::to_string(1 + ample.size()) + " socket=0"));
  };
  join();
  const std::string may_not = "may open 70 files but needs about ";
  EXPECT_THAT(daemon.process().Stderr(), testing::Not(HasSubstr(may_not)));
  join();
  const std::string warning = "peer 1 (pid " + std::to_string(frugal.pid()) + ") " + may_not +
                              "72 for the doorbells of 4 peers";
  EXPECT_THAT(daemon.process().Stderr(), HasSubstr(warning));
  EXPECT_THAT(daemon.process().Stderr(), HasSubstr("raise its RLIMIT_NOFILE"));
  join();
  join();
  const std::string log = daemon.process().Stderr();
  EXPECT_EQ(log.find("may open", log.find("may open") + 1), std::string::npos) << log;
}

TEST(LimitsTest, ThreeStalledClientsAtALimitOf1024FilesStopNobody) {
  constexpr uint32_t kVectors = 8;
  Daemon daemon(
      {.flags = {"--size", "1MiB", "--vectors", "8"}, .open_files = 1024, .as_nobody = true});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  std::vector<IvshmemClient> readers;
  std::vector<IvshmemClient> stalled;
  readers.push_back(ConnectLight(daemon, kVectors));
  for (int i = 0; i < 3; ++i) stalled.push_back(ConnectLight(daemon, kVectors));
  for (int i = 0; i < 80; ++i) {
    readers.push_back(ConnectLight(daemon, kVectors));
    ASSERT_TRUE(ReadUntil([&] { return readers.back().complete(); }, readers)) << i;
  }
  EXPECT_TRUE(ReadUntil([&] { return readers.front().peers().size() == 1 + 3 + 80; }, readers));
  EXPECT_EQ(readers.front().violation(), "");
  EXPECT_TRUE(ReadUntil([&] { return stalled.front().peers().size() == 1 + 1 + 2 + 80; }, stalled));
  EXPECT_EQ(stalled.front().violation(), "");
}

TEST(LimitsTest, ManyHostProcessesCostNoIdAndLeaveNoMemory) {
  Daemon daemon({.flags = {"--size", "1MiB", "--vectors", "4"}});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  constexpr int kAtOnce = 50;
  const int count = kSanitized ? 3'000 : 100'000;
  uint64_t before = 0;
  for (int i = 0; i < count; i += kAtOnce) {
    const auto vectors = AttachAndLeave(daemon.node_socket(), kAtOnce);
    ASSERT_EQ(vectors.size(), size_t{kAtOnce}) << i;
    ASSERT_THAT(vectors, testing::Each(testing::AllOf(testing::Ge(1u), testing::Le(3u))));
    // By then the heap has its size: it grows with what waits for control at the worst moment.
    if (i == count / 2) before = StatusOf(daemon.process().pid(), "RssAnon");
  }
  const uint64_t after = StatusOf(daemon.process().pid(), "RssAnon");
  if (!kSanitized) {
    EXPECT_LE(after, before + 512);
  }
  RecordProperty("own_kib_after_half", static_cast<int>(before));
  RecordProperty("own_kib_after_all", static_cast<int>(after));
  std::vector<IvshmemClient> clients;
  clients.push_back(ConnectLight(daemon, 4));
  ASSERT_TRUE(ReadUntil([&] { return clients[0].complete(); }, clients));
  EXPECT_EQ(clients[0].id(), 1);
  EXPECT_TRUE(daemon.WaitForEvent("connected 0 1 "));  // control has kept up
}

TEST(LimitsTest, ProcessesAreSpreadOverAllVectorsButControls) {
  Daemon daemon({.flags = {"--size", "1MiB", "--vectors", "4"}});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  std::vector<UniqueFd> sockets;
  for (int i = 1; i <= 6; ++i) {
    auto socket =
        transport::ConnectUnix(daemon.node_socket(), transport::UnixSocketType::kSeqpacket,
                               std::chrono::steady_clock::now() + kPatience);
    ASSERT_TRUE(socket.ok());
    sockets.push_back(std::move(socket).value());
    EXPECT_TRUE(daemon.WaitForEvent("attached 0 " + std::to_string(i) +
                                    " vector=" + std::to_string((i - 1) % 3 + 1)));
  }
}

TEST(LimitsTest, WithOneVectorProcessesShareControls) {
  Daemon daemon({.flags = {"--size", "1MiB", "--vectors", "1"}});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  EXPECT_THAT(AttachAndLeave(daemon.node_socket(), 2), testing::ElementsAre(0, 0));
}

TEST(LimitsTest, IsIdleAndSmallWith64Peers) {
  Daemon daemon({.flags = {"--size", "1MiB", "--vectors", "8"}});
  ASSERT_TRUE(daemon.WaitUntilReady()) << daemon.process().Stderr();
  std::vector<IvshmemClient> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(ConnectLight(daemon, 8));
  ASSERT_TRUE(ReadUntil(
      [&] {
        return std::all_of(clients.begin(), clients.end(),
                           [](const IvshmemClient& client) { return client.peers().size() == 64; });
      },
      clients));
  ASSERT_TRUE(daemon.WaitForEvent("connected 0 64"));
  const pid_t pid = daemon.process().pid();
  const uint64_t before = StatusOf(pid, "voluntary_ctxt_switches");
  poll(nullptr, 0, 2000);  // the time over which sleeps are counted
  const uint64_t wakeups = StatusOf(pid, "voluntary_ctxt_switches") - before;
  EXPECT_LE(wakeups, 10u);
  if (!kSanitized) {
    EXPECT_LT(PrivateKib(pid), 100u * 1024);
  }
  RecordProperty("wakeups_in_2_s", static_cast<int>(wakeups));
  RecordProperty("private_kib", static_cast<int>(PrivateKib(pid)));
}

TEST(LimitsTest, TellsSystemdWhenItIsReadyThatControlIsGoneAndWhenItStops) {
  const TemporaryDirectory directory;
  const std::string path = directory / "notify";
  const UniqueFd notify(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(notify.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const auto next = [&] {
    pollfd readable{notify.get(), POLLIN, 0};
    char text[512] = {};
    if (poll(&readable, 1, 60'000) == 1) recv(notify.get(), text, sizeof text - 1, 0);
    return std::string(text);
  };
  Process daemon({{IVMQD_PATH, "--size", "1MiB", "--control-binary", FAKE_CONTROL_PATH,
                   "--vm-socket", directory / "new/vm", "--node-socket", directory / "new/node",
                   "--admin-socket", directory / "new/admin"},
                  {"NOTIFY_SOCKET=" + path},
                  directory / "stderr"});
  EXPECT_THAT(next(), HasSubstr("READY=1"));
  const auto operators =
      transport::ConnectUnix(directory / "new/admin", transport::UnixSocketType::kStream,
                             std::chrono::steady_clock::now() + kPatience);
  ASSERT_TRUE(operators.ok()) << operators.status().message();
  ASSERT_EQ(send(operators.value().get(), "crash", 5, MSG_NOSIGNAL), 5);
  EXPECT_THAT(next(), StartsWith("STATUS=control was killed by signal 9. VMs and links go on;"));
  daemon.Signal(SIGTERM);
  EXPECT_THAT(next(), HasSubstr("STOPPING=1"));
  EXPECT_EQ(daemon.Wait(), 0);
}

}  // namespace
}  // namespace ivmq::broker
