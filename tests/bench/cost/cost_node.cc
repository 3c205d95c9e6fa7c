// A user's program, linked with libivmq as users do: sends one message, then waits for others that
// do not come, until it is killed. For cost_bench.
//
//   cost_node SOCKET
//   cost_node            does nothing but wake up twice a second: what that costs here
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <thread>

#include "ivmq/ivmq.h"

namespace {

int Fail(const ivmq::Status& status) {
  std::fprintf(stderr, "cost_node: %s\n", status.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    for (;;) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  if (argc != 2) return 2;
  auto node = ivmq::Node::Open({.name = "new", .socket_path = argv[1]});
  if (!node.ok()) return Fail(node.status());
  auto publisher = node->CreatePublisher("cost.first");
  if (!publisher.ok()) return Fail(publisher.status());
  const auto linked = publisher->WaitForSubscribers(1, std::chrono::seconds(20));
  if (!linked.ok()) return Fail(linked);
  const uint64_t one = 1;
  const auto sent = publisher->Publish(std::as_bytes(std::span(&one, 1)));
  if (!sent.ok()) return Fail(sent.status());
  auto subscriber = node->CreateSubscriber("cost.never");
  if (!subscriber.ok()) return Fail(subscriber.status());
  for (;;) static_cast<void>(subscriber->Receive(std::chrono::hours(1)));
}
