#include "transport/frame_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "transport/fd_passing.h"

namespace ivmq::transport {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class FrameChannelTest : public testing::Test {
 protected:
  static std::pair<UniqueFd, UniqueFd> Pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  static steady_clock::time_point Soon() { return steady_clock::now() + seconds(60); }
  static bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
  // What a misbehaving other side puts on the wire.
  static void WriteHeader(int fd, uint32_t bytes, uint32_t fds) {
    const std::array<uint32_t, 2> header = {bytes, fds};
    ASSERT_EQ(::write(fd, header.data(), sizeof(header)), 8);
  }
};

TEST_F(FrameChannelTest, CarriesFramesOfAllSizesInOrder) {
  auto [left, right] = Pair();
  FrameChannel sender(std::move(left));
  FrameChannel receiver(std::move(right));
  const std::vector<size_t> sizes = {0, 1, 7, 8, 65535, 65536, 65537, FrameChannel::kMaxFrameBytes};
  for (const size_t size : sizes) {
    ASSERT_TRUE(sender.Send(std::string(size, static_cast<char>('a' + size % 7))).ok());
  }
  FrameChannel::Frame frame;
  std::thread flusher([&sender = sender] {
    while (sender.wants_write()) {
      ASSERT_TRUE(sender.Flush().ok());
      std::this_thread::yield();
    }
  });
  for (const size_t size : sizes) {
    const Status status = receiver.ReceiveUntil(Soon(), &frame);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(frame.payload, std::string(size, static_cast<char>('a' + size % 7)));
    EXPECT_TRUE(frame.fds.empty());
  }
  flusher.join();
  EXPECT_FALSE(receiver.Receive(&frame).value());
}

TEST_F(FrameChannelTest, CarriesFdsWithTheirFrames) {
  auto [left, right] = Pair();
  FrameChannel sender(std::move(left));
  FrameChannel receiver(std::move(right));
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(::pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  const std::array<int, 4> four = {read_end.get(), write_end.get(), read_end.get(), read_end.get()};
  ASSERT_TRUE(sender.Send("none").ok());
  ASSERT_TRUE(sender.Send("four", four).ok());
  ASSERT_TRUE(sender.Send("one", std::span(four).first(1)).ok());
  EXPECT_TRUE(IsOpen(write_end.get())) << "the caller keeps its own";
  write_end.Reset();

  FrameChannel::Frame frame;
  ASSERT_TRUE(receiver.ReceiveUntil(Soon(), &frame).ok());
  EXPECT_EQ(frame.fds.size(), 0U);
  ASSERT_TRUE(receiver.ReceiveUntil(Soon(), &frame).ok());
  ASSERT_EQ(frame.fds.size(), 4U);
  EXPECT_EQ(::write(frame.fds[1].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_NE(::fcntl(frame.fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(receiver.ReceiveUntil(Soon(), &frame).ok());
  EXPECT_EQ(frame.payload, "one");
  EXPECT_EQ(frame.fds.size(), 1U);
}

TEST_F(FrameChannelTest, QueuesWhatTheSocketDoesNotTakeUpToItsLimit) {
  auto [left, right] = Pair();
  constexpr size_t kLimit = 1 << 20;
  FrameChannel sender(std::move(left), kLimit);
  FrameChannel receiver(std::move(right));
  const std::string payload(10'000, 'q');
  int sent = 0;
  Status status;
  while ((status = sender.Send(payload)).ok()) ++sent;
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_TRUE(sender.wants_write());
  EXPECT_GE(sent, 100);
  FrameChannel::Frame frame;
  for (int i = 0; i < sent; ++i) {
    ASSERT_TRUE(sender.Flush().ok());
    ASSERT_TRUE(receiver.ReceiveUntil(Soon(), &frame).ok());
    ASSERT_EQ(frame.payload, payload);
  }
  EXPECT_FALSE(sender.wants_write());
  EXPECT_TRUE(sender.Send(payload).ok());
}

TEST_F(FrameChannelTest, RefusesToSendMoreThanAFrameTakes) {
  auto [left, right] = Pair();
  FrameChannel sender(std::move(left));
  const std::string too_long(FrameChannel::kMaxFrameBytes + 1, 'x');
  EXPECT_EQ(sender.Send(too_long).code(), Code::kInvalidArgument);
  const std::array<int, 5> five = {right.get(), right.get(), right.get(), right.get(), right.get()};
  EXPECT_EQ(sender.Send("", five).code(), Code::kInvalidArgument);
  EXPECT_TRUE(sender.Send("still works").ok());
}

TEST_F(FrameChannelTest, SaysUnavailableAtACleanEndAndKeepsSayingIt) {
  auto [left, right] = Pair();
  FrameChannel receiver(std::move(right));
  {
    FrameChannel sender(std::move(left));
    ASSERT_TRUE(sender.Send("last words").ok());
  }
  EXPECT_EQ(receiver.Send("to nobody").code(), Code::kUnavailable);
  FrameChannel::Frame frame;
  ASSERT_TRUE(receiver.Receive(&frame).ok()) << "what was sent before the end is received";
  EXPECT_EQ(frame.payload, "last words");
  EXPECT_EQ(receiver.Receive(&frame).status().code(), Code::kUnavailable);
  EXPECT_EQ(receiver.ReceiveUntil(Soon(), &frame).code(), Code::kUnavailable);
  EXPECT_EQ(receiver.Send("x").code(), Code::kUnavailable);
}

TEST_F(FrameChannelTest, BreaksOnMalformedFrames) {
  struct Case {
    const char* what;
    uint32_t bytes;
    uint32_t fds;
  };
  for (const Case& wrong :
       {Case{"too long", FrameChannel::kMaxFrameBytes + 1, 0}, Case{"far too long", 0xffffffff, 0},
        Case{"too many fds", 0, 5}, Case{"fds that did not come", 0, 1}}) {
    SCOPED_TRACE(wrong.what);
    auto [left, right] = Pair();
    FrameChannel receiver(std::move(right));
    WriteHeader(left.get(), wrong.bytes, wrong.fds);
    FrameChannel::Frame frame;
    EXPECT_EQ(receiver.Receive(&frame).status().code(), Code::kDataLoss);
    EXPECT_EQ(receiver.Receive(&frame).status().code(), Code::kDataLoss);
    EXPECT_EQ(receiver.Send("x").code(), Code::kDataLoss);
  }
}

TEST_F(FrameChannelTest, BreaksWhenTheEndComesInsideAFrame) {
  auto [left, right] = Pair();
  FrameChannel receiver(std::move(right));
  WriteHeader(left.get(), 10, 0);
  ASSERT_EQ(::write(left.get(), "half", 4), 4);
  FrameChannel::Frame frame;
  EXPECT_FALSE(receiver.Receive(&frame).value());
  left.Reset();
  EXPECT_EQ(receiver.Receive(&frame).status().code(), Code::kDataLoss);
}

TEST_F(FrameChannelTest, HoldsABoundedNumberOfFdsThatNoFrameAnnounces) {
  auto [left, right] = Pair();
  FrameChannel receiver(std::move(right));
  WriteHeader(left.get(), 1000, 0);
  const std::array<int, 4> four = {left.get(), left.get(), left.get(), left.get()};
  Status status;
  FrameChannel::Frame frame;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    const std::byte byte{0};
    ASSERT_EQ(SendWithFds(left.get(), std::span(&byte, 1), four), 1);
    status = receiver.Receive(&frame).status();
  }
  EXPECT_EQ(status.code(), Code::kDataLoss);
}

TEST_F(FrameChannelTest, TakesNoFdWhereItsOwnerWantsNone) {
  for (const bool announced : {true, false}) {
    auto [left, right] = Pair();
    FrameChannel receiver(std::move(right), FrameChannel::kMaxQueuedBytes, 0);
    const std::array<uint32_t, 2> header = {0, announced ? 1U : 0U};
    const std::array<int, 1> one{STDERR_FILENO};
    ASSERT_EQ(SendWithFds(left.get(), std::as_bytes(std::span(header)), one), 8);
    FrameChannel::Frame frame;
    EXPECT_EQ(receiver.Receive(&frame).status().code(), Code::kDataLoss) << announced;
    EXPECT_TRUE(frame.fds.empty());
  }
}

TEST_F(FrameChannelTest, SaysHowMuchOfAHalfFrameHasCome) {
  auto [left, right] = Pair();
  FrameChannel receiver(std::move(right));
  WriteHeader(left.get(), 100, 0);
  const std::string half(99, 'x');
  ASSERT_EQ(::write(left.get(), half.data(), half.size()), 99);
  FrameChannel::Frame frame;
  EXPECT_FALSE(receiver.Receive(&frame).value());
  EXPECT_EQ(receiver.received_bytes(), 8u + 99u);
  ASSERT_EQ(::write(left.get(), "x", 1), 1);
  EXPECT_TRUE(receiver.Receive(&frame).value());
  EXPECT_EQ(receiver.received_bytes(), 0u);
}

// The kernel counts the fds in flight of a user, but for privileged ones: nobody's, in a process of
// its own. Its exit code tells the step that failed.
int StallAndGoOn() {
  const rlimit few{24, 24};
  if (::setrlimit(RLIMIT_NOFILE, &few) != 0 || ::setgid(65533) != 0 || ::setuid(65533) != 0) {
    return 1;
  }
  std::array<int, 2> filler{};
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, filler.data()) != 0) return 2;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()) != 0) return 2;
  const std::array<int, 1> one{STDERR_FILENO};
  const std::array<std::byte, 1> byte{};
  int in_flight = 0;
  while (SendWithFds(filler[0], byte, one) == 1) {
    if (++in_flight > 1000) return 3;
  }
  if (errno != ETOOMANYREFS) return 4;
  FrameChannel sender{UniqueFd(pair[0])};
  FrameChannel receiver{UniqueFd(pair[1])};
  if (!sender.Send("with an fd", one).ok()) return 5;
  if (!sender.must_retry() || sender.wants_write()) return 6;
  ::close(filler[0]);
  ::close(filler[1]);
  if (!sender.Flush().ok() || sender.must_retry() || sender.wants_write()) return 7;
  FrameChannel::Frame frame;
  const auto got = receiver.Receive(&frame);
  return got.ok() && got.value() && frame.fds.size() == 1 ? 0 : 8;
}

TEST_F(FrameChannelTest, SaysThatItMustRetryWhereTooManyFdsAreInFlight) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  EXPECT_EXIT(::_exit(StallAndGoOn()), testing::ExitedWithCode(0), "");
}

TEST_F(FrameChannelTest, ReturnsAtTheDeadlineWhenNothingComes) {
  auto [left, right] = Pair();
  FrameChannel receiver(std::move(right));
  FrameChannel::Frame frame;
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(30);
  EXPECT_EQ(receiver.ReceiveUntil(deadline, &frame).code(), Code::kDeadlineExceeded);
  EXPECT_GE(steady_clock::now(), deadline);
}

TEST_F(FrameChannelTest, AssemblesAFrameThatComesByteByByte) {
  auto [left, right] = Pair();
  FrameChannel receiver(std::move(right));
  const std::array<uint32_t, 2> header = {5, 0};
  std::string wire(reinterpret_cast<const char*>(header.data()), sizeof(header));
  wire += "hello";
  FrameChannel::Frame frame;
  for (size_t i = 0; i < wire.size(); ++i) {
    EXPECT_FALSE(receiver.Receive(&frame).value());
    ASSERT_EQ(::write(left.get(), wire.data() + i, 1), 1);
  }
  EXPECT_TRUE(receiver.Receive(&frame).value());
  EXPECT_EQ(frame.payload, "hello");
}

}  // namespace
}  // namespace ivmq::transport
