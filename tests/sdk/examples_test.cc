// The programs of sdk/examples, run as a user would.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/texts.h"
#include "transport/unique_fd.h"

namespace ivmq::test {
namespace {

class ExamplesTest : public ::testing::Test {
 protected:
  std::vector<std::string> environment() const {
    return {"IVMQ_NODE_SOCKET=" + daemon_.node_socket()};
  }

  Daemon daemon_;
};

TEST_F(ExamplesTest, TheOneOfTheReadmeSaysHello) {
  Child example({"examples/readme_example"}, environment());
  EXPECT_EQ(example.ReadAll(), "hello through shared memory\n");
  EXPECT_EQ(example.Wait(), 0);
}

TEST_F(ExamplesTest, PublishAndSubscribeMeet) {
  Child publish({"examples/publish", "a.b", "line", "3"}, environment());
  const std::string program = IVMQ_EXAMPLES_DIR "/subscribe";
  Child subscribe({"/bin/sh", "-c", "exec " + program + " a.b 3 2>&1"}, environment());
  EXPECT_EQ(subscribe.ReadAll(), "line 0\n  line: 0\nline 1\n  line: 1\nline 2\n  line: 2\n");
  EXPECT_EQ(subscribe.Wait(), 0);
  EXPECT_EQ(publish.Wait(), 0);
}

TEST_F(ExamplesTest, OwnEpollPrintsUntilALineComesOnStdin) {
  const std::string fifo = daemon_.directory() + "/stdin";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const transport::UniqueFd input(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(input.get(), 0);
  Child own_epoll(
      {"/bin/sh", "-c", "exec \"$0\" a.b <\"$1\"", IVMQ_EXAMPLES_DIR "/own_epoll", fifo},
      environment());
  ASSERT_EQ(own_epoll.ReadLine(), "ready");
  for (int round = 0; round < 3; ++round) {
    Child publish({"examples/publish", "a.b", "x", "2"}, environment());
    EXPECT_EQ(publish.Wait(), 0);
    EXPECT_EQ(own_epoll.ReadLine(), "x 0");
    EXPECT_EQ(own_epoll.ReadLine(), "x 1");
  }
  ASSERT_EQ(::write(input.get(), "\n", 1), 1);
  EXPECT_EQ(own_epoll.Wait(), 0);
}

TEST_F(ExamplesTest, CallbacksPrintUntilALineComesOnStdin) {
  const std::string fifo = daemon_.directory() + "/stdin";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const transport::UniqueFd input(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(input.get(), 0);
  Child callbacks(
      {"/bin/sh", "-c", "exec \"$0\" a.b <\"$1\"", IVMQ_EXAMPLES_DIR "/callbacks", fifo},
      environment());
  ASSERT_EQ(callbacks.ReadLine(), "ready");
  auto node = Node::Open({.name = "pub", .socket_path = daemon_.node_socket()}).value();
  {
    auto publisher = node.CreatePublisher("a.b").value();
    EXPECT_EQ(callbacks.ReadLine(), "(matched pub)");
    ASSERT_TRUE(publisher.Publish(AsBytes("one")).ok());
    EXPECT_EQ(callbacks.ReadLine(), "a.b: one");
    ASSERT_TRUE(publisher.Publish({}).ok());
    EXPECT_EQ(callbacks.ReadLine(), "(callback failed: an empty message)");
    ASSERT_TRUE(publisher.Publish(AsBytes("two")).ok());
    EXPECT_EQ(callbacks.ReadLine(), "a.b: two");
  }
  EXPECT_EQ(callbacks.ReadLine(), "(gone pub: it was closed)");
  ASSERT_EQ(::write(input.get(), "\n", 1), 1);
  EXPECT_EQ(callbacks.Wait(), 0);
}

TEST_F(ExamplesTest, AsioPrintsUntilASignalComes) {
  Child asio({"examples/asio", "a.b"}, environment());
  ASSERT_EQ(asio.ReadLine(), "ready");
  for (int round = 0; round < 3; ++round) {
    // More than it takes in one turn.
    Child publish({"examples/publish", "a.b", "x", "200"}, environment());
    EXPECT_EQ(publish.Wait(), 0);
    for (int i = 0; i < 200; ++i) ASSERT_EQ(asio.ReadLine(), "x " + std::to_string(i));
  }
  asio.Signal(SIGTERM);
  EXPECT_EQ(asio.ReadLine(), "600 messages");
  EXPECT_EQ(asio.Wait(), 0);
}

TEST_F(ExamplesTest, RequestIsAnswered) {
  Child serve({"examples/request_reply", "serve", "shout", "2"}, environment());
  ASSERT_EQ(serve.ReadLine(), "serving");
  Child ask({"examples/request_reply", "ask", "shout", "hello"}, environment());
  EXPECT_EQ(ask.ReadAll(), "HELLO\n");
  EXPECT_EQ(ask.Wait(), 0);
  Child fails({"examples/request_reply", "ask", "shout", ""}, environment());
  EXPECT_EQ(fails.Wait(), 1);
  EXPECT_EQ(serve.Wait(), 0);
}

TEST_F(ExamplesTest, StreamedReplyIsReadAsFarAsWanted) {
  const std::string fifo = daemon_.directory() + "/stdin";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const transport::UniqueFd input(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(input.get(), 0);
  Child serve({"/bin/sh", "-c", "exec \"$0\" serve count <\"$1\"",
               IVMQ_EXAMPLES_DIR "/streamed_reply", fifo},
              environment());
  ASSERT_EQ(serve.ReadLine(), "serving");
  for (int round = 0; round < 2; ++round) {
    Child ask({"examples/streamed_reply", "ask", "count", "3"}, environment());
    EXPECT_EQ(ask.ReadAll(), "0\n1\n2\n");
    EXPECT_EQ(ask.Wait(), 0);
  }
  ASSERT_EQ(::write(input.get(), "\n", 1), 1);
  EXPECT_EQ(serve.Wait(), 0);
}

TEST_F(ExamplesTest, SayWhatIsWrongAndHowTheyAreUsed) {
  for (const char* program : {"examples/publish", "examples/subscribe", "examples/own_epoll",
                              "examples/callbacks", "examples/asio"}) {
    Child misused({program}, environment());
    EXPECT_EQ(misused.Wait(), 2) << program;
    const bool publishes = std::string(program) == "examples/publish";
    Child nobody(publishes ? std::vector<std::string>{program, "a.b", "x"}
                           : std::vector<std::string>{program, "a.b"},
                 {"IVMQ_NODE_SOCKET=/nonexistent"});
    EXPECT_EQ(nobody.Wait(), 1) << program;
  }
}

}  // namespace
}  // namespace ivmq::test
