// What a test does in a process of its own, so that it can be stopped and killed there.
//
//   sdk_test_peer flood SOCKET TOPIC STREAM    publishes for ever; a line on stdout, "N", as soon
//                                              as message N is published, every 64 messages
//   sdk_test_peer publish SOCKET TOPIC STREAM COUNT   waits for a subscriber, publishes, ends
//   sdk_test_peer receive SOCKET TOPIC STREAM COUNT   "ready", checks what comes, "right" or why
//   not sdk_test_peer take SOCKET TOPIC            "ready", then receives and ignores for ever
//   sdk_test_peer hold SOCKET TOPIC            "ready" once it publishes, then does nothing
//   sdk_test_peer forks SOCKET TOPIC           as hold, and leaves a forked child behind
//   sdk_test_peer idle SOCKET TOPIC            "ready", then blocks in Receive
//   sdk_test_peer serve SOCKET TOPIC           serves, asks itself and has a callback for messages;
//                                              "ready" once that was called, then does nothing

#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <utility>

#include "ivmq/ivmq.h"
#include "tests/sdk/traffic.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;

constexpr size_t kLargest = 8192;

void Say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int Flood(BytesPublisher publisher, uint64_t stream, uint64_t count) {
  if (!publisher.WaitForSubscribers(1, 60s).ok()) return 1;
  Traffic traffic(stream, kLargest);
  for (uint64_t i = 0; i != count; ++i) {
    const auto sent = publisher.Publish(traffic.Make(i));
    if (!sent.ok()) {
      std::fprintf(stderr, "%s\n", sent.status().ToString().c_str());
      return 1;
    }
    if (count == UINT64_MAX && i % 64 == 0) Say(std::to_string(i));
  }
  return 0;
}

int Receive(BytesSubscriber subscriber, uint64_t stream, uint64_t count) {
  Say("ready");
  const Traffic traffic(stream, kLargest);
  for (uint64_t i = 0; i < count; ++i) {
    const auto got = subscriber.Receive(60s);
    if (!got.ok()) {
      Say("message " + std::to_string(i) + ": " + got.status().ToString());
      return 1;
    }
    if (!traffic.IsRight(i, got->bytes)) {
      Say("message " + std::to_string(i) + " is wrong");
      return 1;
    }
  }
  Say("right");
  return 0;
}

int Take(BytesSubscriber subscriber) {
  Say("ready");
  for (;;) {
    if (subscriber.Receive(1h).status().code() == Code::kClosed) return 0;
  }
}

int Serve(Node node, const std::string& topic) {
  const auto echo = [](BytesServerCall& call) { return call.Reply(call.query()); };
  std::promise<void> answered;
  std::promise<void> received;
  const auto server = node.ServeBytes(topic, "", "", echo);
  auto client = node.CreateClient(topic);
  const auto subscriber = node.CreateSubscriber(
      topic, {.on_message = [&](const BytesMessage&) { received.set_value(); }});
  auto publisher = node.CreatePublisher(topic);
  if (!server.ok() || !client.ok() || !subscriber.ok() || !publisher.ok()) return 1;
  if (!publisher->Publish({}).ok()) return 1;
  const auto asked =
      client->CallAsync({}, 60s, [&](const Result<Bytes>&) { answered.set_value(); });
  if (!asked.ok()) return 1;
  received.get_future().wait();
  answered.get_future().wait();
  Say("ready");
  for (;;) ::pause();
}

int Run(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string what = argv[1];
  const uint64_t stream = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 0;
  const uint64_t count = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : UINT64_MAX;
  auto node = Node::Open({.name = what + "-" + std::to_string(::getpid()), .socket_path = argv[2]});
  if (!node.ok()) {
    std::fprintf(stderr, "%s\n", node.status().ToString().c_str());
    return 1;
  }
  if (what == "serve") return Serve(std::move(node).value(), argv[3]);
  if (what == "flood" || what == "publish" || what == "hold" || what == "forks") {
    auto publisher = node->CreatePublisher(argv[3], {.reliability = Block(60s)});
    if (!publisher.ok()) return 1;
    if (what == "forks" && ::fork() == 0) {
      // Lives until the test closes its end of our stdout.
      ::prctl(PR_SET_PDEATHSIG, 0);
      pollfd reader{STDOUT_FILENO, 0, 0};
      while (::poll(&reader, 1, -1) < 1) {
      }
      ::_exit(0);
    }
    if (what != "hold" && what != "forks")
      return Flood(std::move(publisher).value(), stream, count);
    Say("ready");
    for (;;) ::pause();
  }
  auto subscriber = node->CreateSubscriber(argv[3]);
  if (!subscriber.ok()) {
    std::fprintf(stderr, "%s\n", subscriber.status().ToString().c_str());
    return 1;
  }
  if (what == "receive") return Receive(std::move(subscriber).value(), stream, count);
  if (what == "take" || what == "idle") return Take(std::move(subscriber).value());
  return 2;
}

}  // namespace
}  // namespace ivmq::test

int main(int argc, char** argv) { return ivmq::test::Run(argc, argv); }
