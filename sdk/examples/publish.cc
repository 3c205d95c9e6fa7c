// Publishes lines of text as bytes, each with its number as an attribute.
//
//   publish TOPIC TEXT [COUNT]
//
// IVMQ_NODE_SOCKET names the daemon; the usual places are tried without it.

#include <ivmq/ivmq.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

int main(int argc, char** argv) {
  using std::chrono_literals::operator""s;

  if (argc < 3) {
    std::fprintf(stderr, "usage: publish TOPIC TEXT [COUNT]\n");
    return 2;
  }
  const std::string text = argv[2];
  const long count = argc > 3 ? std::strtol(argv[3], nullptr, 10) : 1;

  auto node = ivmq::Node::Open();
  if (!node.ok()) {
    std::fprintf(stderr, "publish: %s\n", node.status().ToString().c_str());
    return 1;
  }
  auto publisher = node->CreatePublisher(argv[1], {.reliability = ivmq::Block(1s)});
  if (!publisher.ok()) {
    std::fprintf(stderr, "publish: %s\n", publisher.status().ToString().c_str());
    return 1;
  }
  // Whoever subscribes later gets what is published later: wait for the first.
  if (auto joined = publisher->WaitForSubscribers(1, 10s); !joined.ok()) {
    std::fprintf(stderr, "publish: %s\n", joined.ToString().c_str());
    return 1;
  }
  for (long i = 0; i < count; ++i) {
    const std::string line = text + " " + std::to_string(i);
    const std::string number = std::to_string(i);
    const std::array<ivmq::Attribute, 1> attributes{{{"line", number}}};
    auto sent = publisher->Publish(std::as_bytes(std::span(line)), {.attributes = attributes});
    if (!sent.ok()) {
      std::fprintf(stderr, "publish: %s\n", sent.status().ToString().c_str());
      return 1;
    }
  }
  return 0;
}
