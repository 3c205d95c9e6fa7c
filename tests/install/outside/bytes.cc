// Nothing but the standard library and ivmq.
#include <ivmq/ivmq.h>

#include <cstdio>
#include <span>
#include <string>

int main() {
  using std::chrono_literals::operator""s;
  auto node = ivmq::Node::Open({.name = "outside"});
  if (!node.ok()) {
    std::fprintf(stderr, "%s\n", node.status().ToString().c_str());
    return 1;
  }
  auto subscriber = node->CreateSubscriber("outside.bytes");
  auto publisher = node->CreatePublisher("outside.bytes");
  if (!subscriber.ok() || !publisher.ok()) return 1;
  const std::string text = "from outside";
  auto sent = publisher->Publish(std::as_bytes(std::span(text)));
  if (!sent.ok()) return 1;
  auto got = subscriber->Receive(30s);
  if (!got.ok() || got->text() != text) return 1;
  std::printf("bytes: %s\n", text.c_str());
  return 0;
}
