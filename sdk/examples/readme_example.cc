#include <google/protobuf/wrappers.pb.h>
#include <ivmq/ivmq.h>
#include <ivmq/protobuf.h>

#include <iostream>

using Text = google::protobuf::StringValue;  // any protobuf message will do
using namespace std::chrono_literals;

int main() {
  auto node = ivmq::Node::Open({.name = "hello"}).value();  // the same call on host and in guest
  auto inbox = node.CreateSubscriber<Text>("greetings").value();
  auto outbox = node.CreatePublisher<Text>("greetings", {.reliability = ivmq::Block(50ms)}).value();

  Text text;
  text.set_value("hello through shared memory");
  auto sent = outbox.Publish(text);  // to every reliable subscriber of the topic, or to none
  if (!sent.ok()) std::cerr << sent.status().ToString() << '\n';  // FULL names the fullest link

  auto got = inbox.Receive(1s);  // or Poll(limit, handler), or fd() in an epoll of your own
  std::cout << (got.ok() ? got->value().value() : got.status().ToString()) << '\n';
  return got.ok() ? 0 : 1;
}
