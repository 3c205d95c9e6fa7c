#include "transport/listening_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace {

// Called before each flock(2) of this program: the moment at which another may take the file away.
std::function<void()> before_flock;

}  // namespace

// Instead of the C library's.
extern "C" int flock(int fd, int operation) noexcept {
  if (before_flock) before_flock();
  return static_cast<int>(::syscall(SYS_flock, fd, operation));
}

namespace ivmq::transport {
namespace {

using testing::HasSubstr;

class ListeningSocketTest : public testing::Test {
 protected:
  ListeningSocketTest() {
    std::string pattern = "/tmp/ivmq-listen.XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~ListeningSocketTest() override { std::filesystem::remove_all(folder_); }

  static Result<ListeningSocket> Open(const std::string& path) {
    return ListeningSocket::Open(path, UnixSocketType::kStream, {});
  }

  std::string folder_;
};

TEST_F(ListeningSocketTest, TakesItsPathAway) {
  const std::string path = folder_ + "/a.sock";
  ListeningSocket socket = Open(path).value();
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(Open(path).status().code(), Code::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(path + ".lock"));
  socket.Close();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(ListeningSocketTest, LocksTheFileThatIsThereWhenTheOneItOpenedIsTakenAway) {
  const std::string path = folder_ + "/a.sock";
  int locked = 0;
  before_flock = [&] {
    if (++locked == 1) std::filesystem::remove(path + ".lock");
  };
  const auto socket = Open(path);
  before_flock = nullptr;
  ASSERT_TRUE(socket.ok());
  EXPECT_EQ(locked, 2);
  EXPECT_TRUE(std::filesystem::exists(path + ".lock"));
}

TEST_F(ListeningSocketTest, NeverLetsTwoListenThoughLockFilesComeAndGo) {
  const std::string path = folder_ + "/a.sock";
  std::atomic<int> listening = 0;
  std::atomic<int> started = 0;
  std::vector<std::thread> starters;
  for (int i = 0; i < 8; ++i) {
    starters.emplace_back([&] {
      while (started < 500) {
        auto socket = Open(path);
        if (!socket.ok()) continue;
        ++started;
        EXPECT_EQ(++listening, 1);
        --listening;
      }
    });
  }
  for (std::thread& starter : starters) starter.join();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(ListeningSocketTest, LeavesAloneWhatAnotherHasBoundThereSince) {
  const std::string path = folder_ + "/a.sock";
  ListeningSocket first = Open(path).value();
  std::filesystem::remove(path);
  ListeningSocket second = Open(path).value();
  first.Close();
  EXPECT_TRUE(std::filesystem::exists(path));
  second = ListeningSocket();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ListeningSocketTest, MakesOneDirectoryAndNoMore) {
  EXPECT_TRUE(Open(folder_ + "/run/a.sock").ok());
  const auto mistyped = Open(folder_ + "/rnu/ivmq/a.sock");
  ASSERT_FALSE(mistyped.ok());
  EXPECT_THAT(mistyped.status().message(), HasSubstr(folder_ + "/rnu/ivmq"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/rnu"));
}

}  // namespace
}  // namespace ivmq::transport
