// What `ivmq` does while the reader of what it prints lives but does not read.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <fstream>
#include <string>

#include "tests/command/command_fixture.h"
#include "tests/sdk/texts.h"
#include "transport/unique_fd.h"

namespace ivmq::command {
namespace {

using test::AsBytes;
using test::Child;
using test::WaitUntil;

class SleepingReaderTest : public CommandFixture {
 protected:
  void SetUp() override {
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    pipe_ = transport::UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::fcntl(pipe_.get(), F_SETPIPE_SZ, kPipeBytes), kPipeBytes);
    const std::string all(kPipeBytes, 'x');
    ASSERT_EQ(::write(pipe_.get(), all.data(), all.size()), kPipeBytes);
  }
  // With its output into a pipe that is full.
  Child StartPrinting(const std::string& words) const { return StartByShell(words + " >" + path_); }
  // Messages that the only subscriber of a topic, or the only server of a service, has taken.
  uint64_t Delivered(const std::string& name) const {
    for (const std::string& line : Run({"links", "--topic", name, "--json"}).Lines()) {
      const auto link = ParseJson<v1::Link>(line);
      if (link.kind() != v1::Link::REPLY) return link.counters().delivered();
    }
    return 0;
  }

  // In poll(2), which ivmq waits in for room and else nowhere, or in write(2).
  static bool WaitsToWrite(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/syscall");
    std::string number;
    return file >> number &&
           (number == std::to_string(SYS_poll) || number == std::to_string(SYS_write));
  }

  static constexpr int kPipeBytes = 4096;
  const std::string path_ = daemon_.directory() + "/full";
  transport::UniqueFd pipe_;
};

TEST_F(SleepingReaderTest, KeepsSubFromEndingNeitherWithMessagesNorWithFigures) {
  Node node = Open("source");
  for (const int signal : {SIGTERM, SIGINT}) {
    for (const char* flags : {"", "--json", "--latency --json --every 0.01", "--count 100000"}) {
      const std::string topic = "t" + std::to_string(signal);
      Child sub = StartPrinting("sub " + topic + " " + flags);
      auto publisher = node.CreatePublisher(topic, {.timestamps = true}).value();
      ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
      const std::string message(1000, 'm');
      // Many times what the link holds: had the publisher to wait for room, this would fail.
      for (int i = 0; i < 1000; ++i) {
        const auto published = publisher.Publish(AsBytes(message));
        ASSERT_TRUE(published.ok()) << published.status().ToString();
        ASSERT_EQ(published->links, 1u);
      }
      const bool prints_messages = std::string(flags).find("--latency") == std::string::npos;
      ASSERT_TRUE(!prints_messages || WaitUntil([&] { return Delivered(topic) == 1; })) << flags;
      sub.Signal(signal);
      EXPECT_EQ(sub.Wait(), std::string(flags).starts_with("--count") ? 1 : 0) << flags;
      EXPECT_TRUE(WaitUntil([&] { return publisher.subscribers() == 0; }));
    }
  }
}

TEST_F(SleepingReaderTest, KeepsSubFromEndingNeitherWithWhatWasLost) {
  Child sub = StartByShell("sub t --keep-last 1 >/dev/null 2>" + path_);
  Node node = Open("source");
  auto publisher = node.CreatePublisher("t").value();
  ASSERT_TRUE(publisher.WaitForSubscribers(1, kPatience).ok());
  sub.Stop();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(publisher.Publish(AsBytes("x")).ok());
  sub.Signal(SIGCONT);
  ASSERT_TRUE(WaitUntil([&] { return Delivered("t") == 1; }));
  sub.Signal(SIGTERM);
  EXPECT_EQ(sub.Wait(), 0);
}

TEST_F(SleepingReaderTest, KeepsOthersFromEndingNeither) {
  Child reply = StartPrinting("reply s --echo");
  Child request = Start({"request", "s", "x", "--wait", "1", "--timeout", "60"});
  ASSERT_TRUE(WaitUntil([&] { return Delivered("s") == 1; }));
  reply.Signal(SIGTERM);
  EXPECT_EQ(reply.Wait(), 0);
  EXPECT_EQ(request.ReadAll(), "x\n");  // the reply did not wait for the line
  EXPECT_EQ(request.Wait(), 0);

  Node node = Open("sink");
  auto subscriber = node.CreateSubscriber("t").value();
  Child pub = StartByShell("pub t x --wait 1 2>" + path_);
  ASSERT_TRUE(subscriber.Receive(kPatience).ok());
  pub.Signal(SIGTERM);
  EXPECT_EQ(pub.Wait(), 0);

  Child list = StartPrinting("peers");
  ASSERT_TRUE(WaitUntil([&] { return WaitsToWrite(list.pid()); }));
  list.Signal(SIGTERM);
  EXPECT_EQ(list.Wait(), 128 + SIGTERM);
}

TEST_F(SleepingReaderTest, LosesNothingOnceItReadsAgain) {
  Child sub = StartPrinting("sub t --reliable --count 3");
  EXPECT_EQ(
      Run({"pub", "t", std::string(10'000, 'm'), "--count", "3", "--wait", "1", "--timeout", "60"})
          .exit_code,
      0);
  std::string all(kPipeBytes + 3 * 10'001, ' ');
  for (size_t got = 0; got < all.size();) {
    const ssize_t size = ::read(pipe_.get(), all.data() + got, all.size() - got);
    ASSERT_GT(size, 0);
    got += static_cast<size_t>(size);
  }
  EXPECT_EQ(sub.Wait(), 0);
  const std::string line = std::string(10'000, 'm') + "\n";
  EXPECT_EQ(all.substr(kPipeBytes), line + line + line);
}

}  // namespace
}  // namespace ivmq::command
