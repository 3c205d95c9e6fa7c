// With the application's own protobuf.
#include <google/protobuf/wrappers.pb.h>
#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <cstdio>

int main() {
  using std::chrono_literals::operator""s;
  using Number = google::protobuf::Int64Value;
  auto node = ivmq::Node::Open({.name = "outside"});
  if (!node.ok()) {
    std::fprintf(stderr, "%s\n", node.status().ToString().c_str());
    return 1;
  }
  auto subscriber = node->CreateSubscriber<Number>("outside.typed");
  auto publisher = node->CreatePublisher<Number>("outside.typed");
  if (!subscriber.ok() || !publisher.ok()) return 1;
  Number number;
  number.set_value(42);
  auto sent = publisher->Publish(number);
  if (!sent.ok()) return 1;
  auto got = subscriber->Receive(30s);
  if (!got.ok() || got->value().value() != 42) return 1;
  std::printf("typed: 42\n");
  return 0;
}
