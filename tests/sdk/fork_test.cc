#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

struct Attachment {
  explicit Attachment(const FakeControl& control)
      : node(Node::Open({.name = "n", .socket_path = control.socket_path()}).value()),
        publisher(std::make_unique<BytesPublisher>(node.CreatePublisher("t").value())),
        subscriber(std::make_unique<BytesSubscriber>(node.CreateSubscriber("t").value())) {}

  Node node;
  std::unique_ptr<BytesPublisher> publisher;
  std::unique_ptr<BytesSubscriber> subscriber;
};

// 0, or which of its expectations does not hold in the child. No gtest there: it has one thread.
int UseInChild(Attachment* attachment) {
  const auto refused = [](const Status& status) {
    return status.code() == Code::kFailedPrecondition;
  };
  if (!refused(attachment->publisher->Publish(AsBytes("x")).status())) return 1;
  if (!refused(attachment->publisher->Write(AsBytes("x")).status())) return 2;
  if (!refused(attachment->publisher->PublishInPlace(1, [](auto) { return true; }).status())) {
    return 3;
  }
  attachment->publisher->Flush();
  if (!refused(attachment->publisher->WaitForSubscribers(1, 1s))) return 4;
  if (!refused(attachment->subscriber->Receive(1s).status())) return 5;
  if (!refused(attachment->subscriber->Poll(1, [](const BytesMessage&) {}).status())) return 6;
  attachment->subscriber->Interrupt();
  if (attachment->subscriber->fd() != -1) return 7;
  if (!refused(attachment->node.CreatePublisher("u").status())) return 8;
  if (!refused(attachment->node.CreateSubscriber("u").status())) return 9;
  if (!refused(attachment->node.WatchDiscovery([](const Node::Discovery&) {}))) return 10;
  if (attachment->node.connected()) return 11;
  attachment->publisher->Close();
  attachment->publisher.reset();
  attachment->subscriber.reset();
  attachment->node.Close();
  return 0;
}

Result<Bytes> Echo(const Bytes& query) { return query; }

int WaitFor(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(ForkTest, RefusesEverythingInTheChildAndGoesOnInTheParent) {
  FakeControl control;
  auto attachment = std::make_unique<Attachment>(control);
  const pid_t child = ::fork();
  if (child == 0) {
    const int failed = UseInChild(attachment.get());
    attachment.reset();
    ::_exit(failed);
  }
  EXPECT_EQ(WaitFor(child), 0);
  ASSERT_TRUE(attachment->publisher->Publish(AsBytes("still here")).ok());
  EXPECT_EQ(attachment->subscriber->Receive(30s).value().text(), "still here");
}

TEST(ForkTest, RefusesClientsAndServersInTheChild) {
  FakeControl control;
  auto node = std::make_unique<Node>(Node::Open({.socket_path = control.socket_path()}).value());
  std::optional<BytesServer> server = node->CreateServer<Bytes, Bytes>("s", Echo).value();
  std::optional<BytesClient> client = node->CreateClient<Bytes, Bytes>("s").value();
  const pid_t child = ::fork();
  if (child == 0) {
    const auto refused = [](const Status& status) {
      return status.code() == Code::kFailedPrecondition;
    };
    if (!refused(client->Call(AsBytes("x")).status())) ::_exit(1);
    if (!refused(server->RunOnce(1s))) ::_exit(2);
    if (!refused(node->CreateClient<Bytes, Bytes>("s").status())) ::_exit(3);
    server->Interrupt();
    client.reset();
    server.reset();
    node.reset();
    ::_exit(0);
  }
  EXPECT_EQ(WaitFor(child), 0);
  std::thread serving([&] { EXPECT_TRUE(server->RunOnce(30s).ok()); });
  EXPECT_TRUE(client->Call(AsBytes("still here"), 30s).ok());
  serving.join();
}

TEST(ForkTest, DoesNotKeepADeadProcessAliveInItsChildren) {
  FakeControl control;
  Node watcher = Node::Open({.socket_path = control.socket_path()}).value();
  auto subscriber = watcher.CreateSubscriber("t").value();
  // A process attaches, forks a child that stays, and dies: the child must not hold its sockets.
  Child process({"sdk_test_peer", "forks", control.socket_path(), "t"});
  ASSERT_EQ(process.ReadLine(), "ready");
  ASSERT_TRUE(WaitUntil([&] { return subscriber.publishers() == 1; }));
  process.Signal(SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return subscriber.publishers() == 0; }));
}

}  // namespace
}  // namespace ivmq::test
