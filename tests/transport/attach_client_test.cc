// The client against daemons that are absent, old, broken or hostile.
#include "transport/attach_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/transport/local_realm.h"
#include "tests/transport/test_daemon.h"
#include "transport/fd_passing.h"

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

steady_clock::time_point Soon() { return steady_clock::now() + std::chrono::seconds(60); }

class AttachClientTest : public testing::Test {
 protected:
  AttachClientTest() : realm_(4 << 20, 4), host_(realm_.AddPeer(0)) {}

  std::string path() const { return directory_.path() + "/node"; }

  // A right welcome, for a test to spoil.
  AttachMessage Welcome(std::vector<int>* fds) const {
    AttachMessage welcome{};
    LocalRealm::Must(host_->Lend(1, &welcome, fds));
    welcome.magic = kAttachMagic;
    welcome.version = kAttachVersion;
    welcome.kind = AttachKind::kWelcome;
    welcome.connection_id = 1;
    welcome.vectors = 4;
    welcome.generation = realm_.info().generation;
    std::memcpy(welcome.realm_uuid, realm_.info().uuid.data(), kUuidBytes);
    fds->insert(fds->begin() + 1, host_->vector_fd(0));  // any fd will do for a channel
    welcome.fd_count = static_cast<uint32_t>(fds->size());
    return welcome;
  }

  // A daemon that listens, answers its first client with these bytes and fds, and ends.
  void ServeOnce(std::span<const std::byte> bytes, std::span<const int> fds) const {
    const UniqueFd listener = LocalRealm::Must(ListenUnix(path(), UnixSocketType::kSeqpacket));
    pollfd watched{listener.get(), POLLIN, 0};
    ::poll(&watched, 1, 60'000);
    const UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    SendWithFds(client.get(), bytes, fds);
  }

  // What Attach says to such a daemon.
  Status AnswerWith(std::span<const std::byte> bytes, std::span<const int> fds) const {
    std::thread daemon([&] { ServeOnce(bytes, fds); });
    Status status = Attach(path(), Soon()).status();
    daemon.join();
    return status;
  }
  Status AnswerWith(const AttachMessage& message, std::span<const int> fds) const {
    return AnswerWith(std::as_bytes(std::span(&message, 1)), fds);
  }

  TemporaryDirectory directory_;
  LocalRealm realm_;
  std::shared_ptr<MemfdDevice> host_;
};

TEST_F(AttachClientTest, AcceptsTheWelcomeThatTheOtherTestsSpoil) {
  std::vector<int> fds;
  const AttachMessage welcome = Welcome(&fds);
  const Status status = AnswerWith(welcome, fds);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(AttachClientTest, SaysAtTheDeadlineThatNobodyIsThere) {
  auto deadline = steady_clock::now() + milliseconds(100);
  const Status absent = Attach(path(), deadline).status();
  EXPECT_EQ(absent.code(), Code::kUnavailable);
  EXPECT_THAT(absent.message(), HasSubstr(path()));
  EXPECT_GE(steady_clock::now(), deadline);

  { ASSERT_TRUE(ListenUnix(path(), UnixSocketType::kSeqpacket).ok()); }
  const Status stale = Attach(path(), steady_clock::now() + milliseconds(100)).status();
  EXPECT_EQ(stale.code(), Code::kUnavailable);
  EXPECT_THAT(stale.message(), HasSubstr("nobody listens"));
}

TEST_F(AttachClientTest, WaitsForADaemonThatStartsLater) {
  std::vector<int> fds;
  const AttachMessage welcome = Welcome(&fds);
  std::thread starter([&] {
    ::poll(nullptr, 0, 100);
    ServeOnce(std::as_bytes(std::span(&welcome, 1)), fds);
  });
  const Status status = Attach(path(), Soon()).status();
  starter.join();
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(AttachClientTest, DoesNotHangOnADaemonThatStalls) {
  const UniqueFd listener = LocalRealm::Must(ListenUnix(path(), UnixSocketType::kSeqpacket));
  const auto deadline = steady_clock::now() + milliseconds(100);
  const Status status = Attach(path(), deadline).status();
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded) << status.message();
  EXPECT_GE(steady_clock::now(), deadline);
}

// Nobody may connect, not even its owner; root may all the same, so it becomes somebody else.
TEST_F(AttachClientTest, SaysHowOthersAreLetInWhereItIsNotAllowed) {
  constexpr uid_t kNobody = 65534;
  const UniqueFd listener = LocalRealm::Must(ListenUnix(path(), UnixSocketType::kSeqpacket, 0));
  const uid_t user = ::geteuid();
  if (user == 0) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  const Status status = Attach(path(), Soon()).status();
  ASSERT_EQ(::seteuid(user), 0);
  EXPECT_EQ(status.code(), Code::kPermissionDenied);
  EXPECT_THAT(status.message(), HasSubstr(path()));
  EXPECT_THAT(status.message(), HasSubstr("--socket-group"));
}

TEST_F(AttachClientTest, RefusesAnotherProtocolVersionNamingBoth) {
  std::vector<int> fds;
  AttachMessage welcome = Welcome(&fds);
  welcome.version = 7;
  const Status status = AnswerWith(welcome, fds);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("expected 1"));
  EXPECT_THAT(status.message(), HasSubstr("found 7"));
  // A later version may be of any length.
  std::vector<std::byte> longer(sizeof(AttachMessage) + 100);
  std::memcpy(longer.data(), &welcome, sizeof(welcome));
  EXPECT_THAT(AnswerWith(longer, fds).message(), HasSubstr("found 7"));
  EXPECT_THAT(AnswerWith(std::span(longer).first(16), {}).message(), HasSubstr("found 7"));
}

TEST_F(AttachClientTest, RefusesWhatIsNoDaemonOfOurs) {
  const std::string http = "HTTP/1.1 400 Bad Request\r\n\r\n";
  const Status status = AnswerWith(std::as_bytes(std::span(http)), {});
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("does not speak"));
  EXPECT_EQ(AnswerWith(std::as_bytes(std::span(http)).first(3), {}).code(),
            Code::kFailedPrecondition);
}

TEST_F(AttachClientTest, RefusesAnotherLayoutVersionNamingBoth) {
  HeaderOf(host_->region())->layout_version = 99;
  std::vector<int> fds;
  const AttachMessage welcome = Welcome(&fds);
  const Status status = AnswerWith(welcome, fds);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_THAT(status.message(),
              HasSubstr("expected " + std::to_string(kLayoutVersion) + ", found 99"));
}

TEST_F(AttachClientTest, RefusesWelcomesThatContradictThemselves) {
  const std::vector<std::pair<const char*, std::function<void(AttachMessage&)>>> spoilers = {
      {"kind", [](AttachMessage& m) { m.kind = static_cast<AttachKind>(3); }},
      {"kind", [](AttachMessage& m) { m.kind = static_cast<AttachKind>(99); }},
      {"fds", [](AttachMessage& m) { m.fd_count = 2; }},
      {"region_access", [](AttachMessage& m) { m.region_access = static_cast<RegionAccess>(0); }},
      {"doorbell_access", [](AttachMessage& m) { m.doorbell_access = DoorbellAccess::kMmap; }},
      {"doorbell_access", [](AttachMessage& m) { m.region_access = RegionAccess::kVfio; }},
      {"region_bytes", [](AttachMessage& m) { m.region_bytes = 0; }},
      {"region_bytes", [](AttachMessage& m) { m.region_bytes = 3 << 20; }},
      {"cannot map", [](AttachMessage& m) { m.region_bytes = 1ULL << 40; }},
      {"cannot map", [](AttachMessage& m) { m.region_map_offset = 4096; }},
      {"region_map_offset", [](AttachMessage& m) { m.region_map_offset = 1; }},
      {"doorbell_map_offset", [](AttachMessage& m) { m.doorbell_map_offset = 5; }},
      {"doorbell_page_offset", [](AttachMessage& m) { m.doorbell_page_offset = 4096; }},
      {"vectors", [](AttachMessage& m) { m.vectors = 257; }},
      {"vector", [](AttachMessage& m) { m.vector = 4; }},
      {"peer_id", [](AttachMessage& m) { m.peer_id = 0x10000; }},
      {"fds", [](AttachMessage& m) { m.has_wake_fd = 0; }},
      {"generation", [](AttachMessage& m) { m.generation = 99; }},
      {"another realm", [](AttachMessage& m) { m.realm_uuid[3] ^= 1; }},
  };
  for (const auto& [expected, spoil] : spoilers) {
    std::vector<int> fds;
    AttachMessage welcome = Welcome(&fds);
    spoil(welcome);
    const Status status = AnswerWith(welcome, fds);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), HasSubstr(expected));
  }
}

TEST_F(AttachClientTest, PassesOnTheDaemonsWordsWithoutControlCharacters) {
  AttachMessage refusal{};
  refusal.magic = kAttachMagic;
  refusal.version = kAttachVersion;
  refusal.kind = AttachKind::kRefused;
  refusal.code = static_cast<uint32_t>(Code::kPermissionDenied);
  std::memset(refusal.text, 'n', sizeof(refusal.text));  // no NUL at all
  refusal.text[1] = '\033';
  const Status status = AnswerWith(refusal, {});
  EXPECT_EQ(status.code(), Code::kPermissionDenied);
  EXPECT_THAT(status.message(), HasSubstr("n?nn"));
  refusal.code = 4711;
  EXPECT_EQ(AnswerWith(refusal, {}).code(), Code::kUnknown);
}

}  // namespace
}  // namespace ivmq::transport
