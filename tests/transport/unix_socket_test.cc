#include "transport/unix_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace ivmq::transport {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

class UnixSocketTest : public testing::TestWithParam<UnixSocketType> {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "ivmq-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = directory_ + "/socket";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  static steady_clock::time_point Soon() { return steady_clock::now() + std::chrono::seconds(60); }

  std::string directory_;
  std::string path_;
};

INSTANTIATE_TEST_SUITE_P(Types, UnixSocketTest,
                         testing::Values(UnixSocketType::kStream, UnixSocketType::kSeqpacket),
                         [](const auto& info) {
                           return info.param == UnixSocketType::kStream ? "Stream" : "Seqpacket";
                         });

TEST_P(UnixSocketTest, ListensWithTheModeAskedFor) {
  const Result<UniqueFd> listener = ListenUnix(path_, GetParam(), 0600);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  const Result<UniqueFd> client = ConnectUnix(path_, GetParam(), Soon());
  ASSERT_TRUE(client.ok()) << client.status().message();
  const Result<PeerProcess> server = PeerOf(client.value().get());
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(server.value().pid, ::getpid());
  EXPECT_EQ(server.value().uid, ::getuid());
  EXPECT_EQ(server.value().start_time, ProcessStartTime(::getpid()));
  EXPECT_NE(server.value().start_time, 0U);
}

TEST_P(UnixSocketTest, RefusesALiveSocketNamingThePidAndLeavesItAlone) {
  const Result<UniqueFd> listener = ListenUnix(path_, GetParam());
  ASSERT_TRUE(listener.ok());
  const Result<UniqueFd> second = ListenUnix(path_, GetParam());
  EXPECT_EQ(second.status().code(), Code::kAlreadyExists);
  EXPECT_THAT(second.status().message(), HasSubstr(std::to_string(::getpid())));
  EXPECT_THAT(second.status().message(), HasSubstr(path_));
  pollfd watched{listener.value().get(), POLLIN, 0};
  EXPECT_EQ(::poll(&watched, 1, 0), 0) << "the live server saw a connection";
  EXPECT_TRUE(ConnectUnix(path_, GetParam(), Soon()).ok());
}

TEST_P(UnixSocketTest, ReplacesAStaleSocket) {
  { ASSERT_TRUE(ListenUnix(path_, GetParam()).ok()); }
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_EQ(ConnectUnix(path_, GetParam(), Soon()).status().code(), Code::kUnavailable);
  const Result<UniqueFd> listener = ListenUnix(path_, GetParam());
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  EXPECT_TRUE(ConnectUnix(path_, GetParam(), Soon()).ok());
}

TEST_P(UnixSocketTest, ReplacesTheSocketOfAKilledProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<UniqueFd> listener = ListenUnix(path_, GetParam());
    ::kill(::getpid(), SIGKILL);
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  ASSERT_TRUE(std::filesystem::exists(path_));
  EXPECT_TRUE(ListenUnix(path_, GetParam()).ok());
}

TEST_P(UnixSocketTest, ReplacesNothingThatIsNoSocket) {
  std::ofstream(path_) << "precious";
  const Result<UniqueFd> listener = ListenUnix(path_, GetParam());
  EXPECT_EQ(listener.status().code(), Code::kAlreadyExists);
  EXPECT_THAT(listener.status().message(), HasSubstr("no socket"));
  EXPECT_EQ(std::filesystem::file_size(path_), 8U);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock"));
}

TEST_P(UnixSocketTest, RefusesPathsOutsideTheKernelsBounds) {
  EXPECT_EQ(ListenUnix("", GetParam()).status().code(), Code::kInvalidArgument);
  const std::string longest = directory_ + "/" + std::string(107 - directory_.size() - 1, 'p');
  const Status too_long = ListenUnix(longest + "p", GetParam()).status();
  EXPECT_EQ(too_long.code(), Code::kInvalidArgument);
  EXPECT_THAT(too_long.message(), HasSubstr("108"));
  EXPECT_TRUE(ListenUnix(longest, GetParam()).ok());
  EXPECT_EQ(ListenUnix(directory_ + "/no/such", GetParam()).status().code(), Code::kNotFound);
}

TEST_P(UnixSocketTest, LetsOneOfManyStartersWin) {
  { ASSERT_TRUE(ListenUnix(path_, GetParam()).ok()); }  // stale: all must not replace it
  std::vector<UniqueFd> winners(8);
  std::vector<std::thread> starters;
  starters.reserve(winners.size());
  std::atomic<int> won = 0;
  for (UniqueFd& winner : winners) {
    starters.emplace_back([this, &winner, &won] {
      Result<UniqueFd> listener = ListenUnix(path_, GetParam());
      if (!listener.ok()) return;
      winner = std::move(listener).value();
      ++won;
    });
  }
  for (std::thread& starter : starters) starter.join();
  EXPECT_EQ(won, 1);
  EXPECT_TRUE(ConnectUnix(path_, GetParam(), Soon()).ok());
}

TEST_P(UnixSocketTest, SaysWhatIsWrongWhenItCannotConnect) {
  EXPECT_EQ(ConnectUnix(path_, GetParam(), Soon()).status().code(), Code::kNotFound);
  const UnixSocketType other =
      GetParam() == UnixSocketType::kStream ? UnixSocketType::kSeqpacket : UnixSocketType::kStream;
  const Result<UniqueFd> listener = ListenUnix(path_, other);
  EXPECT_EQ(ConnectUnix(path_, GetParam(), Soon()).status().code(), Code::kFailedPrecondition);
}

TEST_P(UnixSocketTest, GivesUpAtTheDeadlineWhenTheBacklogIsFull) {
  const Result<UniqueFd> listener = ListenUnix(path_, GetParam(), 0660, 0);
  ASSERT_TRUE(listener.ok());
  std::vector<UniqueFd> waiting;
  for (;;) {
    const auto deadline = steady_clock::now() + milliseconds(20);
    Result<UniqueFd> client = ConnectUnix(path_, GetParam(), deadline);
    if (!client.ok()) {
      EXPECT_EQ(client.status().code(), Code::kDeadlineExceeded) << client.status().message();
      EXPECT_GE(steady_clock::now(), deadline);
      break;
    }
    waiting.push_back(std::move(client).value());
    ASSERT_LT(waiting.size(), 10U);
  }
}

TEST(ProcessStartTimeTest, KnowsNoProcessThatIsNotThere) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  EXPECT_EQ(ProcessStartTime(child), 0U);
}

TEST(OpenProcessTest, ShowsTheEndOfThatVeryProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  PeerProcess process;
  process.pid = child;
  process.start_time = ProcessStartTime(child);
  Result<UniqueFd> opened = OpenProcess(process);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  pollfd ended{opened.value().get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 0), 0);

  PeerProcess before = process;  // whose PID was used again
  before.start_time -= 1;
  EXPECT_EQ(OpenProcess(before).status().code(), Code::kNotFound);

  ::kill(child, SIGKILL);
  EXPECT_EQ(::poll(&ended, 1, 60'000), 1);
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  EXPECT_EQ(OpenProcess(process).status().code(), Code::kNotFound);
  PeerProcess nobody;  // as the kernel names one of another PID namespace
  EXPECT_EQ(OpenProcess(nobody).status().code(), Code::kFailedPrecondition);
  EXPECT_NE(OpenProcess(nobody).status().message().find("PID namespace"), std::string::npos);
}

}  // namespace
}  // namespace ivmq::transport
