// Client and server of the attach protocol together, as nodes and daemons use them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <optional>
#include <thread>
#include <vector>

#include "tests/transport/local_realm.h"
#include "tests/transport/test_daemon.h"
#include "transport/attach_client.h"
#include "transport/fd_passing.h"
#include "transport/frame_channel.h"

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;
using Gone = AttachServer::Gone;

steady_clock::time_point Soon() { return steady_clock::now() + std::chrono::seconds(60); }

class AttachTest : public testing::Test {
 protected:
  AttachTest() : realm_(4 << 20, 4), host_(realm_.AddPeer(0)) {}

  AttachServer::Options Options() const {
    AttachServer::Options options;
    options.realm = realm_.info();
    options.first_vector = 1;
    options.last_vector = 3;
    return options;
  }
  UniqueFd Connect(const TestDaemon& daemon) {
    return LocalRealm::Must(ConnectUnix(daemon.path(), UnixSocketType::kSeqpacket, Soon()));
  }

  LocalRealm realm_;
  std::shared_ptr<MemfdDevice> host_;
};

TEST_F(AttachTest, GivesAProcessRegionVectorAndChannel) {
  TestDaemon daemon(host_, Options());
  Result<Attached> attached = Attach(daemon.path(), Soon());
  ASSERT_TRUE(attached.ok()) << attached.status().message();
  Attached& node = attached.value();
  EXPECT_EQ(node.region.realm_name, "test");
  EXPECT_STREQ(node.welcome.realm_name, "test");
  EXPECT_EQ(node.device->peer_id(), 0U);
  EXPECT_EQ(node.welcome.vectors, 4U);
  EXPECT_GE(node.device->vector_fd(node.welcome.vector), 0);
  node.device->region()[realm_.info().arena_offset] = std::byte{0x5a};
  EXPECT_EQ(host_->region()[realm_.info().arena_offset], std::byte{0x5a});

  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.attached_count == 1; }));
  AttachServer::Client& client = daemon.attached.begin()->second;
  EXPECT_EQ(client.connection_id, node.welcome.connection_id);
  EXPECT_EQ(client.vector, node.welcome.vector);
  EXPECT_EQ(client.process.pid, ::getpid());
  EXPECT_EQ(client.process.uid, ::getuid());
  EXPECT_EQ(client.process.start_time, ProcessStartTime(::getpid()));
  FrameChannel ours(std::move(client.channel));
  FrameChannel theirs(std::move(node.channel));
  ASSERT_TRUE(theirs.Send("hello").ok());
  FrameChannel::Frame frame;
  ASSERT_TRUE(ours.ReceiveUntil(Soon(), &frame).ok());
  EXPECT_EQ(frame.payload, "hello");
}

// The kernel counts the fds in flight of a user, but for privileged ones: nobody's, in a process of
// its own. Its exit code tells the step that failed.
int AttachWhenFdsArrived(const std::shared_ptr<MemfdDevice>& host,
                         const AttachServer::Options& options) {
  const rlimit few{64, 64};
  if (::setrlimit(RLIMIT_NOFILE, &few) != 0 || ::setgid(65533) != 0 || ::setuid(65533) != 0) {
    return 1;
  }
  TestDaemon daemon(host, options);
  std::array<int, 2> filler{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, filler.data()) != 0) return 2;
  const std::array<int, 1> one{STDERR_FILENO};
  const std::array<std::byte, 1> byte{};
  int in_flight = 0;
  while (SendWithFds(filler[0], byte, one) == 1) {
    if (++in_flight > 1000) return 3;
  }
  if (errno != ETOOMANYREFS) return 4;
  const Result<UniqueFd> early = ConnectUnix(daemon.path(), UnixSocketType::kSeqpacket, Soon());
  if (!early.ok()) return 5;
  pollfd answered{early.value().get(), POLLIN, 0};
  AttachMessage answer{};
  if (::poll(&answered, 1, 60'000) != 1) return 5;
  if (::recv(early.value().get(), &answer, sizeof(answer), 0) != sizeof(answer)) return 5;
  if (answer.kind != AttachKind::kRefused) return 6;
  if (answer.code != static_cast<uint32_t>(Code::kUnavailable)) return 6;
  ::close(filler[0]);
  ::close(filler[1]);
  return Attach(daemon.path(), Soon()).ok() ? 0 : 7;
}

TEST_F(AttachTest, AProcessThatComesWhileTooManyFdsAreInFlightMayTryAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  EXPECT_EXIT(::_exit(AttachWhenFdsArrived(host_, Options())), testing::ExitedWithCode(0), "");
}

TEST_F(AttachTest, ReportsTheEndOfAProcessAsProof) {
  TestDaemon daemon(host_, Options());
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<Attached> attached = Attach(daemon.path(), Soon());
    ::pause();
    ::_exit(attached.ok() ? 0 : 1);
  }
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.attached_count == 1; }));
  EXPECT_EQ(daemon.attached.begin()->second.process.pid, child);
  ::kill(child, SIGKILL);
  int how = 0;
  ::waitpid(child, &how, 0);
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 1; }));
  EXPECT_EQ(daemon.gone.begin()->second, Gone::kDied);
}

TEST_F(AttachTest, TellsACloseOfItsOwnFromAProof) {
  TestDaemon daemon(host_, Options());
  const Result<Attached> attached = Attach(daemon.path(), Soon());
  ASSERT_TRUE(attached.ok());
  const uint64_t id = attached.value().welcome.connection_id;
  EXPECT_TRUE(daemon.Run([id](AttachServer& server) { return server.Close(id); }));
  EXPECT_FALSE(daemon.Run([id](AttachServer& server) { return server.Close(id); }));
  EXPECT_EQ(daemon.gone.at(id), Gone::kClosed);
  EXPECT_EQ(daemon.gone_count, 1U);
  pollfd ended{attached.value().connection.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 10'000), 1);
}

TEST_F(AttachTest, DropsAClientThatWritesOrShutsDownWithoutTakingItForDead) {
  TestDaemon daemon(host_, Options());
  const UniqueFd bystander = Connect(daemon);
  const UniqueFd writer = Connect(daemon);
  ASSERT_EQ(::send(writer.get(), "x", 1, MSG_NOSIGNAL), 1);
  const UniqueFd empty_writer = Connect(daemon);
  ASSERT_EQ(::send(empty_writer.get(), "", 0, MSG_NOSIGNAL), 0);
  const UniqueFd half = Connect(daemon);
  ASSERT_EQ(::shutdown(half.get(), SHUT_WR), 0);
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 3; }));
  for (const auto& [id, how] : daemon.gone) EXPECT_EQ(how, Gone::kClosed) << id;
  EXPECT_EQ(daemon.Run([](AttachServer& server) { return server.client_count(); }), 1U);
  EXPECT_TRUE(Attach(daemon.path(), Soon()).ok());
}

TEST_F(AttachTest, AProcessThatEndsItsConnectionAndLivesIsNotDead) {
  TestDaemon daemon(host_, Options());
  daemon.forget_closed = false;
  const pid_t child = ::fork();
  if (child == 0) {
    const auto socket = ConnectUnix(daemon.path(), UnixSocketType::kSeqpacket, Soon());
    pollfd welcome{socket.value().get(), POLLIN, 0};
    ::poll(&welcome, 1, -1);
    ::shutdown(socket.value().get(), SHUT_RDWR);
    ::pause();
    ::_exit(0);
  }
  EXPECT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 1; }));
  EXPECT_EQ(daemon.gone.begin()->second, Gone::kClosed);
  EXPECT_EQ(daemon.Run([](AttachServer& server) { return server.client_count(); }), 0U);
  ::kill(child, SIGKILL);
  EXPECT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 2; }));
  EXPECT_EQ(daemon.gone.begin()->second, Gone::kDied);
  int how = 0;
  ::waitpid(child, &how, 0);
}

TEST_F(AttachTest, SaysNoMoreOfAProcessThatItShallForget) {
  const std::vector<UniqueFd> ends = LocalRealm::Must(CreateEventfds(1));
  AttachServer::Options options = Options();
  options.open_process = [&](const PeerProcess&) -> Result<UniqueFd> {
    return UniqueFd(::dup(ends[0].get()));
  };
  TestDaemon daemon(host_, options);
  const UniqueFd forgotten = Connect(daemon);
  const UniqueFd other = Connect(daemon);
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.attached_count == 2; }));
  daemon.Run([](AttachServer& server) {
    server.Forget(1);
    server.Forget(99);
    return 0;
  });
  const uint64_t one = 1;
  ASSERT_EQ(::write(ends[0].get(), &one, sizeof(one)), 8);
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 1; }));
  EXPECT_EQ(daemon.gone, (std::map<uint64_t, Gone>{{2, Gone::kDied}}));
}

TEST_F(AttachTest, RefusesAProcessWhoseEndItCouldNotSee) {
  AttachServer::Options options = Options();
  options.open_process = [](const PeerProcess&) -> Result<UniqueFd> {
    return Status(Code::kInvalidArgument, "cannot watch process 0");
  };
  TestDaemon daemon(host_, options);
  const Status refused = Attach(daemon.path(), Soon()).status();
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("cannot watch process 0"));
}

TEST_F(AttachTest, SpreadsProcessesOverItsVectors) {
  TestDaemon daemon(host_, Options());
  std::vector<Attached> nodes;
  std::map<uint32_t, int> load;
  for (int i = 0; i < 9; ++i) {
    nodes.push_back(LocalRealm::Must(Attach(daemon.path(), Soon())));
    ++load[nodes.back().welcome.vector];
  }
  EXPECT_EQ(load, (std::map<uint32_t, int>{{1, 3}, {2, 3}, {3, 3}}));
  const uint32_t freed = nodes[4].welcome.vector;
  nodes.erase(nodes.begin() + 4);
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 1; }));
  EXPECT_EQ(LocalRealm::Must(Attach(daemon.path(), Soon())).welcome.vector, freed);
}

TEST_F(AttachTest, RefusesInItsOwnWordsAndServesAgainLater) {
  TestDaemon daemon(host_, Options());
  daemon.Run([](AttachServer& server) {
    server.Refuse(Status(Code::kPermissionDenied, "not on a Sunday"));
    return 0;
  });
  const Status refused = Attach(daemon.path(), Soon()).status();
  EXPECT_EQ(refused.code(), Code::kPermissionDenied);
  EXPECT_THAT(refused.message(), HasSubstr("not on a Sunday"));

  daemon.Run([](AttachServer& server) {
    server.Refuse(Status(Code::kUnavailable, "control is down"));
    return 0;
  });
  const auto deadline = steady_clock::now() + milliseconds(100);
  const Status down = Attach(daemon.path(), deadline).status();
  EXPECT_EQ(down.code(), Code::kUnavailable);
  EXPECT_THAT(down.message(), HasSubstr("control is down"));
  EXPECT_GE(steady_clock::now(), deadline) << "it is worth waiting for";

  std::thread waiting([&] { EXPECT_TRUE(Attach(daemon.path(), Soon()).ok()); });
  daemon.Run([](AttachServer& server) {
    server.Refuse(Status());
    return 0;
  });
  waiting.join();
}

TEST_F(AttachTest, RefusesMoreClientsThanItsLimit) {
  AttachServer::Options options = Options();
  options.max_clients = 2;
  TestDaemon daemon(host_, options);
  const Attached first = LocalRealm::Must(Attach(daemon.path(), Soon()));
  {
    const Attached second = LocalRealm::Must(Attach(daemon.path(), Soon()));
    const Status refused = Attach(daemon.path(), Soon()).status();
    EXPECT_EQ(refused.code(), Code::kResourceExhausted);
    EXPECT_THAT(refused.message(), HasSubstr("2 nodes attached, at most 2 are allowed"));
  }
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.gone_count == 1; }));
  EXPECT_TRUE(Attach(daemon.path(), Soon()).ok());
}

// However fast they come: what has closed counts until it is forgotten, and that takes 100 ms.
TEST_F(AttachTest, NewcomersWaitForThoseThatHaveJustClosed) {
  AttachServer::Options options = Options();
  options.max_clients = 2;
  TestDaemon daemon(host_, options);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Attach(daemon.path(), Soon()).status().message(), "") << i;
}

TEST_F(AttachTest, NobodyIsRefusedAsLongAsPlacesComeFree) {
  AttachServer::Options options = Options();
  options.max_clients = 2;
  TestDaemon daemon(host_, options);
  daemon.forget_closed = false;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(Attach(daemon.path(), Soon()).ok());
  std::vector<std::thread> newcomers;
  newcomers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    newcomers.emplace_back(
        [&] { EXPECT_EQ(Attach(daemon.path(), Soon()).status().message(), ""); });
  }
  // The last one waits for more than a second in all.
  for (const uint64_t closed : {1, 2}) {
    std::this_thread::sleep_for(milliseconds(550));
    daemon.Run([&](AttachServer& server) {
      server.Forget(closed);
      return 0;
    });
  }
  for (std::thread& newcomer : newcomers) newcomer.join();
}

TEST_F(AttachTest, SaysThatClosedConnectionsOfProcessesThatRunCount) {
  AttachServer::Options options = Options();
  options.max_clients = 2;
  TestDaemon daemon(host_, options);
  daemon.forget_closed = false;
  const Attached first = LocalRealm::Must(Attach(daemon.path(), Soon()));
  const auto before = steady_clock::now();
  { const Attached second = LocalRealm::Must(Attach(daemon.path(), Soon())); }
  const Status refused = Attach(daemon.path(), Soon()).status();
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              HasSubstr("1 attached and 1 closed or evicted whose processes still run"));
  EXPECT_GE(steady_clock::now() - before, milliseconds(1000)) << "it might have been forgotten";
}

TEST_F(AttachTest, ThoseWhoWaitInVainAreRefusedTogether) {
  AttachServer::Options options = Options();
  options.max_clients = 2;
  TestDaemon daemon(host_, options);
  daemon.forget_closed = false;
  std::optional<Attached> last(LocalRealm::Must(Attach(daemon.path(), Soon())));
  EXPECT_TRUE(Attach(daemon.path(), Soon()).ok());
  std::array<steady_clock::time_point, 2> refused;
  std::vector<std::thread> newcomers;
  newcomers.reserve(refused.size());
  for (steady_clock::time_point& at : refused) {
    newcomers.emplace_back([&] {
      EXPECT_EQ(Attach(daemon.path(), Soon()).status().code(), Code::kResourceExhausted);
      at = steady_clock::now();
    });
  }
  std::this_thread::sleep_for(milliseconds(800));
  last.reset();  // just before the second is over: a reason to wait, for whoever would come now
  for (std::thread& newcomer : newcomers) newcomer.join();
  EXPECT_LT(std::max(refused[0], refused[1]) - std::min(refused[0], refused[1]), milliseconds(500))
      << "the second of them waited for as long again";
}

TEST_F(AttachTest, WhoWasRefusedOnceKeepsNobodyWhoComesLaterFromWaiting) {
  AttachServer::Options options = Options();
  options.max_clients = 2;
  TestDaemon daemon(host_, options);
  daemon.forget_closed = false;
  std::optional<Attached> first(LocalRealm::Must(Attach(daemon.path(), Soon())));
  { const Attached second = LocalRealm::Must(Attach(daemon.path(), Soon())); }
  EXPECT_EQ(Attach(daemon.path(), Soon()).status().code(), Code::kResourceExhausted);
  daemon.Run([&](AttachServer&) { return daemon.forget_closed = true; });
  first.reset();
  EXPECT_EQ(Attach(daemon.path(), Soon()).status().message(), "");
}

TEST_F(AttachTest, SurvivesTheOpenFileLimitWithoutSpinning) {
  TestDaemon daemon(host_, Options());
  const Attached before = LocalRealm::Must(Attach(daemon.path(), Soon()));
  ASSERT_TRUE(daemon.Await([](const TestDaemon& d) { return d.attached_count == 1; }));
  UniqueFd newcomer(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  daemon.path().copy(address.sun_path, sizeof(address.sun_path) - 1);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  rlimit tight = old_limit;
  tight.rlim_cur = static_cast<rlim_t>(newcomer.get()) + 1;
  std::vector<UniqueFd> hoard;  // gaps below the limit
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  for (int fd; (fd = ::dup(newcomer.get())) >= 0;) hoard.emplace_back(fd);
  ASSERT_EQ(::connect(newcomer.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const uint64_t loops_before = daemon.loops;
  ::poll(nullptr, 0, 500);
  const uint64_t loops_after = daemon.loops;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old_limit), 0);
  EXPECT_LT(loops_after - loops_before, 100U);
  EXPECT_TRUE(daemon.Await([](const TestDaemon& d) { return d.attached_count == 2; }));
}

TEST_F(AttachTest, KeepsNothingOfClientsThatHaveGone) {
  TestDaemon daemon(host_, Options());
  daemon.keep_records = false;
  const auto come_and_go = [&](uint64_t total) {
    for (uint64_t i = daemon.Run([&](AttachServer&) { return daemon.attached_count; }); i < total;
         ++i) {
      ASSERT_TRUE(Attach(daemon.path(), Soon()).ok());
    }
    ASSERT_TRUE(daemon.Await([total](const TestDaemon& d) { return d.gone_count == total; }));
  };
  come_and_go(1'000);
  const size_t early = ::mallinfo2().uordblks;
  come_and_go(11'000);
  EXPECT_EQ(daemon.Run([](AttachServer& server) { return server.client_count(); }), 0U);
  EXPECT_LT(::mallinfo2().uordblks, early + 64 * 1024);
}

}  // namespace
}  // namespace ivmq::transport
