// Prints the messages of a topic as text, one a line.
//
//   subscribe TOPIC [COUNT]        ends after COUNT messages, or when the publishers are gone
//
// IVMQ_NODE_SOCKET names the daemon; the usual places are tried without it.

#include <ivmq/ivmq.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  using std::chrono_literals::operator""s;

  if (argc < 2) {
    std::fprintf(stderr, "usage: subscribe TOPIC [COUNT]\n");
    return 2;
  }
  const long count = argc > 2 ? std::strtol(argv[2], nullptr, 10) : -1;

  auto node = ivmq::Node::Open();
  if (!node.ok()) {
    std::fprintf(stderr, "subscribe: %s\n", node.status().ToString().c_str());
    return 1;
  }
  auto subscriber = node->CreateSubscriber(argv[1]);
  if (!subscriber.ok()) {
    std::fprintf(stderr, "subscribe: %s\n", subscriber.status().ToString().c_str());
    return 1;
  }
  for (long i = 0; i != count;) {
    auto got = subscriber->Receive(10s);
    if (got.ok()) {
      std::printf("%.*s\n", static_cast<int>(got->text().size()), got->text().data());
      ++i;
    } else if (got.status().code() != ivmq::Code::kTimeout || subscriber->publishers() == 0) {
      std::fprintf(stderr, "subscribe: %s\n", got.status().ToString().c_str());
      return 1;
    }
  }
  return 0;
}
